"""The cheapest or fastest target whose quality is good enough with enough certainty, otherwise the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from keyrail.routing.posterior import Posterior, probability_at_least

Prefer = Literal["cost", "latency"]
Reason = Literal[
    "cheapest-clears",
    "fastest-clears",
    "reference-is-cheapest",
    "reference-is-fastest",
    "reference-no-candidate-clears",
    "reference-unknown-task",
    "reference-alone",
    "best-without-reference",
]
LEAST_EVIDENCE = 30.0
"""Verdicts below which a target is not known, whatever its mean."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that could serve this request. None: nobody knows.

    `cost` and `latency_s` are predicted for this request, in US dollars and seconds. Not `eligible`: a gate
    says no (budget, breaker, capability); it can't be chosen, but still says what the reference is worth.
    """

    target: str
    quality: Posterior
    cost: Decimal | None = None
    latency_s: float | None = None
    eligible: bool = True


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate as the decision saw it. `probability`: that it is at least `bar` times as good as the
    reference; `known`: it and the reference have evidence enough."""

    target: str
    quality: float
    mass: float
    evidence: float
    probability: float
    cost: Decimal | None
    latency_s: float | None
    eligible: bool
    known: bool
    clears: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """`propensity`: the probability with which this target was chosen; 1, for nothing here is drawn."""

    target: str
    reason: Reason
    reference: str
    bar: float
    confidence: float
    prefer: Prefer
    candidates: tuple[Scored, ...]
    propensity: float = 1.0

    @property
    def chosen(self) -> Scored:
        """The score of the target that was chosen."""
        return next(scored for scored in self.candidates if scored.target == self.target)


def choose(
    candidates: Sequence[Candidate],
    reference: str,
    *,
    bar: float = 0.97,
    confidence: float = 0.95,
    prefer: Prefer = "cost",
    least_evidence: float = LEAST_EVIDENCE,
) -> Choice:
    """A decision. The reference must be among the candidates, at least one must be eligible (ValueError).

    The reference clears always. A target of unknown cost (or latency) is never preferred to one whose cost is
    known; between equals it is the reference, then the better one, then the first.
    """
    standard = next((c for c in candidates if c.target == reference), None)
    if standard is None:
        raise ValueError(f"the reference {reference!r} is not among the candidates")
    scored = tuple(_scored(c, standard, bar, confidence, least_evidence) for c in candidates)
    able = [s for s in scored if s.eligible]
    if not able:
        raise ValueError("no candidate is eligible")
    clearing = [s for s in able if s.clears]
    if clearing:
        best = min(clearing, key=lambda s: _rank(s, reference, prefer))
    else:  # the reference itself is out, and nobody is known to replace it
        best = max(able, key=lambda s: s.quality)
    reason = _reason(best, scored, reference, prefer)
    return Choice(best.target, reason, reference, bar, confidence, prefer, scored)


def _scored(c: Candidate, standard: Candidate, bar: float, confidence: float, least: float) -> Scored:
    is_reference = c.target == standard.target
    probability = 1.0 if is_reference else probability_at_least(c.quality, standard.quality, bar)
    known = min(c.quality.evidence, standard.quality.evidence) >= least
    return Scored(
        target=c.target,
        quality=c.quality.mean,
        mass=c.quality.mass,
        evidence=c.quality.evidence,
        probability=probability,
        cost=c.cost,
        latency_s=c.latency_s,
        eligible=c.eligible,
        known=known,
        clears=is_reference or (known and probability >= confidence),
    )


def _rank(scored: Scored, reference: str, prefer: Prefer) -> tuple[bool, Decimal | float, bool, float]:
    value = scored.cost if prefer == "cost" else scored.latency_s
    return value is None, 0.0 if value is None else value, scored.target != reference, -scored.quality


def _reason(best: Scored, scored: Sequence[Scored], reference: str, prefer: Prefer) -> Reason:
    if not best.clears:
        return "best-without-reference"
    if best.target != reference:
        return "cheapest-clears" if prefer == "cost" else "fastest-clears"
    others = [s for s in scored if s.target != reference and s.eligible]
    if not others:
        return "reference-alone"
    if any(s.clears for s in others):
        return "reference-is-cheapest" if prefer == "cost" else "reference-is-fastest"
    if not any(s.known for s in others):
        return "reference-unknown-task"
    return "reference-no-candidate-clears"
