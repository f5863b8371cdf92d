"""The five measurements: functions of rows and seeds alone, apart from the time that decisions take."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean

from bench.routing.baselines import BASELINES, Baseline, keywords, length, mean_cost, mean_quality
from bench.routing.data import Row, Table, Unusable
from bench.routing.measures import Outcome, apgr, outcome, percentile, ratio, static_mix
from bench.routing.router import NOW_MS, Router, mean_costs, means, taught
from keyrail.contracts.scores import Verdict
from keyrail.routing.choice import Candidate, best, choose
from keyrail.routing.learning import Model, exemplar_of
from keyrail.routing.text import features

NEW_TASK_BAR, NEW_TASK_CONFIDENCE = 0.97, 0.8
NOISE = 0.1
FOLDS = 5


def halves(rows: Sequence[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """One half to tune on, one to test on."""
    order = list(rows)
    random.Random(seed).shuffle(order)
    return order[: len(order) // 2], order[len(order) // 2 :]


@dataclass(frozen=True, slots=True)
class Split:
    """One seed. `micros`: CPU time of each decision."""

    router: Outcome
    baselines: dict[str, Outcome]
    weight: float
    micros: tuple[float, ...]


def pool(table: Table, seeds: Sequence[int], beside: Mapping[str, Baseline] = BASELINES) -> list[Split]:
    """Split halves: quality kept and money saved where tasks are known."""
    found: list[Split] = []
    for seed in seeds:
        tune, test = halves(table.rows, seed)
        router = Router(tune, table.models)
        decided = router.decide(test)
        baselines = {
            name: outcome(test, table.models, chosen(tune, test, table.models))
            for name, chosen in beside.items()
        }
        routed = outcome(test, table.models, decided.targets)
        baselines["static mix at that cost"] = static_mix(test, table.models, routed.cost_ratio)
        found.append(Split(routed, baselines, router.model.weight, decided.micros))
    return found


@dataclass(frozen=True, slots=True)
class Unseen:
    """Router minus static choice on one dataset that the router was never taught."""

    dataset: str
    prompts: int
    quality_diff_pt: float
    cost_diff_pct: float


def unseen(table: Table, seeds: Sequence[int]) -> list[Unseen]:
    """Each dataset after being taught with half of the others. The static choice is the best single model of
    those, which is also the route's reference."""
    if len(table.datasets) < 2:
        raise Unusable("an unseen task needs at least two datasets")
    found: list[Unseen] = []
    for seed in seeds:
        for dataset in table.datasets:
            tune, _ = halves([row for row in table.rows if row.dataset != dataset], seed)
            test = [row for row in table.rows if row.dataset == dataset]
            router = Router(tune, table.models)
            routed, static = router.decide(test).targets, [router.reference] * len(test)
            points = 100 * (mean_quality(test, routed) - mean_quality(test, static))
            percent = 100 * (ratio(mean_cost(test, routed), mean_cost(test, static)) - 1)
            found.append(Unseen(dataset, len(test), points, percent))
    return found


@dataclass(frozen=True, slots=True)
class Pair:
    """APGR of one shuffle, by the router and by what needs no learning."""

    router: float
    keywords: float
    length: float
    oracle: float
    weight: float


def pair(table: Table, seeds: Sequence[int]) -> list[Pair]:
    """Two models, five folds: does the router know which prompts need the better one? Prompts go there in the
    order of what the model believes it gains, which is the order in which `choose` sends them as a good
    answer becomes worth more."""
    overall = means(table.rows, table.models)
    strong = max(table.models, key=lambda model: overall[model])
    weak = min(table.models, key=lambda model: overall[model])
    found: list[Pair] = []
    for seed in seeds:
        order = list(table.rows)
        random.Random(seed).shuffle(order)
        folds = [_fold(order, number, strong, weak) for number in range(FOLDS)]
        found.append(Pair(*(fmean(figures) for figures in zip(*folds, strict=True))))
    return found


