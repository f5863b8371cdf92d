"""What is believed about a quality between 0 and 1: a Beta distribution by its mean and its mass."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

PRIOR_MASS = 8.0
"""Verdicts that a prior counts for."""
HALF_LIFE_MS = 14 * 86_400_000
_CERTAIN = 1e-9


@dataclass(frozen=True, slots=True)
class Posterior:
    """`mass`: verdicts behind the mean, the prior's among them; `evidence`: those that were really given."""

    mean: float
    mass: float
    evidence: float = 0.0

    @property
    def variance(self) -> float:
        """Of the quality, not of one verdict."""
        return self.mean * (1 - self.mean) / (self.mass + 1)


def of(prior: float, good: float, bad: float, mass: float = PRIOR_MASS) -> Posterior:
    """From the prior's mean and weighted successes and failures."""
    evidence = good + bad
    total = mass + evidence
    return Posterior((prior * mass + good) / total if total else prior, total, evidence)


def decayed(amount: float, age_ms: float, half_life_ms: float = HALF_LIFE_MS) -> float:
    """What is left of some evidence after a time; an age below 0 counts as 0."""
    return amount * 0.5 ** (max(age_ms, 0) / half_life_ms)


def probability_at_least(quality: Posterior, reference: Posterior, bar: float) -> float:
    """P(quality >= bar * reference), both independent, by a normal approximation of the difference.

    Where both were judged on the same prompts this errs on the careful side: their errors go together.
    """
    gap = quality.mean - bar * reference.mean
    variance = quality.variance + bar * bar * reference.variance
    if variance < _CERTAIN * _CERTAIN:
        return 1.0 if gap >= 0 else 0.0
    return 0.5 * erfc(-gap / sqrt(2 * variance))


def blended(task: Posterior, neighbours: Posterior, weight: float) -> Posterior:
    """The mean of two estimates of the same quality, `weight` of it the neighbours'."""
    if weight <= 0:
        return task
    mean = (1 - weight) * task.mean + weight * neighbours.mean
    variance = (1 - weight) ** 2 * task.variance + weight**2 * neighbours.variance
    spread = mean * (1 - mean)
    mass = spread / variance - 1 if variance > 0 else task.mass + neighbours.mass
    # Never surer than all verdicts together: near 0 and 1 the variances say nothing.
    return Posterior(mean, min(max(mass, 0.0), task.mass + neighbours.mass), task.evidence)
