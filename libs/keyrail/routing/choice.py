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
    "best-value-clears",
    "reference-is-cheapest",
    "reference-is-fastest",
    "reference-is-best-value",
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
    worth: float
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
    worth: float = 0.0,
    least_evidence: float = LEAST_EVIDENCE,
) -> Choice:
    """A decision. The reference must be among the candidates, at least one must be eligible (ValueError).

    The reference clears always; without evidence for itself or for the others nobody else does. A target of
    unknown cost (or latency) is never preferred to one whose cost is known; between equals it is the
    reference, then the better one, then the first.

    `worth`: US dollars (or seconds) that a good answer instead of a bad one is worth. With 0 the cheapest of
    those that clear serves, otherwise the one whose quality is best worth its price.
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
        best = min(clearing, key=lambda s: _rank(s, reference, prefer, worth))
    else:  # the reference itself is out, and nobody is known to replace it
        best = max(able, key=lambda s: s.quality)
    reason = _reason(best, scored, reference, "value" if worth > 0 else prefer)
    return Choice(best.target, reason, reference, bar, confidence, prefer, worth, scored)


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


def _rank(scored: Scored, reference: str, prefer: Prefer, worth: float) -> tuple[bool, float, bool, float]:
    value = scored.cost if prefer == "cost" else scored.latency_s
    price = 0.0 if value is None else float(value) - worth * scored.quality
    return value is None, price, scored.target != reference, -scored.quality


def _reason(
    best: Scored, scored: Sequence[Scored], reference: str, by: Literal["cost", "latency", "value"]
) -> Reason:
    if not best.clears:
        return "best-without-reference"
    if best.target != reference:
        return _CLEARS[by]
    others = [s for s in scored if s.target != reference and s.eligible]
    if not others:
        return "reference-alone"
    if any(s.clears for s in others):
        return _STAYS[by]
    if not any(s.known for s in others):
        return "reference-unknown-task"
    return "reference-no-candidate-clears"


_CLEARS: dict[str, Reason] = {
    "cost": "cheapest-clears",
    "latency": "fastest-clears",
    "value": "best-value-clears",
}
_STAYS: dict[str, Reason] = {
    "cost": "reference-is-cheapest",
    "latency": "reference-is-fastest",
    "value": "reference-is-best-value",
}


def sentence(choice: Choice) -> str:
    """Why this target, for who asks."""
    chosen = choice.chosen
    others = [s for s in choice.candidates if s.target != choice.reference and s.eligible]
    bar = f"{choice.bar:.0%} of {choice.reference}'s quality with {choice.confidence:.0%} confidence"
    match choice.reason:
        case "cheapest-clears" | "fastest-clears" | "best-value-clears":
            how = {"ch": "the cheapest", "fa": "the fastest", "be": "the best value"}[choice.reason[:2]]
            clearing = sum(s.clears for s in others)
            return (
                f"{choice.target} is {how} of the {clearing + 1} targets that reach {bar}: quality "
                f"{chosen.quality:.3f}, P={chosen.probability:.3f} from {chosen.evidence:.0f} verdicts; "
                f"{_price(choice)}."
            )
        case "reference-is-cheapest" | "reference-is-fastest" | "reference-is-best-value":
            how = choice.reason.removeprefix("reference-is-").replace("-", " ")
            return f"{choice.target}, the reference, is the {how} of the targets that reach {bar}."
        case "reference-no-candidate-clears":
            nearest = max(others, key=lambda s: s.probability)
            return (
                f"{choice.target}, the reference: no other target reaches {bar}; {nearest.target} comes nearest "
                f"with P={nearest.probability:.3f} from {nearest.evidence:.0f} verdicts."
            )
        case "reference-unknown-task":
            return f"{choice.target}, the reference: too few verdicts on such requests to leave it."
        case "reference-alone":
            return f"{choice.target}, the reference, is the only target that can serve this request."
        case "best-without-reference":
            return (
                f"{choice.target}: the reference {choice.reference} can't serve this request, no other target is "
                f"known to reach {bar}, and this one has the best expected quality ({chosen.quality:.3f})."
            )


def _price(choice: Choice) -> str:
    standard = next(s for s in choice.candidates if s.target == choice.reference)
    if choice.prefer == "latency":
        return f"{_seconds(choice.chosen.latency_s)} instead of {_seconds(standard.latency_s)}"
    return f"{_dollars(choice.chosen.cost)} instead of {_dollars(standard.cost)}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"


def _dollars(value: Decimal | None) -> str:
    return "unknown" if value is None else f"${value:.6f}"
