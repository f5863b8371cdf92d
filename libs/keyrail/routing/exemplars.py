"""Judged prompts that are like this one: nearest neighbours over TF-IDF cosines, in an inverted index.

What is new goes into a small second index; both are made anew, with new document frequencies, when that one is
full. Imports numpy, so models import this where they have an exemplar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keyrail.contracts.scores import Exemplar
from keyrail.routing.posterior import HALF_LIFE_MS, Posterior
from keyrail.routing.text import BUCKETS, Features, unpack

MOST_EXEMPLARS = 4_000
NEIGHBOURS = 50
GUARD = 0.2
"""Mean similarity of the nearest ten below which a prompt is like nothing that was judged."""
GUARDED_BY = 10

_FRESH = 128  # exemplars in the second index: making it anew takes a millisecond
_SAMPLE = 512  # exemplars that calibration asks
_TASK_MASS = 8.0
_MOST_WEIGHT = 0.5

_Floats = npt.NDArray[np.float64]
_Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Nearest:
    """Rows of exemplars, most similar first, and their cosines."""

    rows: _Rows
    similarities: _Floats

    @property
    def closeness(self) -> float:
        """What the guard looks at: the mean of the first ten cosines, those that are missing as 0."""
        return float(self.similarities[:GUARDED_BY].sum()) / GUARDED_BY


class _Index:
    """Postings of some documents by bucket. `first`: the row of its first document."""

    def __init__(self, documents: Sequence[Features], first: int, idf: _Floats) -> None:
        sizes = [len(d.buckets) for d in documents]
        buckets = np.fromiter((b for d in documents for b in d.buckets), np.int64, sum(sizes))
        rows = np.repeat(np.arange(len(documents), dtype=np.int32), sizes)
        weights = _frequencies(documents, sum(sizes)) * idf[buckets]
        squares = np.bincount(rows, weights * weights, len(documents))
        weights /= np.sqrt(squares)[rows]
        order = np.argsort(buckets, kind="stable")
        self.first, self.size = first, len(documents)
        self._rows, self._weights = rows[order], weights[order].astype(np.float32)
        self._starts = np.searchsorted(buckets[order], np.arange(BUCKETS + 1)).astype(np.int32)

    def dots(self, buckets: _Rows, weights: _Floats) -> _Floats:
        """Of every document with a query of unit length."""
        starts, ends = self._starts[buckets].tolist(), self._starts[buckets + 1].tolist()
        spans = [slice(a, b) for a, b in zip(starts, ends, strict=True)]
        if not spans:
            return np.zeros(self.size)
        rows = np.concatenate([self._rows[span] for span in spans])
        parts = np.concatenate([self._weights[span] for span in spans])
        parts = parts * np.repeat(weights, [span.stop - span.start for span in spans])
        return np.bincount(rows, parts, self.size)


def _frequencies(documents: Sequence[Features], size: int) -> _Floats:
    counts = np.fromiter((c for d in documents for c in d.counts), np.float64, size)
    return 1.0 + np.log(counts)


class Neighbours:
    """At most 4,000 exemplars, the newest; those that came first go first."""

    def __init__(
        self, exemplars: Sequence[Exemplar] = (), *, guard: float = GUARD, half_life_ms: float = HALF_LIFE_MS
    ) -> None:
        self._guard = guard
        self._half_life_ms = half_life_ms
        self._ids: dict[str, int] = {}
        self._tasks: list[str] = []
        self._documents: list[Features] = []
        self._columns: dict[str, int] = {}
        self._scores: _Floats = np.full((0, 0), np.nan)
        self._at_ms: list[int] = []
        self._idf: _Floats = np.ones(BUCKETS)
        self._base: _Index | None = None
        self._fresh: _Index | None = None
        if exemplars:
            self.add(exemplars)

    def __len__(self) -> int:
        return len(self._documents)

    def add(self, exemplars: Sequence[Exemplar]) -> None:
        """Remember these. One with a known id adds its scores to that one; one without a single feature is
        passed over. Raises ValueError for features that are none."""
        new = 0
        for exemplar in exemplars[-MOST_EXEMPLARS:]:
            row = self._ids.get(exemplar.id)
            if row is None:
                document = unpack(exemplar.features)
                if not document.buckets:
                    continue
                row = self._ids[exemplar.id] = len(self._documents)
                self._documents.append(document)
                self._tasks.append(exemplar.task)
                self._at_ms.append(exemplar.at_ms)
                new += 1
            self._at_ms[row] = max(self._at_ms[row], exemplar.at_ms)
            self._note(row, exemplar.scores)
        if not new:
            return
        indexed = self._base.size if self._base else 0
        if indexed < _FRESH or len(self) - indexed > _FRESH or len(self) > MOST_EXEMPLARS:
            self.compact()
        else:
            self._fresh = _Index(self._documents[indexed:], indexed, self._idf)

    def _note(self, row: int, scores: dict[str, float]) -> None:
        for target in scores:
            self._columns.setdefault(target, len(self._columns))
        rows, columns = self._scores.shape
        if row >= rows or len(self._columns) > columns:
            grown = np.full((max(row + 1, rows + rows // 2), max(len(self._columns), columns)), np.nan)
            grown[:rows, :columns] = self._scores
            self._scores = grown
        for target, score in scores.items():
            self._scores[row, self._columns[target]] = score

    def compact(self) -> None:
        """Drop what is too old and index all anew. A router may want this in a thread: it takes a tenth of a
        second for 4,000 exemplars."""
        drop = max(0, len(self) - (MOST_EXEMPLARS - _FRESH)) if len(self) > MOST_EXEMPLARS else 0
        if drop:
            kept = sorted(self._ids.items(), key=lambda item: item[1])[drop:]
            self._ids = {id: row - drop for id, row in kept}
            del self._tasks[:drop], self._documents[:drop], self._at_ms[:drop]
            self._scores = self._scores[drop:].copy()
        seen = np.fromiter((b for d in self._documents for b in d.buckets), np.int64)
        frequencies = np.bincount(seen, minlength=BUCKETS)
        self._idf = np.log((len(self) + 1) / (frequencies + 1)) + 1.0
        self._base = _Index(self._documents, 0, self._idf) if self._documents else None
        self._fresh = None

    def nearest(self, features: Features, count: int = NEIGHBOURS, without: int | None = None) -> Nearest:
        """The most similar exemplars, of those as similar as the last one the first ones. `without`: a row
        that is not looked at."""
        buckets = np.array(features.buckets, np.intp)
        weights = _frequencies([features], len(features.buckets)) * self._idf[buckets]
        weights /= np.sqrt(weights @ weights) or 1.0
        indices = [index for index in (self._base, self._fresh) if index is not None]
        found = [index.dots(buckets, weights) for index in indices]
        dots = np.concatenate(found) if found else np.zeros(0)
        if without is not None:
            dots[without] = -1.0
        return _top(dots, count)

    def estimate(self, features: Features, targets: Sequence[str], now_ms: int) -> dict[str, Posterior]:
        """The quality of each target on prompts like this one; nothing for targets that none of them was
        judged for, and nothing at all where the guard says that none is like it."""
        near = self.nearest(features)
        if near.closeness < self._guard:
            return {}
        ages = np.maximum(now_ms - np.array([self._at_ms[row] for row in near.rows.tolist()], float), 0.0)
        weights = near.similarities**2 * 0.5 ** (ages / self._half_life_ms)
        means, masses = self._weighed(near.rows, weights)
        found: dict[str, Posterior] = {}
        for target in targets:
            column = self._columns.get(target)
            if column is not None and masses[column] > 0:
                mass = float(masses[column])
                found[target] = Posterior(float(means[column]), mass, mass)
        return found

    def _weighed(self, rows: _Rows, weights: _Floats) -> tuple[_Floats, _Floats]:
        """Mean score and effective number of verdicts by column."""
        scores = self._scores[rows]
        there = ~np.isnan(scores)
        each = weights[:, None] * there
        sums = each.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (each * np.where(there, scores, 0.0)).sum(0) / sums
            masses = np.where(sums > 0, sums**2 / (each**2).sum(0), 0.0)
        return means, masses

    def calibrate(self) -> float:
        """The neighbours' best part in an estimate, less its standard error; 0 where they do not help.

        Each of up to 512 exemplars is estimated from the others, by the mean of its task and by its
        neighbours. What counts is how targets differ on a prompt: that all find it hard moves no choice.
        """
        if not self._columns or len(self) < 2 * NEIGHBOURS:
            return 0.0
        gains: list[float] = []
        costs: list[float] = []
        means = _TaskMeans(self._tasks, self._scores[: len(self)])
        for row in range(0, len(self), max(1, -(-len(self) // _SAMPLE))):
            near = self.nearest(self._documents[row], without=row)
            if near.closeness < self._guard:
                continue
            by_neighbours, _ = self._weighed(near.rows, near.similarities**2)
            truth, by_task = self._scores[row], means.without(row)
            usable = ~np.isnan(truth) & ~np.isnan(by_neighbours) & ~np.isnan(by_task)
            if usable.sum() < 2:
                continue
            wanted, offered = (truth - by_task)[usable], (by_neighbours - by_task)[usable]
            wanted, offered = wanted - wanted.mean(), offered - offered.mean()
            gains.append(float(wanted @ offered))
            costs.append(float(offered @ offered))
        return _slope(np.array(gains), np.array(costs))


class _TaskMeans:
    """Mean scores by task, of all exemplars but one, held a little towards the mean over all tasks."""

    def __init__(self, tasks: Sequence[str], scores: _Floats) -> None:
        numbers = {task: number for number, task in enumerate(dict.fromkeys(tasks))}
        self._of = np.array([numbers[task] for task in tasks], np.intp)
        self._scores = scores
        there = ~np.isnan(scores)
        self._sums = np.zeros((len(numbers), scores.shape[1]))
        self._counts = np.zeros_like(self._sums)
        np.add.at(self._sums, self._of, np.where(there, scores, 0.0))
        np.add.at(self._counts, self._of, there)

    def without(self, row: int) -> _Floats:
        own = self._scores[row]
        there = ~np.isnan(own)
        value = np.where(there, own, 0.0)
        with np.errstate(invalid="ignore"):
            overall = (self._sums.sum(0) - value) / (self._counts.sum(0) - there)
        task = self._of[row]
        good = self._sums[task] - value + _TASK_MASS * overall
        return good / (self._counts[task] - there + _TASK_MASS)


def _slope(gains: _Floats, costs: _Floats) -> float:
    """Of a line through the origin, less a standard error over prompts; between 0 and a half."""
    total = float(costs.sum())
    if total <= 0:
        return 0.0
    slope = float(gains.sum()) / total
    error = float(np.sqrt(((gains - slope * costs) ** 2).sum())) / total
    return min(max(slope - error, 0.0), _MOST_WEIGHT)


def _top(values: _Floats, count: int) -> Nearest:
    above = np.flatnonzero(values > 0)
    if above.size > count:
        # A partition alone would choose between equals as the processor's instructions have it.
        least = np.partition(values[above], above.size - count)[above.size - count]
        more = above[values[above] > least]
        above = np.concatenate([more, above[values[above] == least][: count - more.size]])
    order = np.lexsort((above, -values[above]))
    rows: Any = above[order]
    return Nearest(rows, values[rows])
