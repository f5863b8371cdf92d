from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.keys import KeyHealth
from keyrail.keys import pool
from keyrail.keys.outage import RAMP_MS, share
from keyrail.keys.pool import Member, Out

NOW = 1_000_000_000
DRAWS = 1_000


def out_until(until_ms: int | None, reason: str = "rate") -> KeyHealth:
    return KeyHealth(reason=reason, since_ms=0, until_ms=until_ms)  # pyright: ignore[reportArgumentType]


def shares(members: list[Member], tried: tuple[str, ...] = ()) -> Counter[str | None]:
    chosen = (pool.choose(members, NOW, n / DRAWS, tried) for n in range(DRAWS))
    return Counter(member.id if member else None for member in chosen)


def test_keys_share_the_traffic_by_weight() -> None:
    members = [Member("a", 3, None), Member("b", 1, None), Member("off", 0, None)]
    assert shares(members) == {"a": 750, "b": 250}


def test_a_key_that_is_out_or_was_tried_is_not_drawn() -> None:
    members = [Member("a", 3, out_until(NOW + 1)), Member("b", 1, None), Member("c", 1, None)]
    assert shares(members) == {"b": 500, "c": 500}
    assert shares(members, ("b",)) == {"c": DRAWS}
    assert shares(members, ("b", "c")) == {None: DRAWS}


@pytest.mark.parametrize(("passed", "part"), [(0, 0.1), (RAMP_MS // 2, 0.55), (RAMP_MS, 1.0)])
def test_a_key_that_comes_back_has_a_part_of_its_weight(passed: int, part: float) -> None:
    members = [Member("a", 1, None), Member("back", 1, out_until(NOW - passed))]
    assert shares(members)["back"] == pytest.approx(DRAWS * part / (1 + part), abs=1)


def test_the_last_key_that_is_left_is_used_however_small_its_part() -> None:
    members = [Member("back", 1, out_until(NOW)), Member("out", 9, out_until(None, "auth"))]
    assert shares(members) == {"back": DRAWS}


@pytest.mark.parametrize(
    ("ends", "out"),
    [
        ([NOW + 9, NOW + 5, None], Out("rate", NOW + 5)),
        ([None, None], Out("rate", None)),
        ([NOW + 9, NOW], None),
        ([], None),
    ],
)
def test_a_pool_is_out_until_its_first_key_is_back(ends: list[int | None], out: Out | None) -> None:
    members = [Member(str(n), 1, out_until(end)) for n, end in enumerate(ends)]
    assert pool.out(members, NOW) == out
    assert pool.out([*members, Member("off", 0, None)], NOW) == out, "a key without weight helps nobody"
    assert pool.out([*members, Member("good", 1, None)], NOW) is None


@pytest.mark.parametrize(
    ("out", "kind", "status", "wait_s"),
    [
        (Out("rate", NOW + 2_500), "rate", 429, 2.5),
        (Out("quota", NOW + 60_000), "rate", 429, 60),
        (Out("money", None), "money", 503, None),
        (Out("auth", None), "auth", 503, None),
    ],
)
def test_a_request_whose_pool_is_out_hears_why_and_for_how_long(
    out: Out, kind: str, status: int, wait_s: float | None
) -> None:
    failure = pool.refusal("groq", out, NOW)
    assert (failure.kind, failure.status, failure.retry_after_s) == (kind, status, wait_s)
    assert (failure.code, failure.falls_over) == (pool.KEYS_OUT, True)
    assert "'groq'" in failure.message


MEMBERS = st.lists(
    st.builds(
        Member,
        st.text("abcdef", min_size=1),
        st.integers(0, 5),
        st.none() | st.builds(out_until, st.none() | st.integers(NOW - 2 * RAMP_MS, NOW + RAMP_MS)),
    ),
    unique_by=lambda member: member.id,
)


@given(MEMBERS, st.floats(0, 1, exclude_max=True))
def test_a_key_is_drawn_if_and_only_if_there_is_one_to_draw(members: list[Member], draw: float) -> None:
    chosen = pool.choose(members, NOW, draw)
    may = [m for m in members if m.weight > 0 and share(m.health, NOW) > 0]
    assert (chosen in may) if may else chosen is None
    weighty = any(m.weight > 0 for m in members)
    assert (pool.out(members, NOW) is not None) == (weighty and not may)
