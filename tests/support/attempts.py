"""Events of attempts, as a worker publishes them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from keyrail.contracts.base import new_id, now_ms
from keyrail.contracts.events import AttemptSettled, AttemptStarted
from keyrail.contracts.usage import Price, Usage


def started(**changes: object) -> AttemptStarted:
    """The beginning of an attempt of its own, now."""
    values: dict[str, object] = {
        "attempt_id": new_id(),
        "request_id": new_id(),
        "epoch": 1,
        "hop": 0,
        "tenant": "acme",
        "key_id": "k1",
        "team": "search",
        "strategy": "direct",
        "revision": 1,
        "provider": "openai",
        "model": "gpt-5.4-mini",
        "worker": "worker-1",
        "started_ms": now_ms(),
    }
    return msgspec.convert(values | changes, AttemptStarted)


def ended(start: AttemptStarted, cost: str | None = "0.000001234567", **changes: object) -> AttemptSettled:
    """Its end, 1.2 s later; `cost` is in US dollars."""
    values: dict[str, object] = {
        "started": start,
        "status": "ok",
        "http_status": 200,
        "usage": Usage(input_tokens=100, output_tokens=10, cache_read_tokens=40, raw={"prompt_tokens": 100}),
        "price": Price(cost_usd=None if cost is None else Decimal(cost), source="catalogue", version="1"),
        "duration_ms": 1200,
        "settled_ms": start.started_ms + 1200,
    }
    return msgspec.convert(values | changes, AttemptSettled)
