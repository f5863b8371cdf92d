"""Token counts as this dialect reports them. Its `input_tokens` leaves out what was cached."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.usage import Usage
from keyrail.dialects import counts

_TIERS = frozenset({"standard", "priority", "batch"})
_NONE: dict[str, Any] = {}


def usage_of(raw: object) -> Usage:
    """Normalise a usage object. Whatever is missing or nonsense is None; nothing here raises."""
    if type(raw) is not dict:
        return Usage()
    usage = cast("dict[str, Any]", raw)
    split = _object(usage, "cache_creation")
    written = _written(usage, split)
    read = counts.count(usage.get("cache_read_input_tokens"))
    uncached = counts.count(usage.get("input_tokens"))
    hour = counts.count(split.get("ephemeral_1h_input_tokens"))
    return Usage(
        input_tokens=None if uncached is None else uncached + (read or 0) + (written or 0),
        output_tokens=counts.count(usage.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=None if hour is None or written is None else min(hour, written),
        reasoning_tokens=counts.count(_object(usage, "output_tokens_details").get("thinking_tokens")),
        searches=counts.count(_object(usage, "server_tool_use").get("web_search_requests")),
        served_tier=counts.tier(usage.get("service_tier")),
        raw=counts.raw(usage),
    )


def _written(usage: dict[str, Any], split: dict[str, Any]) -> int | None:
    total = counts.count(usage.get("cache_creation_input_tokens"))
    if total is not None:
        return total
    pieces = [
        found
        for name in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
        if (found := counts.count(split.get(name))) is not None
    ]
    return sum(pieces) if pieces else None


def merged(earlier: dict[str, Any], later: object) -> dict[str, Any]:
    """Both objects of a stream in one: counts are totals, so the last word on each field holds."""
    if type(later) is not dict:
        return earlier
    said = {name: value for name, value in cast("dict[str, Any]", later).items() if value is not None}
    return {**earlier, **said} if earlier else said


def raw_of(usage: Usage) -> dict[str, Any]:
    """The usage as a client of this dialect reads it.

    The wire wants numbers for input and output: what nobody knows is 0 there, and left out elsewhere.
    """
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    if read and written and usage.input_tokens is not None:
        # OpenRouter has reported the same tokens as read and as written: together they are no more than all.
        written = min(written, max(usage.input_tokens - read, 0))
    raw: dict[str, Any] = {
        "input_tokens": max((usage.input_tokens or 0) - (read or 0) - (written or 0), 0),
        "cache_creation_input_tokens": written or 0,
        "cache_read_input_tokens": read or 0,
        "output_tokens": usage.output_tokens or 0,
    }
    if (hour := usage.cache_write_1h_tokens) is not None:
        five_minutes = max((written or 0) - hour, 0)
        raw["cache_creation"] = {
            "ephemeral_5m_input_tokens": five_minutes,
            "ephemeral_1h_input_tokens": hour,
        }
    if usage.reasoning_tokens is not None:
        raw["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.searches:
        raw["server_tool_use"] = {"web_search_requests": usage.searches, "web_fetch_requests": 0}
    if usage.served_tier in _TIERS:
        raw["service_tier"] = usage.served_tier
    return raw


def _object(usage: dict[str, Any], name: str) -> dict[str, Any]:
    value = usage.get(name)
    return cast("dict[str, Any]", value) if type(value) is dict else _NONE
