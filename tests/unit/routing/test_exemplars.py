import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts.scores import Exemplar
from keyrail.routing.exemplars import GUARD, MOST_EXEMPLARS, Neighbours
from keyrail.routing.posterior import HALF_LIFE_MS
from keyrail.routing.text import Features, features

WORDS = ["sum", "list", "court", "proof", "river", "tax", "loop", "cell", "verb", "atom", "ring", "node"]
documents = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), min_size=1, max_size=30)


def exemplar(
    id: str, text: str, at_ms: int = 0, scores: dict[str, float] | None = None, **more: float
) -> Exemplar:
    packed = features(text).pack()
    return Exemplar(id=id, task="t", features=packed, scores={**(scores or {}), **more}, at_ms=at_ms)


def remembered(texts: list[str]) -> Neighbours:
    return Neighbours([exemplar(str(n), text, good=1.0) for n, text in enumerate(texts)])


def by_hand(texts: list[str], asked: str) -> list[float]:
    """Cosines of TF-IDF vectors, one after the other."""
    all_of = [features(text) for text in texts]
    seen = Counter(bucket for document in all_of for bucket in document.buckets)

    def vector(document: Features) -> dict[int, float]:
        weights = {
            bucket: (1 + math.log(count)) * (math.log((len(texts) + 1) / (seen[bucket] + 1)) + 1)
            for bucket, count in zip(document.buckets, document.counts, strict=True)
        }
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        return {bucket: weight / length for bucket, weight in weights.items()}

    query = vector(features(asked))
    return [sum(query.get(b, 0.0) * w for b, w in vector(d).items()) for d in all_of]


@given(documents, st.lists(st.sampled_from([*WORDS, "unknown"]), min_size=1, max_size=8), st.integers(1, 40))
def test_the_nearest_are_those_that_a_search_by_hand_finds(
    bags: list[list[str]], asked: list[str], count: int
) -> None:
    texts = [" ".join(bag) for bag in bags]
    near = remembered(texts).nearest(features(" ".join(asked)), count)
    truth = by_hand(texts, " ".join(asked))
    expected = sorted((value for value in truth if value > 0), reverse=True)[:count]
    assert near.similarities.tolist() == pytest.approx(expected, abs=1e-6)
    for row, similarity in zip(near.rows.tolist(), near.similarities.tolist(), strict=True):
        assert truth[row] == pytest.approx(similarity, abs=1e-6)


@settings(max_examples=40)
@given(documents)
def test_similarity_is_symmetric_and_greatest_with_itself(bags: list[list[str]]) -> None:
    texts = [" ".join(bag) for bag in bags]
    index = remembered(texts)
    found = {}
    for number, text in enumerate(texts):
        near = index.nearest(features(text), len(texts))
        for row, similarity in zip(near.rows.tolist(), near.similarities.tolist(), strict=True):
            found[number, row] = similarity
        assert found[number, number] == pytest.approx(1.0, abs=1e-6)
        assert near.similarities.max() <= 1 + 1e-6
    for (one, other), similarity in found.items():
        assert found[other, one] == pytest.approx(similarity, abs=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_adding_one_by_one_ends_where_adding_all_at_once_does(seed: int) -> None:
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=6)) for _ in range(300)]
    together, singly = remembered(texts), Neighbours()
    for number, text in enumerate(texts):
        singly.add([exemplar(str(number), text, good=1.0)])
    asked = features("proof of a river in court")
    # What is not yet indexed anew is found all the same, by the frequencies of then.
    assert singly.nearest(asked, 400).rows.size == together.nearest(asked, 400).rows.size
    singly.compact()
    assert singly.nearest(asked).rows.tolist() == together.nearest(asked).rows.tolist()


def test_the_oldest_make_room_for_the_newest() -> None:
    texts = [
        f"{WORDS[n % 12]} {WORDS[n // 12 % 12]} {WORDS[n // 144 % 12]}" for n in range(MOST_EXEMPLARS + 50)
    ]
    index = remembered(texts[:MOST_EXEMPLARS])
    assert len(index) == MOST_EXEMPLARS
    index.add([exemplar(f"new{n}", texts[-n], good=0.0) for n in range(1, 51)])
    assert MOST_EXEMPLARS - 200 < len(index) <= MOST_EXEMPLARS
    near = index.nearest(features(texts[-1]), MOST_EXEMPLARS)
    assert near.rows.max() == len(index) - 1


def test_a_target_that_some_were_not_judged_for_is_estimated_from_the_others() -> None:
    text = "sum of the list"
    index = Neighbours([exemplar(str(n), text, a=1.0) for n in range(10)])
    index.add([exemplar(str(n), text, b=0.0) for n in range(4)])
    assert len(index) == 10
    found = index.estimate(features(text), ("a", "b", "c"), 0)
    assert set(found) == {"a", "b"}
    assert (found["a"].mean, found["b"].mean) == (1.0, 0.0)
    assert found["a"].mass == pytest.approx(10)
    assert found["b"].mass == pytest.approx(4)


def test_the_guard_says_nothing_of_a_prompt_that_is_like_none() -> None:
    index = Neighbours([exemplar(str(n), "sum of the list in a loop", a=1.0) for n in range(50)])
    stranger = features("Sonnets about winter, please: fourteen verses of iambic pentameter")
    assert index.nearest(stranger).closeness < GUARD
    assert index.estimate(stranger, ("a",), 0) == {}
    assert index.estimate(features(""), ("a",), 0) == {}


def test_fewer_than_ten_neighbours_are_not_enough_to_be_sure_of() -> None:
    index = Neighbours([exemplar("only", "sum of the list", a=1.0)])
    assert index.estimate(features("sum of the list"), ("a",), 0) == {}


def test_old_verdicts_count_for_less() -> None:
    text = "sum of the list"
    old = [exemplar(f"old{n}", text, a=0.0) for n in range(20)]
    new = [exemplar(f"new{n}", text, at_ms=HALF_LIFE_MS, a=1.0) for n in range(20)]
    mean = Neighbours([*old, *new]).estimate(features(text), ("a",), HALF_LIFE_MS)["a"].mean
    assert mean == pytest.approx(2 / 3)


def prompts(draw: random.Random, *, telling: bool) -> list[Exemplar]:
    """Two kinds of prompts in one task; each model is good at one kind, or which is which says nothing."""
    found: list[Exemplar] = []
    for number in range(400):
        kind = draw.random() < 0.5
        text = " ".join(draw.choices(WORDS[:6] if kind else WORDS[6:], k=6))
        good = kind if telling else draw.random() < 0.5
        sure = {"a": 0.9, "b": 0.4} if good else {"a": 0.4, "b": 0.9}
        scores = {target: float(draw.random() < p) for target, p in sure.items()}
        found.append(exemplar(str(number), text, scores=scores))
    return found


def test_neighbours_count_where_they_tell_targets_apart() -> None:
    assert Neighbours(prompts(random.Random(1), telling=True)).calibrate() > 0.3


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_that_say_nothing_count_for_little_or_nothing(seed: int) -> None:
    assert Neighbours(prompts(random.Random(seed), telling=False)).calibrate() <= 0.05


def test_a_target_that_was_judged_once_disturbs_no_calibration() -> None:
    found = prompts(random.Random(1), telling=True)
    alone = Neighbours(found).calibrate()
    found[0] = found[0].replace(scores={**found[0].scores, "rare": 0.3})
    assert Neighbours(found).calibrate() == pytest.approx(alone, abs=0.02)
