import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.routing.posterior import HALF_LIFE_MS, Posterior, blended, decayed, of, probability_at_least

means = st.floats(0.01, 0.99)
amounts = st.floats(0, 2_000)


@given(means, amounts, amounts, st.floats(0.01, 100))
def test_a_success_raises_the_mean_and_a_failure_lowers_it(
    prior: float, good: float, bad: float, more: float
) -> None:
    now = of(prior, good, bad)
    assert of(prior, good + more, bad).mean >= now.mean >= of(prior, good, bad + more).mean
    assert of(prior, good + more, bad).evidence > now.evidence


@given(means, means, st.floats(1, 1_000), st.floats(0.5, 1.1), st.floats(0, 0.2))
def test_a_better_mean_is_never_less_probable(
    mean: float, reference: float, mass: float, bar: float, more: float
) -> None:
    standard = Posterior(reference, mass)
    better = Posterior(min(mean + more, 1.0), mass)
    sure = Posterior(mean, mass)
    if mean >= bar * reference:  # above the bar a better mean is farther from it, and no less certain
        assert probability_at_least(better, standard, bar) >= 0.5 - 1e-9
    assert 0 <= probability_at_least(sure, standard, bar) <= 1


@given(means, means, st.floats(10, 1_000), st.floats(0.5, 1.0), st.floats(1, 10))
def test_more_verdicts_of_the_same_kind_make_surer(
    mean: float, reference: float, mass: float, bar: float, times: float
) -> None:
    few = probability_at_least(Posterior(mean, mass), Posterior(reference, mass), bar)
    many = probability_at_least(Posterior(mean, mass * times), Posterior(reference, mass * times), bar)
    assert abs(many - 0.5) >= abs(few - 0.5) - 1e-9


@pytest.mark.parametrize(
    ("good", "bad", "against"), [(170, 30, (160, 40)), (45, 5, (44, 6)), (12, 8, (14, 6))]
)
def test_the_approximation_is_near_what_drawing_says(good: int, bad: int, against: tuple[int, int]) -> None:
    draw = random.Random(1)
    quality, reference = of(0.5, good, bad), of(0.5, *against)

    def drawn(p: Posterior) -> float:
        return draw.betavariate(p.mean * p.mass, (1 - p.mean) * p.mass)

    hits = sum(drawn(quality) >= 0.95 * drawn(reference) for _ in range(20_000))
    assert probability_at_least(quality, reference, 0.95) == pytest.approx(hits / 20_000, abs=0.02)


def test_certainty_is_certain() -> None:
    assert probability_at_least(Posterior(1.0, 10), Posterior(0.9, 1e30), 1.0) == 1.0
    assert probability_at_least(Posterior(0.0, 10), Posterior(1.0, 10), 0.5) == 0.0


def test_evidence_halves_in_a_fortnight_and_does_not_grow_back_in_time() -> None:
    assert decayed(8.0, HALF_LIFE_MS) == pytest.approx(4.0)
    assert decayed(8.0, -HALF_LIFE_MS) == 8.0


@given(means, means, amounts, amounts, st.floats(0, 1))
def test_a_blend_lies_between_and_is_no_surer_than_both_together(
    one: float, other: float, mine: float, theirs: float, weight: float
) -> None:
    task, near = of(one, mine, mine), Posterior(other, theirs + 1, theirs + 1)
    blend = blended(task, near, weight)
    low, high = sorted((task.mean, near.mean))
    assert low - 1e-9 <= blend.mean <= high + 1e-9
    assert blend.mass <= task.mass + near.mass + 1e-9
    assert blended(task, near, 0.0) == task
