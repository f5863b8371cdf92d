"""Which of several whole answers is given to the client. Pure.

First what was checked, then what most of them agree on, then a judge. There is no judge yet: in its place the
order of the plan decides, which is the operator's own preference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from keyrail.contracts.slips import Facts
from keyrail_racer import answers
from keyrail_racer.answers import Grade


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole answer. `place`: of its target in the plan."""

    place: int
    grade: Grade
    meaning: str


class Judge(Protocol):
    """Says which of several answers that hold, and differ, is the best: its index."""

    def __call__(self, candidates: Sequence[Whole]) -> int:
        """The index of the best. There are at least two."""
        ...


def by_plan(candidates: Sequence[Whole]) -> int:
    """The one whose target comes first in the plan."""
    return min(range(len(candidates)), key=lambda index: candidates[index].place)


def looked_at(place: int, facts: Facts, body: bytes) -> Whole:
    """The answer as far as the choice needs it."""
    said = answers.read(facts, body)
    return Whole(place, answers.grade(facts, said), answers.meaning(said, body))


def best(candidates: Sequence[Whole], judge: Judge = by_plan) -> int:
    """The index of the answer to give: of the best grade, then of the largest group that agrees."""
    least = min(one.grade for one in candidates)
    left = [index for index, one in enumerate(candidates) if one.grade == least]
    if len(left) == 1:
        return left[0]
    counts = Counter(candidates[index].meaning for index in left)
    (first, most), *others = counts.most_common()
    if most > 1 and (not others or others[0][1] < most):
        left = [index for index in left if candidates[index].meaning == first]
        return min(left, key=lambda index: candidates[index].place)  # they say the same
    return left[judge([candidates[index] for index in left])]
