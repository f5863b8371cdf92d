"""Counters, gauges and histograms for hot paths: plain numbers, made into Prometheus' samples when asked.

prometheus_client's own take a lock and look labels up at each use, 3 to 4 % of a busy process. These are for
one thread alone, the event loop's. Names and exposition are the same.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

INFINITY = float("inf")


class Count:
    """A number that grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add `amount`, which is not negative."""
        self.value += amount


class Level:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Set it."""
        self.value = value

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self.value += amount

    def dec(self, amount: float = 1) -> None:
        """Take from it."""
        self.value -= amount


class Distribution:
    """How often values fell between bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value in the bucket of the first bound that it does not exceed."""
        self.total += value
        self.counts[bisect_left(self.bounds, value)] += 1


C = TypeVar("C", Count, Level, Distribution)
F = TypeVar("F", bound=Metric)


class _Family(Collector, Generic[C, F]):
    """One metric with a child for each combination of label values that was asked for."""

    def __init__(
        self, name: str, help: str, labels: Sequence[str] = (), *, registry: CollectorRegistry = REGISTRY
    ) -> None:
        self.name = name
        self.help = help
        self._names = tuple(labels)
        self._children: dict[tuple[str, ...], C] = {}
        if not labels:
            self.own = self.labels()
        registry.register(self)

    def labels(self, *values: str) -> C:
        """The child for these label values: a dictionary look-up."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._names):
                raise ValueError(f"{self.name} has the labels {self._names}")
            child = self._children[values] = self._child()
        return child

    def describe(self) -> Iterator[Metric]:
        """So that the registry can see names that are there twice."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """What was counted."""
        family = self._family()
        for values, child in self._children.items():
            self._sample(family, values, child)
        yield family

    @abstractmethod
    def _child(self) -> C: ...

    @abstractmethod
    def _family(self) -> F: ...

    @abstractmethod
    def _sample(self, family: F, values: Sequence[str], child: C) -> None: ...


class Counter(_Family[Count, CounterMetricFamily]):
    """A counter; `inc` is for one without labels."""

    def inc(self, amount: float = 1) -> None:
        """Add."""
        self.own.value += amount

    def _child(self) -> Count:
        return Count()

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self.name, self.help, labels=self._names)

    def _sample(self, family: CounterMetricFamily, values: Sequence[str], child: Count) -> None:
        family.add_metric(values, child.value)


class Gauge(_Family[Level, GaugeMetricFamily]):
    """A gauge; its methods are for one without labels."""

    def set(self, value: float) -> None:
        """Set."""
        self.own.value = value

    def inc(self, amount: float = 1) -> None:
        """Add."""
        self.own.value += amount

    def dec(self, amount: float = 1) -> None:
        """Subtract."""
        self.own.value -= amount

    def _child(self) -> Level:
        return Level()

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self.name, self.help, labels=self._names)

    def _sample(self, family: GaugeMetricFamily, values: Sequence[str], child: Level) -> None:
        family.add_metric(values, child.value)


class Histogram(_Family[Distribution, HistogramMetricFamily]):
    """A histogram; `observe` is for one without labels."""

    def __init__(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._bounds = tuple(buckets)
        super().__init__(name, help, labels, registry=registry)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.own.observe(value)

    def _child(self) -> Distribution:
        return Distribution(self._bounds)

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self.name, self.help, labels=self._names)

    def _sample(self, family: HistogramMetricFamily, values: Sequence[str], child: Distribution) -> None:
        bounds = map(floatToGoString, (*self._bounds, INFINITY))
        buckets = [
            (bound, float(count)) for bound, count in zip(bounds, accumulate(child.counts), strict=True)
        ]
        family.add_metric(values, buckets, child.total)
