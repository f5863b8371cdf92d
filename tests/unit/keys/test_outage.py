from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.keys import KeyHealth
from keyrail.dialects.taxonomy import DAILY_QUOTA
from keyrail.keys import outage
from keyrail.keys.outage import CALM_MS, FIRST_MS, LONGEST_MS, RAMP_MS, Refusal

NOON_MS = 1_795_435_200_000  # 2026-11-23 12:00 UTC


def refusal(
    reason: str = "rate", wait_s: float | None = None, asked_ms: int = NOON_MS, version: int | None = 1
) -> Refusal:
    return Refusal(reason, wait_s, version, None, asked_ms)  # pyright: ignore[reportArgumentType]


def failure(kind: FailureKind, code: str | None = None, *, only_here: bool = False) -> Failure:
    return Failure(kind=kind, message="", status=429, code=code, only_here=only_here)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (failure("rate"), "rate"),
        (failure("rate", DAILY_QUOTA), "quota"),
        (failure("money"), "money"),
        (failure("auth"), "auth"),
        (failure("rate", only_here=True), None),
        (failure("auth", only_here=True), None),
        (failure("capacity"), None),
        (failure("server"), None),
        (failure("timeout"), None),
        (failure("model_missing"), None),
    ],
)
def test_what_counts_against_a_key(what: Failure, reason: str | None) -> None:
    assert outage.reason_of(what) == reason


def test_a_retry_after_is_obeyed_to_the_second() -> None:
    health = outage.refused(None, refusal(wait_s=7), NOON_MS)
    assert (health.reason, health.since_ms, health.until_ms) == ("rate", NOON_MS, NOON_MS + 7_000)
    assert outage.share(health, NOON_MS + 6_999) == 0
    assert outage.share(health, NOON_MS + 7_000) == pytest.approx(0.1)


def test_a_key_comes_back_slowly() -> None:
    health = outage.refused(None, refusal(wait_s=1), NOON_MS)
    back = NOON_MS + 1_000
    shares = [outage.share(health, back + passed) for passed in (0, 20_000, 40_000, RAMP_MS, 10 * RAMP_MS)]
    assert shares == pytest.approx([0.1, 0.4, 0.7, 1.0, 1.0])
    assert outage.share(None, NOON_MS) == 1


@pytest.mark.parametrize("reason", ["money", "auth"])
def test_what_no_waiting_mends_lasts(reason: str) -> None:
    health = outage.refused(None, refusal(reason), NOON_MS)
    assert health.until_ms is None
    assert outage.share(health, NOON_MS + 10**12) == 0
    assert not outage.is_over(health, NOON_MS + 10**12)
    assert outage.refused(health, refusal("rate", 5), NOON_MS + 1) == health


def test_money_that_comes_back_by_itself_does_not_last() -> None:
    assert outage.refused(None, refusal("money", 3), NOON_MS).until_ms == NOON_MS + 3_000


def test_a_quota_without_a_word_lasts_until_midnight() -> None:
    assert outage.refused(None, refusal("quota"), NOON_MS).until_ms == NOON_MS + 12 * 3_600_000


def test_each_outage_without_a_calm_time_between_is_twice_as_long() -> None:
    now, health, lengths = NOON_MS, None, list[int]()
    for _ in range(10):
        health = outage.refused(health, refusal(asked_ms=now), now)
        assert health.until_ms is not None
        lengths.append(health.until_ms - now)
        now = health.until_ms + RAMP_MS // 2
    assert lengths[:5] == [FIRST_MS << n for n in range(5)]
    assert lengths[-1] == LONGEST_MS
    assert health is not None
    assert health.times == 10


def test_a_calm_time_after_the_ramp_forgets() -> None:
    health = outage.refused(None, refusal(), NOON_MS)
    assert health.until_ms is not None
    calm = health.until_ms + RAMP_MS + CALM_MS
    assert not outage.is_over(health, calm - 1)
    assert outage.refused(health, refusal(asked_ms=calm - 1), calm - 1).times == 2
    assert outage.is_over(health, calm)
    assert outage.refused(health, refusal(asked_ms=calm), calm).times == 1


def test_refusals_that_were_under_way_together_are_one_outage() -> None:
    health = outage.refused(None, refusal(), NOON_MS)
    for late in (1, 300, FIRST_MS - 1, FIRST_MS + 900):  # the last one answers after the key is back
        health = outage.refused(health, refusal(asked_ms=NOON_MS - 1), NOON_MS + late)
        assert (health.times, health.since_ms) == (1, NOON_MS)


def test_another_version_of_the_key_begins_anew() -> None:
    bad = outage.refused(None, refusal("auth"), NOON_MS)
    assert outage.current(bad, 1) == bad
    assert outage.current(bad, 2) is None
    assert outage.current(bad, None) is None
    assert outage.refused(bad, refusal(wait_s=2, version=2), NOON_MS).until_ms == NOON_MS + 2_000


HEALTHS = st.builds(
    KeyHealth,
    reason=st.sampled_from(["rate", "quota"]),
    since_ms=st.just(NOON_MS),
    until_ms=st.none() | st.integers(NOON_MS, NOON_MS + 10**8),
    times=st.integers(1, 20),
    version=st.just(1),
)
WAITS = st.none() | st.floats(0, 100_000)


@given(HEALTHS, WAITS, st.sampled_from(["rate", "quota", "money", "auth"]), st.integers(-(10**7), 10**7))
def test_no_word_ever_shortens_an_outage(
    before: KeyHealth, wait_s: float | None, reason: str, asked: int
) -> None:
    now = NOON_MS + 1_000
    after = outage.refused(before, refusal(reason, wait_s, asked_ms=now + min(asked, 0)), now)
    if before.until_ms is None:
        assert after.until_ms is None
    else:
        assert after.until_ms is None or after.until_ms >= before.until_ms
    assert after.times >= before.times or outage.is_over(before, now)


@given(HEALTHS, HEALTHS)
def test_two_workers_agree_on_the_later_end_whoever_writes_first(one: KeyHealth, other: KeyHealth) -> None:
    ends = [outage.later(a, b).until_ms for a, b in itertools.permutations((one, other))]
    assert ends[0] == ends[1]
    known = [h.until_ms for h in (one, other) if h.until_ms is not None]
    assert ends[0] == (max(known) if len(known) == 2 else None)


def test_the_newer_version_counts() -> None:
    old = outage.refused(None, refusal("auth"), NOON_MS)
    new = outage.refused(None, refusal(wait_s=1, version=2), NOON_MS)
    assert outage.later(old, new) == new
    assert outage.later(new, old) == new


def test_a_mark_tells_values_and_names_apart_and_is_16_bits() -> None:
    marks = {outage.mark(name, value) for name in ("a.b.c", "a.b.d") for value in ("sk-1", "sk-2")}
    assert len(marks) == 4
    assert all(len(mark) == 4 for mark in marks)
