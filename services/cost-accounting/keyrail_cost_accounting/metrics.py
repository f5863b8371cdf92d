"""What this service counts."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The service's instruments, on one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.rows = Counter("keyrail_ledger_rows", "Rows inserted", ["table"], registry=registry)
        self.insert_seconds = Histogram(
            "keyrail_ledger_insert_seconds",
            "Time to insert one batch into one table",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
            registry=registry,
        )
        self.insert_failures = Counter(
            "keyrail_ledger_insert_failures", "Inserts that failed and were tried again", registry=registry
        )
        self.dead_letters = Counter(
            "keyrail_ledger_dead_letters",
            "Events put aside because they could not be read, or the ledger did not take them",
            registry=registry,
        )
        self.lag = Gauge(
            "keyrail_ledger_event_lag_seconds",
            "Age of the newest event of a batch when it was in the ledger",
            registry=registry,
        )
        self.swept = Counter(
            "keyrail_ledger_swept",
            "Attempts settled as lost because their worker was gone",
            registry=registry,
        )
        self.leases_closed = Counter(
            "keyrail_ledger_leases_closed",
            "Parts of budgets of routers that were gone, closed by what the ledger says",
            registry=registry,
        )
        self.rollup_seconds = Histogram(
            "keyrail_ledger_rollup_seconds",
            "Time to compute again the sums of all that is new",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120),
            registry=registry,
        )
        self.rollup_minutes = Counter(
            "keyrail_ledger_rollup_minutes", "Minutes whose sums were computed again", registry=registry
        )
        self.stream_bytes = Gauge(
            "keyrail_events_stream_bytes", "Size of the stream of events", registry=registry
        )
        self.stream_fill = Gauge(
            "keyrail_events_stream_fill_ratio",
            "Size of the stream of events by the most that it may have: at 1 publishers are refused",
            registry=registry,
        )
        self.waiting = Gauge(
            "keyrail_ledger_waiting_messages",
            "Messages with events that are not in the ledger yet",
            registry=registry,
        )
        self.contents_dropped = Counter(
            "keyrail_ledger_contents_dropped",
            "Contents that were deleted, or had expired, before they came",
            ["reason"],
            registry=registry,
        )
