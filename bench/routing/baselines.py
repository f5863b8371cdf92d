"""Ways of choosing a model that need no learning, or know what no router can. Each is tuned on the rows that
the router is taught with, except the oracles, which look at the answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import fmean

from bench.routing.data import Row
from bench.routing.router import TARGET, mean_costs, means

Difficulty = Callable[[str], float]
Targets = list[str]

_CODE = re.compile(
    r"\b(def|class|function|import|return|assert|sql|python|javascript|algorithm|regex)\b|```", re.I
)
_REASONING = re.compile(
    r"\b(prove|derive|why|explain|calculate|compute|solve|evaluate|how many|step|probability|total)\b", re.I
)
_TECHNICAL = re.compile(
    r"\\[a-z]+|[=^_{}<>]|\b(theorem|equation|function|system|protocol|clinical|court)\b", re.I
)
_SIMPLE = re.compile(r"\b(what is|who is|when did|define|hello|thanks|translate)\b", re.I)


def length(prompt: str) -> float:
    """Longer is harder."""
    return float(len(prompt))


def keywords(prompt: str) -> float:
    """Hard words, weighed by hand, as gateways do that route by tiers."""

    def share(words: re.Pattern[str], enough: int) -> float:
        return min(1.0, len(words.findall(prompt)) / enough)

    return (
        0.30 * share(_CODE, 3)
        + 0.25 * share(_REASONING, 3)
        + 0.25 * share(_TECHNICAL, 6)
        + 0.10 * min(1.0, len(prompt) / 2_000)
        - 0.05 * share(_SIMPLE, 1)
    )


def best_single(tune: Sequence[Row], test: Sequence[Row], models: Sequence[str]) -> Targets:
    singles = means(tune, models)
    return [max(models, key=lambda model: singles[model])] * len(test)


def cheapest_single(tune: Sequence[Row], test: Sequence[Row], models: Sequence[str]) -> Targets:
    prices = mean_costs(tune, models)
    return [min(models, key=lambda model: prices[model])] * len(test)


def cheapest_on_target(tune: Sequence[Row], test: Sequence[Row], models: Sequence[str]) -> Targets:
    """The cheapest single model that keeps the target on the rows for tuning."""
    singles, prices = means(tune, models), mean_costs(tune, models)
    wanted = TARGET * max(singles.values())
    return [min((m for m in models if singles[m] >= wanted), key=lambda m: prices[m])] * len(test)


def oracle(tune: Sequence[Row], test: Sequence[Row], models: Sequence[str]) -> Targets:
    """For each prompt the cheapest of the models with its best score."""
    return [max(models, key=lambda m: (row.scores[m], -row.costs[m])) for row in test]


def oracle_by_dataset(tune: Sequence[Row], test: Sequence[Row], models: Sequence[str]) -> Targets:
    """For each dataset the model that turns out best on it."""
    chosen: dict[str, str] = {}
    for dataset in {row.dataset for row in test}:
        some = [row for row in test if row.dataset == dataset]
        singles, prices = means(some, models), mean_costs(some, models)
        chosen[dataset] = max(models, key=lambda m: (singles[m], -prices[m]))
    return [chosen[row.dataset] for row in test]


def tiers(difficulty: Difficulty) -> Callable[[Sequence[Row], Sequence[Row], Sequence[str]], Targets]:
    """Hard prompts to the best single model, easy ones to a cheaper one; which, and what is hard, so that it
    is cheapest and keeps the target on the rows for tuning."""

    def chosen(tune: Sequence[Row], test: Sequence[Row], models: Sequence[str]) -> Targets:
        singles = means(tune, models)
        strong = max(models, key=lambda model: singles[model])
        weak, threshold = _tuned(tune, models, strong, difficulty)
        return [weak if difficulty(row.prompt) < threshold else strong for row in test]

    return chosen


def _tuned(tune: Sequence[Row], models: Sequence[str], strong: str, hard: Difficulty) -> tuple[str, float]:
    ranked = sorted(tune, key=lambda row: hard(row.prompt))
    wanted = TARGET * sum(row.scores[strong] for row in tune)
    kept = {m: [0.0, *accumulate(row.scores[m] for row in ranked)] for m in models}
    paid = {m: [0.0, *accumulate(row.costs[m] for row in ranked)] for m in models}
    found = (paid[strong][-1], strong, float("-inf"))
    for weak in models:
        for easy in range(1, len(ranked) + 1):
            quality = kept[weak][easy] + kept[strong][-1] - kept[strong][easy]
            cost = paid[weak][easy] + paid[strong][-1] - paid[strong][easy]
            if quality >= wanted and cost < found[0]:
                threshold = hard(ranked[easy].prompt) if easy < len(ranked) else float("inf")
                found = (cost, weak, threshold)
    return found[1], found[2]


Baseline = Callable[[Sequence[Row], Sequence[Row], Sequence[str]], Targets]
BASELINES: dict[str, Baseline] = {
    "best single": best_single,
    "cheapest single": cheapest_single,
    "cheapest single on target": cheapest_on_target,
    "keyword tiers": tiers(keywords),
    "prompt length": tiers(length),
    "oracle by dataset": oracle_by_dataset,
    "oracle": oracle,
}


def mean_quality(rows: Sequence[Row], targets: Sequence[str]) -> float:
    return fmean(row.scores[target] for row, target in zip(rows, targets, strict=True))


def mean_cost(rows: Sequence[Row], targets: Sequence[str]) -> float:
    return fmean(row.costs[target] for row, target in zip(rows, targets, strict=True))
