from __future__ import annotations

import pytest

from keyrail.config import document
from keyrail.contracts.config import ConfigView
from keyrail.contracts.keys import KeyHealth, KeyRecord, key_name
from keyrail.contracts.slips import Facts, Target
from keyrail.keys.book import KeyBook
from keyrail.providers import registry
from keyrail.routing.decide import Decision, decide
from keyrail.routing.world import Asked, Calm, KeysOut
from keyrail_router import pools

NOW = 1_000_000_000


def book(**keys: int | str | None) -> KeyBook:
    """Keys `provider_id` of the tenant `default`: out until then, for ever ('auth', 'money'), or good."""
    found = KeyBook()
    for key, end in keys.items():
        provider, id = key.split("_")
        name = key_name("default", provider, id)
        record = KeyRecord(tenant="default", provider=provider, id=id, version=2, changed_ms=0)
        assert found.put_record(name, record.encode())
        if end is not None:
            reason, until_ms = (end, None) if isinstance(end, str) else ("rate", end)
            health = {"reason": reason, "since_ms": 0, "until_ms": until_ms, "version": 2}
            found.put_health(name, KeyHealth(**health).encode())  # pyright: ignore[reportArgumentType]
    return found


def view(*providers: str) -> ConfigView:
    text = f"routes: {{fast: {{strategy: fallback, targets: [{', '.join(f'{p}/m' for p in providers)}]}}}}"
    return document.parse(text, "keyrail.yaml", registry.configs())


class Pools(Calm):
    """A world of keys alone."""

    def __init__(self, keys: KeyBook) -> None:
        self.keys = keys

    def keys_out(self, tenant: str, target: Target, now_ms: int) -> KeysOut | None:
        return pools.keys_out(self.keys, tenant, target.provider, now_ms)


def decided(
    keys: KeyBook, tenant: str = "default", of: tuple[str, ...] = ("groq", "openai", "xai")
) -> Decision:
    return decide(view(*of), Asked(Facts(model="fast"), tenant=tenant), Pools(keys), NOW)


def targets(decision: Decision) -> list[str]:
    assert decision.plan is not None, decision.failure
    return [target.provider for target in decision.plan.targets]


ALL = ["groq", "openai", "xai"]


def test_targets_whose_keys_are_good_stay_where_they_are() -> None:
    assert targets(decided(book(groq_a=None))) == ALL
    assert targets(decided(book(groq_a=NOW + 9, groq_b=None))) == ALL, "one good key is enough"
    assert targets(decided(book(groq_a=NOW))) == ALL, "it is back"
    assert targets(decided(book(groq_a="auth"), tenant="acme")) == ALL, "it is another tenant's"


def test_a_pool_that_comes_back_goes_last_and_one_that_does_not_is_left_out() -> None:
    decision = decided(book(groq_a=NOW + 9))
    assert targets(decision) == ["openai", "xai", "groq"]
    assert decision.reason.endswith("; left out: groq/m (keys)")
    assert [each.gate for each in decision.candidates] == ["keys", None, None]
    assert targets(decided(book(groq_a="auth"))) == ["openai", "xai"]
    assert targets(decided(book(groq_a="money", openai_a=NOW + 1))) == ["xai", "openai"]
    assert targets(decided(book(groq_a=NOW + 9, openai_a=NOW + 1))) == ["xai", "openai", "groq"]


def test_a_rotated_key_is_in_again() -> None:
    keys = book(groq_a="auth")
    record = KeyRecord(tenant="default", provider="groq", id="a", version=3, changed_ms=1)
    assert keys.put_record("default.groq.a", record.encode())
    assert targets(decided(keys)) == ALL


@pytest.mark.parametrize(
    ("keys", "provider", "kind", "status", "wait_s"),
    [
        (book(groq_a=NOW + 9_000, openai_a=NOW + 2_000), "openai", "rate", 429, 2),
        (book(groq_a="auth", openai_a=NOW + 2_000), "openai", "rate", 429, 2),
        (book(groq_a="money", openai_a="auth"), "groq", "money", 503, None),
    ],
    ids=["both-come-back", "one-comes-back", "none-comes-back"],
)
def test_without_a_target_left_the_request_hears_for_how_long(
    keys: KeyBook, provider: str, kind: str, status: int, wait_s: float | None
) -> None:
    failure = decided(keys, of=("groq", "openai")).failure
    assert failure is not None
    assert (failure.provider, failure.kind, failure.status) == (provider, kind, status)
    assert failure.retry_after_s == wait_s


def test_a_provider_without_recorded_keys_is_left_to_the_worker() -> None:
    keys = book(groq_a="auth")
    keys.drop_record("default.groq.a")
    assert targets(decided(keys)) == ALL


def test_what_cannot_be_read_is_not_there() -> None:
    keys = KeyBook()
    assert not keys.put_record("default.groq.a", b"?")
    keys.put_health("default.groq.a", b"?")
    assert targets(decided(keys)) == ALL
