"""What a good answer must be worth, so that a route keeps a share of its reference's quality as a whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from keyrail.routing.choice import Candidate, Prefer, score, serving

_STEPS = 48


def worth_for(
    requests: Sequence[tuple[Sequence[Candidate], float]],
    reference: str,
    target: float,
    *,
    bar: float = 0.0,
    confidence: float = 0.5,
    prefer: Prefer = "cost",
) -> float | None:
    """The least `worth` of `choose` at which the expected quality over these requests is `target` times what
    it is with the reference alone; None when none is enough, and the reference has to serve.

    Each request is its candidates, as a decision saw them, and how often it counts. A target for the whole
    leaves the reference where little is lost for much money, and stays where much would be lost; the same
    share demanded of each task does neither.
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


def _worths(requests: Sequence[tuple[Sequence[Candidate], float]], prefer: Prefer) -> list[float]:
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
