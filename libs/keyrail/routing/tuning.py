"""What a good answer must be worth, so that a route keeps a share of its reference's quality as a whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from keyrail.contracts import routing
from keyrail.contracts.config import RouteConfig, SmartRule
from keyrail.routing.choice import Candidate, Prefer, Scored, score, serving
from keyrail.routing.posterior import Posterior
from keyrail.routing.world import name_of

MOST_SEEN: Final = 512
"""Requests that a route is tuned on: the last ones."""
LEAST_SEEN: Final = 50
"""Requests below which a route is not tuned: they say little of what is to come."""
_STEPS = 48

Request = tuple[Sequence[Candidate], float]
"""Its candidates, as a decision saw them, and how often it counts."""
Believed = Callable[[str], Mapping[str, Posterior]]
"""What is known today of the targets at a task, by name."""


class Seen(NamedTuple):
    """What a decision looked at."""

    task: str
    candidates: tuple[routing.Candidate, ...]


class Found(NamedTuple):
    """`kept`: the share of the reference's quality that is expected; `saved`: of what the reference alone is
    expected to cost (or take), None: some price is unknown. `worth` None: the reference has to serve."""

    worth: float | None
    kept: float
    saved: float | None


def reference_of(route: RouteConfig) -> str:
    """What the others are compared with."""
    return name_of(route.reference or route.targets[0].target)


def rule_of(route: RouteConfig) -> str:
    """What a worth was found for: with another rule it keeps another share."""
    rule = route.smart or SmartRule()
    return f"{rule.keep} {rule.bar} {rule.confidence} {rule.prefer} {reference_of(route)}"


def requests(seen: Iterable[Seen], reference: str, believed: Believed) -> list[Request]:
    """What decisions looked at, with the quality of targets that were judged since as it is believed today.

    Those that could not have gone to the reference are left out, and all of them as long as there is evidence
    for nobody but it: what is found out then holds until the first verdict.
    """
    today: dict[str, Mapping[str, Posterior]] = {}
    found: list[Request] = []
    for each in seen:
        if each.task not in today:
            today[each.task] = believed(each.task)
        pool = [_candidate(one, today[each.task].get(one.target)) for one in each.candidates]
        if any(one.target == reference and one.eligible for one in pool):
            found.append((pool, 1.0))
    known = (
        one.known and one.target != reference
        for pool, _ in found
        for one in score(pool, reference, bar=0.0, confidence=0.0)
    )
    return found if any(known) else []


def _candidate(seen: routing.Candidate, today: Posterior | None) -> Candidate:
    quality = today or Posterior(0.0, 0.0)
    if seen.quality is not None and seen.mass is not None and seen.verdicts is not None:
        then = Posterior(seen.quality, seen.mass, seen.verdicts)
        if quality.evidence <= 1.1 * then.evidence + 1:
            quality = then  # neighbours of this very prompt are in it
    return Candidate(seen.target, quality, seen.cost_usd, seen.latency_s, eligible=seen.gate is None)


def tuned(requests: Sequence[Request], route: RouteConfig) -> Found:
    """For a smart route that says what to keep, from at least one request.

    The worth is that which would do without the net of `bar`: the careful side.
    """
    rule, reference = route.smart or SmartRule(), reference_of(route)
    worth = worth_for(requests, reference, rule.keep or 0.0, prefer=rule.prefer)
    kept = alone = 0.0
    prices: list[tuple[float | None, float | None]] = []
    for pool, count in requests:
        scored = score(pool, reference, bar=rule.bar, confidence=rule.confidence)
        served = serving(scored, reference, rule.prefer, worth)
        standard = next(one for one in scored if one.target == reference)
        kept += served.quality * count
        alone += standard.quality * count
        prices.append((_price(served, rule.prefer), _price(standard, rule.prefer)))
    return Found(worth, kept / alone if alone else 1.0, _saved(prices))


def _price(scored: Scored, prefer: Prefer) -> float | None:
    value = scored.cost if prefer == "cost" else scored.latency_s
    return None if value is None else float(value)


def _saved(prices: Sequence[tuple[float | None, float | None]]) -> float | None:
    paid = [served for served, _ in prices if served is not None]
    alone = [standard for _, standard in prices if standard is not None]
    if len(paid) < len(prices) or len(alone) < len(prices) or not sum(alone):
        return None
    return 1 - sum(paid) / sum(alone)


def worth_for(
    requests: Sequence[Request],
    reference: str,
    target: float,
    *,
    bar: float = 0.0,
    confidence: float = 0.5,
    prefer: Prefer = "cost",
) -> float | None:
    """The least `worth` of `choose` at which the expected quality over these requests is `target` times what
    it is with the reference alone; None when none is enough, and the reference has to serve.

    A target for the whole leaves the reference where little is lost for much money, and stays where much
    would be lost; the same share demanded of each task does neither.
    """
    seen = [(score(pool, reference, bar=bar, confidence=confidence), count) for pool, count in requests]
    alone = sum(next(s.quality for s in scored if s.target == reference) * count for scored, count in seen)

    def keeps(worth: float) -> bool:
        kept = sum(serving(scored, reference, prefer, worth).quality * count for scored, count in seen)
        return kept >= target * alone

    worths = _worths(requests, prefer)
    # What is worth more is never served worse: the expected quality rises with the worth.
    found = bisect_left(worths, True, key=keeps)
    return worths[found] if found < len(worths) else None


def _worths(requests: Sequence[Request], prefer: Prefer) -> list[float]:
    """Ascending, from where prices alone decide to where quality alone does."""
    prices = [
        float(value)
        for candidates, _ in requests
        for c in candidates
        if (value := c.cost if prefer == "cost" else c.latency_s) is not None
    ]
    most = max(prices, default=0.0)
    if most <= 0:
        return [0.0]
    low, high = most * 1e-4, most * 1e4
    return [0.0, *(low * (high / low) ** (step / _STEPS) for step in range(_STEPS + 1))]