def _fold(rows: Sequence[Row], number: int, strong: str, weak: str) -> tuple[float, ...]:
    test = list(rows[number::FOLDS])
    train = [row for place, row in enumerate(rows) if place % FOLDS != number]
    model = taught([row.verdict() for row in train], means(train, (strong, weak)))
    gains: list[float] = []
    for row in test:
        believed = model.qualities(row.task, row.features, (strong, weak), NOW_MS)
        gains.append(believed[strong].mean - believed[weak].mean)
    return (
        apgr(test, strong, weak, gains),
        apgr(test, strong, weak, [keywords(row.prompt) for row in test]),
        apgr(test, strong, weak, [length(row.prompt) for row in test]),
        apgr(test, strong, weak, [row.scores[strong] - row.scores[weak] for row in test]),
        model.weight,
    )


def new_task(table: Table, verdicts: int, seeds: Sequence[int]) -> list[bool]:
    """Whether the choice misses the bar, for each dataset and seed, after so many verdicts on each model, of
    which a tenth says the opposite. Priors are what the models were worth on the other datasets; the bar is
    97% of the best model on all of the dataset."""
    found: list[bool] = []
    for dataset in table.datasets:
        rows = [row for row in table.rows if row.dataset == dataset]
        others = [row for row in table.rows if row.dataset != dataset]
        if len(rows) < verdicts or not others:
            continue
        truth = means(rows, table.models)
        priors = means(others, table.models)
        for seed in seeds:
            target = _learned(rows, table.models, priors, verdicts, seed)
            found.append(truth[target] < NEW_TASK_BAR * max(truth.values()))
    if not found:
        raise Unusable(f"a new task needs a dataset of at least {verdicts} prompts beside another one")
    return found


def _learned(
    rows: Sequence[Row], models: Sequence[str], priors: dict[str, float], verdicts: int, seed: int
) -> str:
    draw = random.Random(seed)
    judged = draw.sample(list(rows), verdicts)
    model = taught([_noisy(row, draw) for row in judged], priors)
    costs = mean_costs(judged or rows, models)
    qualities = model.qualities(rows[0].dataset, None, models, NOW_MS)
    candidates = [Candidate(m, qualities[m], Decimal(f"{costs[m]:.12f}")) for m in models]
    choice = choose(candidates, best(candidates), bar=NEW_TASK_BAR, confidence=NEW_TASK_CONFIDENCE)
    return choice.target


def _noisy(row: Row, draw: random.Random) -> Verdict:
    scores = {m: 1 - score if draw.random() < NOISE else score for m, score in row.scores.items()}
    return row.verdict(task=row.dataset, scores=scores).replace(features=None)


@dataclass(frozen=True, slots=True)
class Times:
    """CPU microseconds of a decision, at the 99th percentile."""

    plain: float
    neighbours: float
    exemplars: int


def decision_times(table: Table, more: Sequence[Row], decisions: int, remembered: int) -> Times:
    """Of decisions over all models of the table, with nothing but tallies, and with so many exemplars; the
    latter from the prompt's text on."""
    rows = [*table.rows, *more]
    verdicts = [
        rows[number % len(rows)].verdict().replace(id=str(number), request_id=str(number))
        for number in range(remembered)
    ]
    priors = means(table.rows, table.models)
    costs = {model: Decimal(f"{cost:.12f}") for model, cost in mean_costs(table.rows, table.models).items()}
    plain = taught([verdict.replace(features=None) for verdict in verdicts], priors)
    exemplars = [exemplar for verdict in verdicts if (exemplar := exemplar_of(verdict)) is not None]
    near = Model(priors, (), exemplars, weight=0.25)
    asked = [table.rows[number % len(table.rows)] for number in range(decisions)]
    reference = max(priors, key=lambda model: priors[model])

    def once(model: Model, row: Row, *, reads: bool) -> float:
        begin = time.thread_time_ns()
        read = features(row.prompt) if reads else None
        qualities = model.qualities(row.task, read, table.models, NOW_MS)
        candidates = [Candidate(m, qualities[m], costs[m]) for m in table.models]
        choose(candidates, reference)
        return (time.thread_time_ns() - begin) / 1e3

    for row in asked[:50]:
        once(plain, row, reads=False)
        once(near, row, reads=True)
    return Times(
        percentile([once(plain, row, reads=False) for row in asked], 0.99),
        percentile([once(near, row, reads=True) for row in asked], 0.99),
        len(exemplars),
    )
