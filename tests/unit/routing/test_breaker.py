"""The breaker against a model of its own: a list of all outcomes, looked through each time."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.health import TargetHealth, target_name
from keyrail.routing import breaker
from keyrail.routing.breaker import Tally

START = 1_000_000_000_000
DOWN = Failure(kind="server", message="", status=502, upstream_status=500)


def health(times: int = 1, until_ms: int = START, open_ms: int = 5_000) -> TargetHealth:
    return TargetHealth(
        provider="p", model="m", since_ms=until_ms - open_ms, until_ms=until_ms, times=times, why="server"
    )


class Breaking(RuleBasedStateMachine):
    """One worker's breaker of one target. The model remembers every outcome with its time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.tally = Tally()
        self.health: TargetHealth | None = None
        self.outcomes: list[tuple[int, bool]] = []  # since the breaker opened last
        self.good_ms = 0
        self.longest = 0

    @rule(ms=st.sampled_from([0, 1, 300, 4_999, 5_000, 30_000, 61_000, 200_000, 700_000]))
    def wait(self, ms: int) -> None:
        self.now += ms

    @rule(count=st.integers(1, 12))
    def succeed(self, count: int) -> None:
        for _ in range(count):
            self.tally.succeeded(self.now)
            self.outcomes.append((self.now, True))
        self.good_ms = self.now

    @rule(count=st.integers(1, 6), ago=st.sampled_from([0, 10, 6_000]))
    def fail(self, count: int, ago: int) -> None:
        for _ in range(count):
            expected = self.should_open(self.now - ago)
            opens = breaker.failed(self.tally, self.health, DOWN, self.now - ago, self.now)
            assert opens == expected
            if opens:
                self.open()

    def should_open(self, began: int) -> bool:
        known = self.health
        if known is not None and self.now >= known.until_ms + breaker.ramp_ms(known) + breaker.CALM_MS:
            known = None
        if known is not None and (self.now < known.until_ms or began < known.until_ms):
            return False
        self.outcomes.append((self.now, False))
        row, last = 0, self.now
        for at, good in reversed(self.outcomes):
            if good or last - at > breaker.ROW_GAP_MS:
                break
            row, last = row + 1, at
        slot = self.now // breaker.SLOT_MS
        lately = [good for at, good in self.outcomes if at // breaker.SLOT_MS > slot - breaker.SLOTS]
        bad = lately.count(False)
        tripped = row >= 5 or (len(lately) >= 10 and bad * 2 >= len(lately))
        return tripped or (known is not None and self.good_ms < known.until_ms)

    def open(self) -> None:
        before = self.health
        self.health = breaker.opened(before, "p", "m", "server", self.now, 0.5)
        self.tally.clear()
        self.outcomes.clear()
        again = before is not None and not breaker.is_over(before, self.now)
        assert self.health.times == (before.times + 1 if again and before else 1)
        assert 4_000 <= self.health.until_ms - self.now <= 300_000

    @invariant()
    def the_share_is_nothing_then_grows_to_all(self) -> None:
        if self.health is None:
            return
        until = self.health.until_ms
        assert breaker.share(self.health, until - 1) == 0
        shares = [breaker.share(self.health, until + ms) for ms in range(0, 61_000, 1_000)]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (breaker.LEAST_SHARE, 1.0)


TestBreaking = Breaking.TestCase


@pytest.mark.parametrize("kind", sorted(get_args(FailureKind)))
def test_only_what_is_the_providers_own_counts(kind: FailureKind) -> None:
    counted = {"connection", "timeout", "server", "capacity", "truncated", "garbage"}
    assert breaker.counts(Failure(kind=kind, message="", status=500)) == (kind in counted)


@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (Failure(kind="timeout", message="", status=504, code="timeout_first_token"), True),
        (Failure(kind="timeout", message="", status=504, code="timeout_connect"), True),
        (Failure(kind="timeout", message="", status=504, code="timeout_between_chunks"), True),
        (Failure(kind="timeout", message="", status=504, code="timeout_total"), False),
        (Failure(kind="server", message="", status=502, upstream_status=409), False),
        (Failure(kind="server", message="", status=502, upstream_status=200), True),
        (Failure(kind="connection", message="", status=502, code="connection_stale"), False),
        (Failure(kind="connection", message="", status=502, code="connection_failed"), True),
    ],
    ids=lambda value: f"{value.code}-{value.upstream_status}" if isinstance(value, Failure) else str(value),
)
def test_a_requests_own_timeout_and_a_conflict_say_nothing(failure: Failure, counts: bool) -> None:
    assert breaker.counts(failure) == counts


def test_each_outage_lasts_twice_as_long_up_to_five_minutes() -> None:
    known: TargetHealth | None = None
    now, lengths = START, list[int]()
    for _ in range(9):
        known = breaker.opened(known, "p", "m", "server", now, 0.0)
        lengths.append((known.until_ms - known.since_ms) // 1000)
        now = known.until_ms
    assert lengths == [5, 10, 20, 40, 80, 160, 300, 300, 300]


@given(
    one=st.builds(health, st.integers(1, 5), st.integers(START, START + 9)),
    other=st.builds(health, st.integers(1, 5), st.integers(START, START + 9)),
)
def test_an_outage_is_never_shortened_whoever_writes_first(one: TargetHealth, other: TargetHealth) -> None:
    merged = breaker.later(one, other)
    assert merged.until_ms == max(one.until_ms, other.until_ms)
    assert merged.times == max(one.times, other.times)
    back = breaker.later(other, one)
    assert (back.until_ms, back.times) == (merged.until_ms, merged.times)


@given(models=st.lists(st.text(min_size=1, max_size=200), min_size=2, max_size=2, unique=True))
def test_no_two_models_share_a_name_in_the_bucket(models: list[str]) -> None:
    try:
        names = [target_name("p", model) for model in models]
    except UnicodeEncodeError:
        return
    assert len(set(names)) == 2
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/=.")
        for name in names
    )
