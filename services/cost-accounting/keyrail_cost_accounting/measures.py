"""What is summed over attempts, and by what: the columns of the rollups, in SQL. Pure."""

from __future__ import annotations

from typing import Final

DIMENSIONS: Final = ("team", "feature", "route", "provider", "model", "key_id", "provider_key_id")
"""Beside the tenant and the bucket."""


def _usd(condition: str) -> str:
    return f"ifNull(sumIf(a.cost_usd, {condition}), 0)"


OVER_ATTEMPTS: Final = {
    "requests": "countIf(a.number = 1)",
    "attempts": "count()",
    "running": "countIf(a.status = 'running')",
    "ok": "countIf(a.status = 'ok')",
    "failed": "countIf(a.status = 'failed')",
    "cancelled": "countIf(a.status = 'cancelled')",
    "lost": "countIf(a.status = 'lost')",
    "input_tokens": "sum(a.input_tokens)",
    "output_tokens": "sum(a.output_tokens)",
    "cache_read_tokens": "sum(a.cache_read_tokens)",
    "cache_write_tokens": "sum(a.cache_write_tokens)",
    "reasoning_tokens": "sum(a.reasoning_tokens)",
    "cost_usd": "ifNull(sum(a.cost_usd), 0)",
    "unknown_cost_attempts": "countIf(isNull(a.cost_usd))",
    "estimated_attempts": "countIf(a.estimated)",
    "estimated_usd": _usd("a.estimated"),
    "failed_usd": _usd("a.status NOT IN ('ok', 'running') OR ifNull(a.standing = 'lost', 0)"),
    "retried_usd": _usd("a.number > 1 AND a.role NOT IN ('race', 'hedge')"),
    "cache_saved_usd": "ifNull(sum(a.uncached_usd - a.cost_usd), 0)",
    "routing_saved_usd": "ifNull(sum(a.reference_usd - a.cost_usd), 0)",
}
"""Each measure as a sum over rows `a` of `attempts`."""
MEASURES: Final = tuple(OVER_ATTEMPTS)
COLUMNS: Final = ("tenant", "bucket", *DIMENSIONS, *MEASURES)
"""All of a rollup, but when it was computed."""


def over_attempts(floor: str, where: str) -> str:
    """Sums over the deduplicated attempts `a`, in buckets that start at `floor` of their start."""
    dimensions = ", ".join(f"a.{name} AS {name}" for name in ("tenant", *DIMENSIONS))
    sums = ", ".join(f"{value} AS {name}" for name, value in OVER_ATTEMPTS.items())
    return (
        f"SELECT {dimensions}, {floor}(a.started_at) AS bucket, {sums}"
        f" FROM attempts AS a FINAL WHERE {where} GROUP BY ALL"
    )


def over(source: str, floor: str) -> str:
    """Sums over `source` (as `s`) that has the columns of a rollup, in buckets at `floor` of its."""
    dimensions = ", ".join(f"s.{name} AS {name}" for name in ("tenant", *DIMENSIONS))
    sums = ", ".join(f"sum(s.{name}) AS {name}" for name in MEASURES)
    return f"SELECT {dimensions}, {floor}(s.bucket) AS bucket, {sums} FROM {source} GROUP BY ALL"
