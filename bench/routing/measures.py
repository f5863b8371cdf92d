"""What a way of choosing models keeps, costs, and gains over chance. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from statistics import fmean, pstdev

from bench.routing.data import Row
from bench.routing.router import mean_costs, means


@dataclass(frozen=True, slots=True)
class Outcome:
    """`quality_ratio` and `cost_ratio` against the best single model of the same rows; `lift`: quality above
    the best random mix of single models at the same cost."""

    quality_ratio: float
    cost_ratio: float
    lift: float


def outcome(rows: Sequence[Row], models: Sequence[str], targets: Sequence[str]) -> Outcome:
    """Of sending each row to its target."""
    singles, prices = means(rows, models), mean_costs(rows, models)
    best = max(models, key=lambda model: singles[model])
    quality = fmean(row.scores[target] for row, target in zip(rows, targets, strict=True))
    cost = fmean(row.costs[target] for row, target in zip(rows, targets, strict=True))
    mix = mixed([(prices[model], singles[model]) for model in models], cost)
    return Outcome(ratio(quality, singles[best]), ratio(cost, prices[best]), quality - mix)


def static_mix(rows: Sequence[Row], models: Sequence[str], cost_ratio: float) -> Outcome:
    """The best random mix of single models at this cost."""
    singles, prices = means(rows, models), mean_costs(rows, models)
    best = max(models, key=lambda model: singles[model])
    mix = mixed([(prices[model], singles[model]) for model in models], cost_ratio * prices[best])
    return Outcome(ratio(mix, singles[best]), cost_ratio, 0.0)


def ratio(part: float, of: float) -> float:
    """1 where there is nothing to compare."""
    return part / of if of else 1.0


def hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The upper hull of (cost, quality), rising from the cheapest to the best."""
    found: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if found and quality <= found[-1][1]:
            continue
        while len(found) > 1 and _below(found[-2], found[-1], (cost, quality)):
            found.pop()
        found.append((cost, quality))
    return found


def _below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])


def mixed(points: Sequence[tuple[float, float]], cost: float) -> float:
    """The best expected quality of a random mix of these at this cost."""
    corners = hull(points)
    if cost <= corners[0][0]:
        return corners[0][1]
    for left, right in pairwise(corners):
        if cost <= right[0]:
            return left[1] + (right[1] - left[1]) * (cost - left[0]) / (right[0] - left[0])
    return corners[-1][1]


def apgr(rows: Sequence[Row], strong: str, weak: str, order: Sequence[float]) -> float:
    """Area under the performance gap recovered, over the share of prompts for the strong model, when they go
    there in descending `order`; the random one has 0.5. Rows of equal order count as their mean."""
    gains = [row.scores[strong] - row.scores[weak] for row in rows]
    gap = sum(gains)
    if not gap:
        return 0.5
    area, gained = 0.0, 0.0
    ranked = sorted(range(len(rows)), key=lambda number: -order[number])
    begin = 0
    while begin < len(ranked):
        end = begin
        while end < len(ranked) and order[ranked[end]] == order[ranked[begin]]:
            end += 1
        step = sum(gains[number] for number in ranked[begin:end])
        area += (gained + step / 2) * (end - begin)
        gained += step
        begin = end
    return area / gap / len(rows)


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one figure over the seeds."""

    mean: float
    sd: float
    worst: float


def spread(values: Sequence[float], *, more_is_better: bool = True) -> Spread:
    return Spread(fmean(values), pstdev(values), min(values) if more_is_better else max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all does not exceed."""
    ranked = sorted(values)
    return ranked[max(0, ceil(len(ranked) * share) - 1)]
