"""What a good answer must be worth, so that a route keeps a share of its reference's quality as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from keyrail.routing.choice import Candidate, Prefer, choose

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

    Each request is its candidates, as a decision saw them, and how often it counts. Qualities must come from
    other prompts than these. A target for the whole leaves the reference where little is lost for much money,
    and stays where much would be lost; the same share demanded of each task does neither.
    """
    standards = [next(c for c in candidates if c.target == reference) for candidates, _ in requests]
    wanted = target * sum(
        standard.quality.mean * count for standard, (_, count) in zip(standards, requests, strict=True)
    )
    for worth in _worths(requests, prefer):
        kept = 0.0
        for candidates, count in requests:
            choice = choose(candidates, reference, bar=bar, confidence=confidence, prefer=prefer, worth=worth)
            kept += choice.chosen.quality * count
        if kept >= wanted:
            return worth
    return None


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
