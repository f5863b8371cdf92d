"""Extra attempts never exceed a fifth of the live requests and the small minimum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyrail.routing.extra import LEAST, MOST, ExtraBudget

STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["one", "other"]), st.booleans()), max_size=400)


@given(STEPS)
def test_no_interleaving_over_several_workers_exceeds_the_budget(steps: list[tuple[int, str, bool]]) -> None:
    workers = [ExtraBudget() for _ in range(3)]
    live, extra = {"one": 0, "other": 0}, {"one": 0, "other": 0}
    for worker, tenant, serves in steps:
        if serves:
            workers[worker].earn(tenant)
            live[tenant] += 1
        elif workers[worker].take(tenant):
            extra[tenant] += 1
        for each in live:
            assert extra[each] * 5 <= live[each] + len(workers) * LEAST * 5


def test_a_storm_in_which_all_fails_makes_a_fifth_more_calls() -> None:
    budget = ExtraBudget()
    taken = 0
    for _ in range(10_000):
        budget.earn("t")
        taken += budget.take("t")
    assert taken == 2_000 + LEAST


def test_a_calm_day_does_not_save_up_for_a_storm() -> None:
    budget = ExtraBudget()
    for _ in range(100_000):
        budget.earn("t")
    assert sum(budget.take("t") for _ in range(100)) == MOST
