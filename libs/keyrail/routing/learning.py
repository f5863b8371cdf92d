"""What is learned about the targets of one route: verdicts folded into tallies, and the model that reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from keyrail.contracts.scores import Exemplar, Tally, TaskScores, Verdict
from keyrail.routing.posterior import HALF_LIFE_MS, PRIOR_MASS, Posterior, blended, decayed, of
from keyrail.routing.text import Features

if TYPE_CHECKING:
    from keyrail.routing.exemplars import Neighbours

SEEN = 128
"""Verdicts of a task by which one that comes again is recognised. One that comes later than that many others
has to be recognised by whoever reads the stream, by its sequence number."""
UNKNOWN_PRIOR = 0.5


def fold(scores: TaskScores, verdict: Verdict, half_life_ms: float = HALF_LIFE_MS) -> TaskScores:
    """With one more verdict; the same object when it was folded in before.

    Their order does not matter: a verdict older than the tally counts for what it would be by now.
    """
    digest = blake2b(verdict.id.encode(), digest_size=6).hexdigest()
    if digest in scores.seen:
        return scores
    tallies = dict(scores.tallies)
    for target, score in verdict.scores.items():
        tallies[target] = _added(tallies.get(target), score, verdict, half_life_ms)
    return scores.replace(tallies=tallies, seen=(*scores.seen[-SEEN + 1 :], digest))


def _added(tally: Tally | None, score: float, verdict: Verdict, half_life_ms: float) -> Tally:
    before = tally or Tally(good=0.0, bad=0.0, at_ms=verdict.at_ms)
    at_ms = max(before.at_ms, verdict.at_ms)
    weight = decayed(verdict.weight, at_ms - verdict.at_ms, half_life_ms)
    score = min(max(score, 0.0), 1.0)
    age = at_ms - before.at_ms
    return Tally(
        good=decayed(before.good, age, half_life_ms) + weight * score,
        bad=decayed(before.bad, age, half_life_ms) + weight * (1 - score),
        at_ms=at_ms,
    )


def exemplar_of(verdict: Verdict) -> Exemplar | None:
    """What is remembered of the prompt itself; None where its features are not known."""
    if not verdict.features:
        return None
    return Exemplar(
        id=verdict.request_id,
        task=verdict.task,
        features=verdict.features,
        scores={target: min(max(score, 0.0), 1.0) for target, score in verdict.scores.items()},
        at_ms=verdict.at_ms,
    )


class Model:
    """The learned state of one route, ready to be asked. Holds no prompt; grows with tasks and exemplars.

    `priors`: the mean quality of each target before any verdict, 0.5 for those without. Where a task has no
    evidence and no remembered prompt is like this one, the answer is the prior, with no evidence.
    """

    def __init__(
        self,
        priors: Mapping[str, float],
        tasks: Iterable[TaskScores] = (),
        exemplars: Sequence[Exemplar] = (),
        *,
        prior_mass: float = PRIOR_MASS,
        half_life_ms: float = HALF_LIFE_MS,
    ) -> None:
        self._priors = dict(priors)
        self._tasks = {scores.task: scores for scores in tasks}
        self._prior_mass = prior_mass
        self._half_life_ms = half_life_ms
        self._neighbours: Neighbours | None = None
        self._weight = 0.0
        if exemplars:
            self.remember(exemplars)

    @property
    def uses_neighbours(self) -> bool:
        """Whether features change an answer."""
        return self._neighbours is not None and self._weight > 0

    @property
    def weight(self) -> float:
        """The neighbours' part of an estimate, as `calibrate` found it."""
        return self._weight

    def learn(self, scores: TaskScores) -> None:
        """Take these for what is known of their task."""
        self._tasks[scores.task] = scores

    def remember(self, exemplars: Sequence[Exemplar]) -> None:
        """Add judged prompts; one of a known id takes the place of the one before."""
        if self._neighbours is None:
            # numpy is a sixth of a router's memory, and most routes need none of it
            from keyrail.routing.exemplars import Neighbours

            self._neighbours = Neighbours(half_life_ms=self._half_life_ms)
        self._neighbours.add(exemplars)

    def calibrate(self) -> float:
        """Find out how much neighbours help, by asking each remembered prompt about the others; 0 when they
        don't. Takes a few hundred milliseconds with 4,000 exemplars, so not for the path of a request."""
        self._weight = 0.0 if self._neighbours is None else self._neighbours.calibrate()
        return self._weight

    def quality(self, task: str, features: Features | None, target: str, now_ms: int) -> Posterior:
        """What is believed of one target."""
        return self.qualities(task, features, (target,), now_ms)[target]

    def qualities(
        self, task: str, features: Features | None, targets: Sequence[str], now_ms: int
    ) -> dict[str, Posterior]:
        """What is believed of each target for this prompt of this task."""
        scores = self._tasks.get(task)
        known = {target: self._of_task(scores, target, now_ms) for target in targets}
        if features is None or self._neighbours is None or self._weight <= 0:
            return known
        near = self._neighbours.estimate(features, targets, now_ms)
        return {target: self._joined(known[target], near.get(target)) for target in targets}

    def _of_task(self, scores: TaskScores | None, target: str, now_ms: int) -> Posterior:
        prior = self._priors.get(target, UNKNOWN_PRIOR)
        tally = scores.tallies.get(target) if scores else None
        if tally is None:
            return of(prior, 0.0, 0.0, self._prior_mass)
        left = decayed(1.0, now_ms - tally.at_ms, self._half_life_ms)
        return of(prior, tally.good * left, tally.bad * left, self._prior_mass)

    def _joined(self, task: Posterior, near: Posterior | None) -> Posterior:
        if near is None:
            return task
        if task.evidence > 0:
            return blended(task, near, self._weight)
        # A task that nobody has judged yet: neighbours are a little evidence of their own.
        good, bad = near.mean * near.mass * self._weight, (1 - near.mean) * near.mass * self._weight
        return of(task.mean, good, bad, task.mass)
