import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.scores import Exemplar, TaskScores, Verdict
from keyrail.routing.choice import LEAST_EVIDENCE
from keyrail.routing.learning import SEEN, Model, exemplar_of, fold
from keyrail.routing.posterior import HALF_LIFE_MS, of
from keyrail.routing.text import features

DAY_MS = 86_400_000


def verdict(
    id: str,
    at_ms: int = 0,
    text: str | None = None,
    scores: dict[str, float] | None = None,
    **more: float,
) -> Verdict:
    packed = None if text is None else features(text).pack()
    return Verdict(
        id=id,
        request_id=f"r-{id}",
        route="r",
        task="t",
        scores={**(scores or {}), **more},
        at_ms=at_ms,
        features=packed,
    )


pairs = st.fixed_dictionaries({"a": st.floats(0, 1), "b": st.floats(0, 1)})
verdicts = st.lists(st.tuples(st.integers(0, 60 * DAY_MS), pairs), max_size=20)


def folded(given_: list[Verdict]) -> TaskScores:
    scores = TaskScores(task="t")
    for one in given_:
        scores = fold(scores, one)
    return scores


@given(verdicts)
def test_a_verdict_that_comes_again_changes_nothing(found: list[tuple[int, dict[str, float]]]) -> None:
    all_of = [verdict(str(n), at, scores=scores) for n, (at, scores) in enumerate(found)]
    once = folded(all_of)
    assert folded([*all_of, *all_of]) == once
    assert TaskScores.decode(once.encode()) == once


@given(verdicts)
def test_verdicts_may_come_in_any_order(found: list[tuple[int, dict[str, float]]]) -> None:
    all_of = [verdict(str(n), at, scores=scores) for n, (at, scores) in enumerate(found)]
    forth, back = folded(all_of), folded(all_of[::-1])
    for target, tally in forth.tallies.items():
        assert back.tallies[target].good == pytest.approx(tally.good)
        assert back.tallies[target].bad == pytest.approx(tally.bad)
        assert back.tallies[target].at_ms == tally.at_ms


def test_only_the_last_verdicts_are_remembered_by_name() -> None:
    scores = folded([verdict(str(n), a=1.0) for n in range(SEEN + 5)])
    assert len(scores.seen) == SEEN
    assert fold(scores, verdict(str(SEEN), a=1.0)) is scores


def test_a_score_out_of_range_counts_as_the_nearest_one() -> None:
    tally = folded([verdict("1", a=7.0), verdict("2", a=-1.0)]).tallies["a"]
    assert (tally.good, tally.bad) == (1.0, 1.0)


def test_what_was_learned_fades_to_the_prior() -> None:
    model = Model({"a": 0.2}, [folded([verdict(str(n), a=1.0) for n in range(100)])])
    fresh, later = model.quality("t", None, "a", 0), model.quality("t", None, "a", 20 * HALF_LIFE_MS)
    assert fresh.mean == pytest.approx((0.2 * 8 + 100) / 108)
    assert later.mean == pytest.approx(0.2, abs=0.01)
    assert fresh.evidence == pytest.approx(100)


def test_a_task_that_nobody_judged_has_its_prior_and_no_evidence() -> None:
    model = Model({"a": 0.7}, [folded([verdict("1", a=0.0)])])
    assert model.quality("other", None, "a", 0) == of(0.7, 0, 0)
    assert model.quality("other", None, "b", 0).mean == 0.5


def exemplars(count: int, text: str, **scores: float) -> list[Exemplar]:
    found = [exemplar_of(verdict(str(n), text=text, scores=scores)) for n in range(count)]
    return [one for one in found if one is not None]


def test_neighbours_shift_what_is_known_of_a_task_by_their_weight() -> None:
    text = "sum of the list in a loop"
    model = Model(
        {"a": 0.5},
        [folded([verdict(str(n), a=1.0) for n in range(100)])],
        exemplars(40, text, a=0.0),
        weight=0.25,
    )
    alone = model.quality("t", None, "a", 0)
    assert model.quality("t", features(text), "a", 0).mean == pytest.approx(0.75 * alone.mean)
    assert model.quality("t", features("winter sonnets in iambic pentameter"), "a", 0) == alone
    assert model.uses_neighbours


def test_neighbours_alone_are_too_little_to_leave_the_reference() -> None:
    text = "sum of the list in a loop"
    model = Model({"a": 0.5}, (), exemplars(200, text, a=1.0), weight=0.5)
    believed = model.quality("new", features(text), "a", 0)
    assert believed.mean > 0.8
    assert believed.evidence < LEAST_EVIDENCE


def test_a_prompt_is_not_its_own_neighbour() -> None:
    text = "sum of the list in a loop"
    model = Model({"a": 0.5}, (), [*exemplars(20, text, a=1.0)], weight=0.5)
    model.remember(
        [Exemplar(id="mine", task="t", features=features(text).pack(), scores={"a": 0.0}, at_ms=0)]
    )
    mine = model.qualities("new", features(text), ("a",), 0)["a"]
    others = model.qualities("new", features(text), ("a",), 0, without="mine")["a"]
    assert mine.mean < others.mean


def test_a_verdict_without_features_leaves_no_exemplar() -> None:
    assert exemplar_of(verdict("1", a=1.0)) is None


def test_a_model_without_exemplars_brings_no_numpy_into_the_process() -> None:
    program = (
        "import sys; from keyrail.routing import choice, learning, posterior, text, tuning\n"
        "model = learning.Model({'a': 0.5}); model.calibrate(); model.quality('t', None, 'a', 0)\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
