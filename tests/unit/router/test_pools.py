from __future__ import annotations

import pytest

from keyrail.contracts.failures import Failure
from keyrail.contracts.keys import KeyHealth, KeyRecord, key_name
from keyrail.contracts.slips import Plan, Target
from keyrail.keys.book import KeyBook
from keyrail_router import pools

NOW = 1_000_000_000
GROQ, OPENAI, LOCAL = (Target(provider=name, model="m") for name in ("groq", "openai", "local"))
PLAN = Plan(strategy="fallback", targets=(GROQ, OPENAI, LOCAL), reason="route fast", revision=7)


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


def usable(keys: KeyBook, plan: Plan = PLAN, tenant: str = "default") -> Plan | Failure:
    return pools.usable(plan, keys, tenant, NOW)


def targets(plan: Plan | Failure) -> list[str]:
    assert isinstance(plan, Plan), plan
    return [target.provider for target in plan.targets]


def test_a_plan_whose_keys_are_good_stays_as_it_is() -> None:
    assert usable(book(groq_a=None)) is PLAN
    assert usable(book(groq_a=NOW + 9, groq_b=None)) is PLAN, "one good key is enough"
    assert usable(book(groq_a=NOW)) is PLAN, "it is back"
    assert usable(book(groq_a="auth"), tenant="acme") is PLAN, "it is another tenant's"


def test_a_pool_that_comes_back_goes_last_and_one_that_does_not_is_left_out() -> None:
    plan = usable(book(groq_a=NOW + 9))
    assert targets(plan) == ["openai", "local", "groq"]
    assert isinstance(plan, Plan)
    assert plan.reason == "route fast; all keys are out at the provider groq"
    assert targets(usable(book(groq_a="auth"))) == ["openai", "local"]
    assert targets(usable(book(groq_a="money", openai_a=NOW + 1))) == ["local", "openai"]


def test_a_rotated_key_is_in_again() -> None:
    keys = book(groq_a="auth")
    record = KeyRecord(tenant="default", provider="groq", id="a", version=3, changed_ms=1)
    assert keys.put_record("default.groq.a", record.encode())
    assert usable(keys) is PLAN


@pytest.mark.parametrize(
    ("keys", "provider", "kind", "status", "wait_s"),
    [
        (book(groq_a=NOW + 9_000, openai_a=NOW + 2_000), "openai", "rate", 429, 2),
        (book(groq_a="auth", openai_a=NOW + 2_000), "openai", "rate", 429, 2),
        (book(groq_a="money", openai_a="auth"), "groq", "money", 503, None),
    ],
)
def test_without_a_target_left_the_request_hears_for_how_long(
    keys: KeyBook, provider: str, kind: str, status: int, wait_s: float | None
) -> None:
    failure = usable(keys, PLAN.replace(targets=(GROQ, OPENAI)))
    assert isinstance(failure, Failure)
    assert (failure.provider, failure.kind, failure.status) == (provider, kind, status)
    assert failure.retry_after_s == wait_s


def test_a_provider_without_recorded_keys_is_left_to_the_worker() -> None:
    keys = book(groq_a="auth")
    keys.drop_record("default.groq.a")
    assert usable(keys) is PLAN


def test_what_cannot_be_read_is_not_there() -> None:
    keys = KeyBook()
    assert not keys.put_record("default.groq.a", b"?")
    keys.put_health("default.groq.a", b"?")
    assert usable(keys) is PLAN
