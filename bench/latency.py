"""Percentiles of measured times."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pydantic import BaseModel


class Spread(BaseModel):
    """Times in milliseconds. All None when nothing was measured."""

    samples: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the ordered values do not exceed."""
    if not ordered:
        raise ValueError("no values, no percentile")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(seconds: Iterable[float]) -> Spread:
    """The spread of times that come in seconds."""
    ordered = sorted(value * 1e3 for value in seconds)
    if not ordered:
        return Spread()
    return Spread(
        samples=len(ordered),
        mean=sum(ordered) / len(ordered),
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p99=percentile(ordered, 0.99),
        max=ordered[-1],
    )


def added(through: float | None, direct: float | None) -> float | None:
    """What a gateway adds to a direct call. None when either is unknown."""
    return None if through is None or direct is None else through - direct
