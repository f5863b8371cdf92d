"""Token counts as this dialect reports them. Its `input_tokens` leaves out what was cached."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.usage import Usage
from keyrail.dialects import counts

_TIERS = frozenset({"standard", "priority", "batch"})
_ANYWHERE = frozenset({"not_available", "global"})  # no price of its own
_NONE: dict[str, Any] = {}


def usage_of(raw: object) -> Usage:
    """Normalise a usage object. Whatever is missing or nonsense is None; nothing here raises."""
    if type(raw) is not dict:
        return Usage()
    usage = cast("dict[str, Any]", raw)
    main = _tokens(usage)
    for step in _compactions(usage):
        main = tuple(_sum(one, other) for one, other in zip(main, _tokens(step), strict=True))
    input_, output, read, written, hour = main
    geo = counts.tier(usage.get("inference_geo"))
    return Usage(
        input_tokens=input_,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        reasoning_tokens=counts.count(_object(usage, "output_tokens_details").get("thinking_tokens")),
        searches=counts.count(_object(usage, "server_tool_use").get("web_search_requests")),
        served_tier=_tier(usage),
        region=None if geo in _ANYWHERE else geo,
        raw=counts.raw(usage),
    )


def _tokens(usage: dict[str, Any]) -> tuple[int | None, ...]:
    """Input with all that is cached, output, read from a cache, written to it, kept there for an hour."""
    split = _object(usage, "cache_creation")
    hour = counts.count(split.get("ephemeral_1h_input_tokens"))
    written = counts.written(
        usage.get("cache_creation_input_tokens"), split.get("ephemeral_5m_input_tokens"), hour
    )
    read = counts.count(usage.get("cache_read_input_tokens"))
    uncached = counts.count(usage.get("input_tokens"))
    input_ = None if uncached is None else uncached + (read or 0) + (written or 0)
    return input_, counts.count(usage.get("output_tokens")), read, written, hour


def _compactions(usage: dict[str, Any]) -> list[dict[str, Any]]:
    """Steps that shortened the conversation first: billed, and not in the counts beside them."""
    steps = usage.get("iterations")
    if type(steps) is not list:
        return []
    found = [cast("dict[str, Any]", each) for each in cast("list[object]", steps) if type(each) is dict]
    return [each for each in found if each.get("type") == "compaction"]


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


def _tier(usage: dict[str, Any]) -> str | None:
    """The tier, or `fast` where that speed was served at the usual tier: together they are a price of their
    own."""
    tier = counts.tier(usage.get("service_tier"))
    if usage.get("speed") != "fast":
        return tier
    return "fast" if tier in (None, "standard") else f"{tier}-fast"


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
