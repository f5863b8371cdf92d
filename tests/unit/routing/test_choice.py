from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.routing.choice import Candidate, best, choose, sentence
from keyrail.routing.posterior import Posterior, of, probability_at_least
from keyrail.routing.tuning import worth_for

names = [f"p/m{n}" for n in range(6)]
qualities = st.builds(of, st.floats(0.1, 0.9), st.floats(0, 500), st.floats(0, 500))
prices = st.none() | st.decimals("0.000001", "1", places=6)
seconds = st.none() | st.floats(0.01, 60)


@st.composite
def pools(draw: st.DrawFn) -> list[Candidate]:
    count = draw(st.integers(1, len(names)))
    found = [
        Candidate(name, draw(qualities), draw(prices), draw(seconds), draw(st.booleans()))
        for name in names[:count]
    ]
    found[-1] = Candidate(names[count - 1], found[-1].quality, found[-1].cost, found[-1].latency_s)
    return found


def known(name: str, good: float, bad: float, cost: str | None, latency: float | None = None) -> Candidate:
    return Candidate(name, of(0.5, good, bad), None if cost is None else Decimal(cost), latency)


STRONG = known("a/strong", 9_000, 1_000, "0.01", 3.0)
CHEAP = known("b/cheap", 8_900, 1_100, "0.0001", 1.0)
WEAK = known("c/weak", 5_000, 5_000, "0.00001", 0.1)


worths = st.none() | st.floats(0, 1)


@given(pools(), st.sampled_from(["cost", "latency"]), worths, st.sampled_from([0.5, 0.8, 0.95]))
def test_nothing_is_chosen_that_does_not_clear_except_the_reference(
    pool: list[Candidate], prefer: str, worth: float | None, confidence: float
) -> None:
    choice = choose(
        pool,
        names[0],
        bar=0.95,
        confidence=confidence,
        prefer="cost" if prefer == "cost" else "latency",
        worth=worth,
    )
    by_name = {c.target: c for c in pool}
    chosen = by_name[choice.target]
    assert chosen.eligible
    if worth is None and by_name[names[0]].eligible:
        assert choice.target == names[0], "nobody knows what keeps what is to be kept"
    if choice.target != names[0] and choice.reason != "best-without-reference":
        assert probability_at_least(chosen.quality, by_name[names[0]].quality, 0.95) >= confidence
        assert min(chosen.quality.evidence, by_name[names[0]].quality.evidence) >= 30
    assert choice == choose(
        pool, names[0], bar=0.95, confidence=confidence, prefer=choice.prefer, worth=worth
    )
    assert choice.target in sentence(choice)


@given(pools(), st.sampled_from(["cost", "latency"]))
def test_no_target_that_clears_is_cheaper_than_the_chosen_one(pool: list[Candidate], prefer: str) -> None:
    choice = choose(pool, names[0], prefer="cost" if prefer == "cost" else "latency")
    values = {s.target: s.cost if prefer == "cost" else s.latency_s for s in choice.candidates}
    mine = values[choice.target]
    others = [values[s.target] for s in choice.candidates if s.clears and s.eligible]
    if choice.reason == "best-without-reference":
        return
    there = [value for value in others if value is not None]
    assert (mine is None and not there) or (mine is not None and mine == min(there))


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6), st.floats(0, 10))
def test_without_evidence_it_is_the_static_choice(priors: list[float], worth: float) -> None:
    pool = [
        Candidate(name, of(prior, 0, 0), Decimal(n + 1) / 1000)
        for n, (name, prior) in enumerate(zip(names[: len(priors)], priors, strict=True))
    ][::-1]
    choice = choose(pool, pool[0].target, confidence=0.0, worth=worth)
    assert choice.target == pool[0].target
    assert choice.reason == "reference-unknown-task"


def test_the_cheapest_that_clears_serves_and_says_so() -> None:
    choice = choose([STRONG, CHEAP, WEAK], "a/strong")
    assert (choice.target, choice.reason, choice.propensity) == ("b/cheap", "cheapest-clears", 1.0)
    assert sentence(choice) == (
        "b/cheap is the cheapest of the 2 targets that reach 97% of a/strong's quality with 95% confidence: "
        "quality 0.890, P=1.000 from 10000 verdicts; $0.000100 instead of $0.010000."
    )


