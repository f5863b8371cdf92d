"""The library as a router uses it, taught from one part of the rows and asked about another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean

from bench.routing.data import Row
from keyrail.contracts.config import KEEP_CONFIDENCE, SmartRule
from keyrail.contracts.scores import TaskScores, Verdict
from keyrail.routing.choice import Candidate, choose
from keyrail.routing.learning import Model, exemplar_of, fold
from keyrail.routing.tuning import worth_for

TARGET = 0.99
RULE = SmartRule(keep=TARGET, confidence=KEEP_CONFIDENCE)
"""As `smart: {keep: 0.99}` of a route. Its bar is a net: no prompt goes to a model that is expected to keep
less."""
NOW_MS = 0  # rows carry no times


def taught(verdicts: Sequence[Verdict], priors: dict[str, float]) -> Model:
    """A model that has seen these verdicts and nothing else."""
    tasks: dict[str, TaskScores] = {}
    for verdict in verdicts:
        known = tasks.get(verdict.task) or TaskScores(task=verdict.task)
        tasks[verdict.task] = fold(known, verdict)
    exemplars = [exemplar for verdict in verdicts if (exemplar := exemplar_of(verdict)) is not None]
    model = Model(priors, tasks.values(), exemplars)
    model.calibrate()
    return model


def means(rows: Sequence[Row], models: Sequence[str]) -> dict[str, float]:
    """Mean score of each model."""
    return {model: fmean(row.scores[model] for row in rows) for model in models}


def mean_costs(rows: Sequence[Row], models: Sequence[str]) -> dict[str, float]:
    """US dollars for a prompt."""
    return {model: fmean(row.costs[model] for row in rows) for model in models}


class Costs:
    """What a model's answer is predicted to cost: what it did cost at this task, or at all of them."""

    def __init__(self, rows: Sequence[Row], models: Sequence[str]) -> None:
        by_task: dict[str, list[Row]] = {}
        for row in rows:
            by_task.setdefault(row.task, []).append(row)
        self._overall = _decimals(mean_costs(rows, models))
        self._by_task = {task: _decimals(mean_costs(some, models)) for task, some in by_task.items()}

    def of(self, task: str) -> dict[str, Decimal]:
        return self._by_task.get(task, self._overall)


def _decimals(costs: dict[str, float]) -> dict[str, Decimal]:
    return {model: Decimal(f"{cost:.12f}") for model, cost in costs.items()}


@dataclass(frozen=True, slots=True)
class Decided:
    """Which model each row went to, and the CPU time of each decision in microseconds."""

    targets: tuple[str, ...]
    micros: tuple[float, ...]


class Router:
    """Tuned on the rows it is taught with, and on nothing else. `reference`: the best of them there."""

    def __init__(self, tune: Sequence[Row], models: Sequence[str], target: float = TARGET) -> None:
        self.models = tuple(models)
        overall = means(tune, models)
        self.reference = max(models, key=lambda model: overall[model])
        self.model = taught([row.verdict() for row in tune], overall)
        self._costs = Costs(tune, models)
        self.worth = worth_for(self._requests(tune), self.reference, target)

    def _requests(self, rows: Sequence[Row]) -> list[tuple[list[Candidate], float]]:
        if self.model.uses_neighbours:
            return [(self.candidates(row, without=row.id), 1.0) for row in rows]
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.task] = counts.get(row.task, 0) + 1
        first = {row.task: row for row in reversed(rows)}
        return [(self.candidates(first[task]), float(count)) for task, count in counts.items()]

    def candidates(self, row: Row, without: str | None = None) -> list[Candidate]:
        """As they are for this prompt."""
        qualities = self.model.qualities(row.task, row.features, self.models, NOW_MS, without)
        costs = self._costs.of(row.task)
        return [Candidate(model, qualities[model], costs[model]) for model in self.models]

    def decide(self, rows: Sequence[Row]) -> Decided:
        """One decision after the other."""
        targets: list[str] = []
        micros: list[float] = []
        for row in rows:
            begin = time.thread_time_ns()
            targets.append(self.target(row))
            micros.append((time.thread_time_ns() - begin) / 1e3)
        return Decided(tuple(targets), tuple(micros))

    def target(self, row: Row) -> str:
        """One decision. Without a worth that keeps the target, the reference serves everything."""
        choice = choose(
            self.candidates(row),
            self.reference,
            bar=RULE.bar,
            confidence=RULE.confidence,
            worth=self.worth,
        )
        return choice.target
