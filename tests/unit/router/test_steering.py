"""The order of targets that are down, coming back, or without room in their limits."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.health import RateWindow, RateWindows, TargetHealth, target_name, windows_name
from keyrail.contracts.keys import KeyRecord, key_name
from keyrail.contracts.slips import Facts, Plan, Race, Target
from keyrail.keys.book import KeyBook
from keyrail_router import steering
from keyrail_router.targets import Asked, Targets

NOW = 1_000_000_000
A, B, C = (Target(provider=name, model="m") for name in "abc")
PLAN = Plan(strategy="fallback", targets=(A, B, C), windows=(1, 2, 3), reason="route fast")
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


def order(known: Targets, draw: float = 0.5, plan: Plan = PLAN) -> tuple[str, str | None]:
    found, why = steering.steered(plan, Asked(known, "t", FACTS), lambda: draw)
    return "".join(target.provider for target in found.targets), why


def test_nothing_known_is_nothing_done() -> None:
    known = targets()
    assert not known.any
    assert steering.steered(PLAN, Asked(known, "t", FACTS), lambda: 0.0).plan is PLAN


def test_what_is_down_goes_last_and_the_soonest_back_comes_first() -> None:
    known = targets()
    opened(known, A, NOW + 9_000)
    assert order(known) == ("bca", "breaker")
    opened(known, C, NOW + 1_000)
    assert order(known) == ("bca", "breaker")
    opened(known, B, NOW + 5_000)
    assert order(known) == ("cba", "breaker"), "all are down: none is left out"
    alone = PLAN.replace(targets=(A,), windows=(1,))
    assert order(known, plan=alone) == ("a", None)


def test_what_belongs_to_a_target_moves_with_it() -> None:
    known = targets()
    opened(known, A, NOW + 9_000)
    race = Race(mode="first", most_usd=(None, None, None))
    found = steering.steered(PLAN.replace(race=race), Asked(known, "t", FACTS), lambda: 0.0).plan
    assert found.windows == (2, 3, 1)
    assert found.reason == "route fast; a/m is down"


def test_a_target_that_comes_back_gets_a_growing_share() -> None:
    clock = Clock()
    known = targets(clock)
    opened(known, A, NOW)
    draw = random.Random(7).random
    counts = Counter[int]()
    for second in range(12):
        clock.ms = NOW + second * 1_000
        for _ in range(400):
            found = steering.steered(PLAN, Asked(known, "t", FACTS), draw).plan
            counts[second] += found.targets[0] == A
    assert 20 <= counts[0] <= 70, "a tenth"
    assert 180 <= counts[5] <= 260, "half"
    assert counts[10] == counts[11] == 400
    assert order(known, 0.0)[0] == "abc"
    assert known.any, "it is not forgotten yet"
    clock.ms = NOW + 10_000 + 60_000
    assert not known.any


def test_a_pool_is_limited_when_all_its_keys_are() -> None:
    known = targets(keys=("one", "two"))
    limited(known, "one", 3)
    assert order(known) == ("abc", None)
    limited(known, "two", 0, in_ms=4_000)
    assert order(known) == ("bca", "limits")
    assert known.limited_until_ms("t", A, FACTS) == NOW + 4_000
    assert known.limited_until_ms("other", A, FACTS) is None, "it is another tenant's key"
    limited(known, "two", 80)
    assert order(known) == ("abc", None)


def test_requests_that_were_sent_are_taken_off_before_the_provider_says_so() -> None:
    known = targets(keys=("one",))
    limited(known, "one", 12)
    for _ in range(2):
        assert order(known) == ("abc", None)
        known.sent("t", A, FACTS)
    known.sent("t", A, FACTS)
    assert order(known) == ("bca", "limits")


def test_a_window_that_began_anew_is_forgotten() -> None:
    clock = Clock()
    known = targets(clock)
    limited(known, None, 0)
    assert order(known) == ("bca", "limits")
    clock.ms += 9_000
    assert order(known) == ("abc", None)
    assert not known.any


def test_what_cannot_be_read_counts_as_not_there(caplog: pytest.LogCaptureFixture) -> None:
    known = targets()
    known.put_health("a.m", b"{")
    known.put_windows("t.a.=.m", b"[]")
    assert not known.any
    assert len(caplog.records) == 2


@given(
    states=st.lists(
        st.tuples(
            st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 2]), st.sampled_from([0.0, 0.5, 1.0])
        ),
        min_size=1,
        max_size=5,
    ),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_every_target_stays_in_the_plan_and_the_well_ones_keep_their_order(
    states: list[tuple[Any, Any, float]], draw: float
) -> None:
    every = tuple(Target(provider=str(number), model="m") for number in range(len(states)))

    class Known:
        def share(self, target: Target) -> float:
            return states[int(target.provider)][2]

        def until_ms(self, target: Target) -> int | None:
            return states[int(target.provider)][0]

        def limited_until_ms(self, target: Target) -> int | None:
            return states[int(target.provider)][1]

    found, why = steering.steered(PLAN.replace(targets=every, windows=()), Known(), lambda: draw)
    assert sorted(found.targets, key=lambda t: t.provider) == list(every)
    well = [t for t in every if states[int(t.provider)] == (None, None, 1.0)]
    assert [t for t in found.targets if t in well] == well
    assert (why is None) == (found.targets[0] == every[0])