def test_the_fastest_serves_where_time_counts() -> None:
    choice = choose([STRONG, CHEAP, WEAK], "a/strong", prefer="latency")
    assert (choice.target, choice.reason) == ("b/cheap", "fastest-clears")
    assert sentence(choice).endswith("; 1.00 s instead of 3.00 s.")


def test_a_stricter_bar_keeps_the_reference() -> None:
    choice = choose([STRONG, CHEAP, WEAK], "a/strong", bar=1.0)
    assert (choice.target, choice.reason) == ("a/strong", "reference-no-candidate-clears")
    assert "b/cheap comes nearest" in sentence(choice)


def test_an_unknown_price_never_wins_over_a_known_one() -> None:
    unknown = known("b/cheap", 8_900, 1_100, None)
    assert choose([STRONG, unknown], "a/strong").reason == "reference-is-cheapest"
    both = [known("a/strong", 9_000, 1_000, None), unknown]
    assert choose(both, "a/strong").target == "a/strong"


def test_a_reference_that_cannot_serve_still_sets_the_bar() -> None:
    out = Candidate("a/strong", STRONG.quality, STRONG.cost, eligible=False)
    assert choose([out, CHEAP, WEAK], "a/strong").target == "b/cheap"
    alone = choose([out, WEAK], "a/strong")
    assert (alone.target, alone.reason) == ("c/weak", "best-without-reference")


def test_evidence_for_a_target_is_nothing_without_evidence_for_the_reference() -> None:
    fresh = Candidate("a/strong", of(0.3, 0, 0), Decimal("0.01"))
    assert choose([fresh, CHEAP], "a/strong", confidence=0.5).reason == "reference-unknown-task"


def test_a_dear_mistake_is_worth_the_better_answer() -> None:
    pool = [STRONG, CHEAP, WEAK]
    cheap = choose(pool, "a/strong", bar=0, confidence=0.5, worth=0.01)
    dear = choose(pool, "a/strong", bar=0, confidence=0.5, worth=10.0)
    assert (cheap.target, cheap.reason) == ("b/cheap", "best-value-clears")
    assert (dear.target, dear.reason) == ("a/strong", "reference-is-best-value")


@pytest.mark.parametrize("pool", [[], [CHEAP], [Candidate("a/strong", STRONG.quality, eligible=False)]])
def test_a_choice_needs_its_reference_and_somebody_to_serve(pool: list[Candidate]) -> None:
    with pytest.raises(ValueError, match=r"reference|eligible"):
        choose(pool, "a/strong")


def test_the_best_is_a_reference_where_nobody_named_one() -> None:
    assert best([WEAK, STRONG, CHEAP]) == "a/strong"


def test_a_worth_keeps_the_target_at_the_least_price() -> None:
    much = known("b/cheap", 6_000, 4_000, "0.0001")
    easy, hard = [STRONG, CHEAP, WEAK], [STRONG, much, WEAK]
    worth = worth_for([(easy, 60.0), (hard, 40.0)], "a/strong", 0.98)
    assert worth is not None
    served = [choose(pool, "a/strong", bar=0, confidence=0.5, worth=worth).target for pool in (easy, hard)]
    assert served == ["b/cheap", "a/strong"]
    assert worth_for([(easy, 1.0)], "a/strong", 0.0) == 0.0
    assert worth_for([(easy, 1.0)], "a/strong", 1.5) is None


@given(pools(), st.floats(0.5, 1.0))
def test_a_worth_that_is_found_keeps_what_it_promises(pool: list[Candidate], target: float) -> None:
    if not pool[0].eligible:
        return
    worth = worth_for([(pool, 1.0)], names[0], target)
    if worth is not None:
        kept = choose(pool, names[0], bar=0, confidence=0.5, worth=worth).chosen.quality
        assert kept >= target * pool[0].quality.mean - 1e-12


def test_a_posterior_of_no_mass_is_no_error() -> None:
    pool = [Candidate("a/strong", Posterior(0.0, 0.0)), Candidate("b/cheap", Posterior(0.0, 0.0))]
    assert choose(pool, "a/strong").target == "a/strong"
