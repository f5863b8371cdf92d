"""The cheap instruments say what prometheus_client's own would say."""

from __future__ import annotations

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from keyrail.telemetry import instruments, metrics

BUCKETS = (0.005, 0.1, 1, 300)


def exposition(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(
    st.lists(st.floats(0, 400) | st.sampled_from(BUCKETS), max_size=20),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=10),
)
def test_names_and_numbers_are_those_of_prometheus_client(
    seconds: list[float], counts: list[tuple[str, int]]
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    for made, registry in ((instruments, ours), (prometheus_client, theirs)):
        histogram = made.Histogram("keyrail_t_seconds", "How long", buckets=BUCKETS, registry=registry)
        labelled = made.Histogram("keyrail_l_seconds", "How long", ["k"], buckets=BUCKETS, registry=registry)
        counter = made.Counter("keyrail_things", "Things", ["kind", "way"], registry=registry)
        plain = made.Counter("keyrail_plain", 'With "quotes"', registry=registry)
        gauge = made.Gauge("keyrail_level", "Level", registry=registry)
        for value in seconds:
            histogram.observe(value)
            labelled.labels("x").observe(value)
            gauge.set(value)
            gauge.inc()
            gauge.dec(0.5)
        for kind, amount in counts:
            counter.labels(kind, "up").inc(amount)
            plain.inc()
    assert exposition(ours) == exposition(theirs)


def test_a_child_is_made_once_and_a_wrong_number_of_labels_is_an_error() -> None:
    counter = instruments.Counter("keyrail_x", "X", ["a"], registry=CollectorRegistry())
    assert counter.labels("1") is counter.labels("1")
    with pytest.raises(ValueError, match="keyrail_x"):
        counter.labels("1", "2")


def test_a_name_is_registered_once() -> None:
    registry = CollectorRegistry()
    instruments.Gauge("keyrail_x", "X", registry=registry)
    with pytest.raises(ValueError, match="keyrail_x"):
        instruments.Gauge("keyrail_x", "X", registry=registry)


def test_what_a_process_counts_travels_and_is_shown_with_its_instance() -> None:
    before = metrics.counter(metrics.REDISPATCHES, "test").value
    metrics.counter(metrics.REDISPATCHES, "test").inc(2)
    text = metrics.render([metrics.collect("ingress", "i1")]).decode()
    line = f'keyrail_redispatches_total{{reason="test",service="ingress",instance="i1"}} {before + 2!r}'
    assert line in text.splitlines()
    assert "# TYPE keyrail_redispatches_total counter" in text
