"""What a router knows of targets that are down, coming back, or without room in their limits."""

from __future__ import annotations

import pytest

from keyrail.contracts.health import RateWindow, RateWindows, TargetHealth, target_name, windows_name
from keyrail.contracts.keys import KeyRecord, key_name
from keyrail.contracts.slips import Facts, Target
from keyrail.keys.book import KeyBook
from keyrail_router.targets import Targets

NOW = 1_000_000_000
A, B = (Target(provider=name, model="m") for name in "ab")
FACTS = Facts(model="fast", input_tokens_estimate=100, max_output_tokens=100)


class Clock:
    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


def targets(clock: Clock | None = None, *, keys: tuple[str, ...] = ()) -> Targets:
    book = KeyBook()
    for id in keys:
        record = KeyRecord(tenant="t", provider="a", id=id, changed_ms=0)
        assert book.put_record(key_name("t", "a", id), record.encode())
    return Targets(book, clock or Clock())


def opened(known: Targets, target: Target, until_ms: int) -> None:
    health = TargetHealth(
        provider=target.provider,
        model=target.model,
        since_ms=until_ms - 5_000,
        until_ms=until_ms,
        why="server",
    )
    known.put_health(target_name(target.provider, target.model), health.encode())


def limited(known: Targets, key_id: str | None, remaining: int, in_ms: int = 9_000, at_ms: int = NOW) -> None:
    window = RateWindow(kind="requests", limit=100, remaining=remaining, reset_ms=NOW + in_ms)
    told = RateWindows(tenant="t", provider="a", key_id=key_id, model="m", at_ms=at_ms, windows=(window,))
    known.put_windows(windows_name("t", "a", key_id, "m"), told.encode())


def room(known: Targets, tenant: str = "t") -> int | None:
    until = known.limited_until_ms(tenant, A, FACTS)
    return None if until is None else until - NOW


def test_nothing_known_is_nothing_against_anybody() -> None:
    known = targets()
    assert not known.any
    assert (known.share(A), known.until_ms(A), room(known)) == (1, None, None)


def test_what_is_down_has_no_share_until_it_is_back_and_then_a_growing_one() -> None:
    clock = Clock()
    known = targets(clock)
    opened(known, A, NOW + 9_000)
    assert (known.share(A), known.until_ms(A)) == (0, NOW + 9_000)
    assert (known.share(B), known.until_ms(B)) == (1, None)
    shares = list[float]()
    for second in range(9, 20):
        clock.ms = NOW + second * 1_000
        assert known.until_ms(A) is None
        shares.append(round(known.share(A), 2))
    assert shares == [0.1, 0.19, 0.28, 0.37, 0.46, 0.55, 0.64, 0.73, 0.82, 0.91, 1.0]
    assert known.any, "it is not forgotten yet"
    clock.ms = NOW + 9_000 + 10_000 + 60_000
    assert not known.any


def test_a_document_that_is_removed_is_forgotten() -> None:
    known = targets()
    opened(known, A, NOW + 9_000)
    known.drop_health(target_name("a", "m"))
    limited(known, None, 0)
    known.drop_windows(windows_name("t", "a", None, "m"))
    assert not known.any


def test_a_pool_is_limited_when_all_its_keys_are() -> None:
    known = targets(keys=("one", "two"))
    limited(known, "one", 3)
    assert room(known) is None
    limited(known, "two", 0, in_ms=4_000)
    assert room(known) == 4_000
    assert room(known, "other") is None, "it is another tenant's key"
    limited(known, "two", 80)
    assert room(known) is None


def test_requests_that_were_sent_are_taken_off_before_the_provider_says_so() -> None:
    known = targets(keys=("one",))
    limited(known, "one", 12)
    for _ in range(2):
        assert room(known) is None
        known.sent("t", A, FACTS)
    known.sent("t", A, FACTS)
    assert room(known) == 9_000


def test_a_window_that_began_anew_is_forgotten() -> None:
    clock = Clock()
    known = targets(clock)
    limited(known, None, 0)
    assert room(known) == 9_000
    clock.ms += 9_000
    assert room(known) is None
    assert not known.any


def test_what_cannot_be_read_counts_as_not_there(caplog: pytest.LogCaptureFixture) -> None:
    known = targets()
    known.put_health("a.m", b"{")
    known.put_windows("t.a.=.m", b"[]")
    assert not known.any
    assert len(caplog.records) == 2
