"""The cheapest or fastest target that is good enough with enough certainty, otherwise the reference."""

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
    "reference-untuned",
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
    worth: float | None
    candidates: tuple[Scored, ...]
    propensity: float = 1.0

    @property
    def chosen(self) -> Scored:
        """The score of the target that was chosen."""
        return next(scored for scored in self.candidates if scored.target == self.target)


def best(candidates: Sequence[Candidate]) -> str:
    """The one with the best expected quality: a reference where nobody has named one."""
    return max(candidates, key=lambda c: c.quality.mean).target


def choose(
    candidates: Sequence[Candidate],
    reference: str,
    *,
    bar: float = 0.97,
    confidence: float = 0.95,
    prefer: Prefer = "cost",
    worth: float | None = 0.0,
    least_evidence: float = LEAST_EVIDENCE,
) -> Choice:
    """A decision. The reference must be among the candidates, at least one must be eligible (ValueError).

    The reference clears always; without evidence for itself or for the others nobody else does. A target of
    unknown cost (or latency) is never preferred to one whose cost is known; between equals it is the
    reference, then the better one, then the first.

    `worth`: US dollars (or seconds) that a good answer instead of a bad one is worth. With 0 the cheapest of
    those that clear serves, otherwise the one whose quality is best worth its price. None: nobody knows what
    it must be worth, and nobody but the reference clears.
    """
    scored = score(candidates, reference, bar=bar, confidence=confidence, least_evidence=least_evidence)
    served = serving(scored, reference, prefer, worth)
    reason = _reason(served, scored, reference, prefer, worth)
    return Choice(served.target, reason, reference, bar, confidence, prefer, worth, scored)


def score(
    candidates: Sequence[Candidate],
    reference: str,
    *,
    bar: float,
    confidence: float,
    least_evidence: float = LEAST_EVIDENCE,
) -> tuple[Scored, ...]:
    """The first half of `choose`: which candidates clear."""
    standard = next((c for c in candidates if c.target == reference), None)
    if standard is None:
        raise ValueError(f"the reference {reference!r} is not among the candidates")
    return tuple(_scored(c, standard, bar, confidence, least_evidence) for c in candidates)


def serving(scored: Sequence[Scored], reference: str, prefer: Prefer, worth: float | None) -> Scored:
    """The second half of `choose`: which of them serves."""
    able = [s for s in scored if s.eligible]
    if not able:
        raise ValueError("no candidate is eligible")
    clearing = [s for s in able if s.clears and (worth is not None or s.target == reference)]
    if not clearing:  # the reference itself is out, and nobody is known to replace it
        return max(able, key=lambda s: s.quality)
    if worth is None:
        return clearing[0]
    return min(clearing, key=lambda s: _rank(s, reference, prefer, worth))


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
    served: Scored, scored: Sequence[Scored], reference: str, prefer: Prefer, worth: float | None
) -> Reason:
    by = "value" if worth else prefer
    if not served.clears or (worth is None and served.target != reference):
        return "best-without-reference"
    if served.target != reference:
        return _CLEARS[by]
    others = [s for s in scored if s.target != reference and s.eligible]
    if not others:
        return "reference-alone"
    if any(s.clears for s in others):
        return "reference-untuned" if worth is None else _STAYS[by]
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
                f"{choice.target}, the reference: no other target reaches {bar}; {nearest.target} comes "
                f"nearest with P={nearest.probability:.3f} from {nearest.evidence:.0f} verdicts."
            )
        case "reference-unknown-task":
            return f"{choice.target}, the reference: too few verdicts on such requests to leave it."
        case "reference-untuned":
            return (
                f"{choice.target}, the reference: nothing is known yet with which the route as a whole keeps "
                f"what it is to keep."
            )
        case "reference-alone":
            return f"{choice.target}, the reference, is the only target that can serve this request."
        case "best-without-reference":
            return (
                f"{choice.target}: the reference {choice.reference} can't serve this request, no other "
                f"target is known to reach {bar}, and this one has the best expected quality "
                f"({chosen.quality:.3f})."
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
