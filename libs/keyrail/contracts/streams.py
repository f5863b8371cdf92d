"""Streams, durable consumers and KV buckets, as data. Only the set-up step creates them; services bind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keyrail.contracts import subjects

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Stream:
    """A JetStream stream on disk. Full means that publishers are refused: money is never forgotten.

    Retention `interest` keeps a message until every durable has acknowledged it, `limits` for `max_age_s`.
    """

    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    max_age_s: float
    retention: Literal["interest", "limits"] = "interest"
    duplicate_window_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Durable:
    """A pull consumer. `ack_wait_s` is longer than the worst insert; messages are redelivered for ever."""

    name: str
    stream: str
    subject: str
    ack_wait_s: float = 20.0
    max_ack_pending: int = 8_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """A KV bucket. Entries older than `ttl_s` go; 0: they stay.

    `max_bytes` None: as much as there is room for. `cache`: entries have a time of their own, the oldest make
    room for new ones, and they are read without asking the stream's leader.
    """

    name: str
    history: int = 1
    ttl_s: float = 0.0
    max_bytes: int | None = None
    cache: bool = False


EVENTS = Stream("KEYRAIL_EVENTS", (subjects.EVENTS,), max_bytes=16 * GIB, max_age_s=14 * 86_400)
"""An hour of 5,000 events a second without the ledger: an event takes up to 0.9 kB."""
CONTENTS = Stream("KEYRAIL_CONTENTS", (subjects.CONTENT,), max_bytes=GIB, max_age_s=2 * 86_400)
DEAD_LETTERS = Stream(
    "KEYRAIL_DLQ",
    (subjects.DEAD_LETTERS,),
    max_bytes=GIB // 4,
    max_age_s=90 * 86_400,
    retention="limits",
)
COST_ACCOUNTING = Durable("cost-accounting", EVENTS.name, subjects.EVENTS)
COST_ACCOUNTING_CONTENTS = Durable(
    "cost-accounting-contents", CONTENTS.name, subjects.CONTENT, max_ack_pending=200
)
CONFIG = Bucket("keyrail_config", history=64)
TOKENS = Bucket("keyrail_tokens")
KEYS = Bucket("keyrail_keys")
"""`KeyRecord` by `<tenant>.<provider>.<id>`, written by control: which provider keys there are, and which
version."""
KEY_HEALTH = Bucket("keyrail_key_health")
"""`KeyHealth` by the same names, written by workers: keys that are out, or back and on probation."""
LIMITS = Bucket("keyrail_limits", ttl_s=3_600)
"""Windows and leases of rate limits, written by ingresses."""
BUDGETS = Bucket("keyrail_budgets", ttl_s=100 * 86_400)
"""`SpendDocument` by scope and period, written by routers, cost-accounting and control."""
TARGET_HEALTH = Bucket("keyrail_target_health", ttl_s=3_600)
"""`TargetHealth` by provider and model, written by workers: breakers that are open, or coming back."""
WINDOWS = Bucket("keyrail_windows", ttl_s=600)
"""`RateWindows` by provider key and model, written by workers: what providers say is left of their limits."""
SCORES = Bucket("keyrail_scores")
"""What was learned of the quality of targets, by tenant, route and task."""
MEASURES = Bucket("keyrail_measures", ttl_s=3_600)
"""Latencies of targets as routers measured them lately, so that a new router knows them."""
CACHE = Bucket("keyrail_cache", ttl_s=86_400, max_bytes=GIB // 2, cache=True)
"""Kept answers by `<tenant>.<key>`, and who is about to make one by `<tenant>.<key>.lease`; by workers."""

STREAMS = (EVENTS, CONTENTS, DEAD_LETTERS)
DURABLES = (COST_ACCOUNTING, COST_ACCOUNTING_CONTENTS)
BUCKETS = (
    CONFIG,
    TOKENS,
    KEYS,
    KEY_HEALTH,
    LIMITS,
    BUDGETS,
    TARGET_HEALTH,
    WINDOWS,
    SCORES,
    MEASURES,
    CACHE,
)
BUCKETS_BYTES = 4 * GIB
"""Room for all buckets together, which have no limit of their own."""
MAX_FILE = sum(stream.max_bytes for stream in STREAMS) + BUCKETS_BYTES
"""What nats-server may keep. It promises streams their `max_bytes` out of this without a look at the disk."""
