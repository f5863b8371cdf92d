"""Token counts as a response reports them, and as a client of this dialect reads them."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.usage import Usage
from keyrail.dialects.counts import count, estimate_usage, raw, tier, written

__all__ = ["estimate_usage", "usage_in", "usage_of"]

_NONE: dict[str, Any] = {}


def usage_of(value: object, *, served_tier: object = None, tools: object = None) -> Usage:
    """Normalise a usage object. Whatever is missing or nonsense is None; nothing here raises.

    `served_tier` and `tools` are the response's `service_tier` and `tool_usage`.
    """
    searches = count(_details(tools, "web_search").get("num_requests"))
    if type(value) is not dict:
        return Usage(served_tier=tier(served_tier), searches=searches)
    usage = cast("dict[str, Any]", value)
    prompt = _details(usage, "input_tokens_details")
    completion = _details(usage, "output_tokens_details")
    reasoning = count(completion.get("reasoning_tokens"))
    kept = _details(prompt, "cache_write_tokens_details")
    long = count(kept.get("ttl_12h_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=_output(usage, reasoning),
        cache_read_tokens=count(prompt.get("cached_tokens")),
        cache_write_tokens=written(prompt.get("cache_write_tokens"), kept.get("ttl_30m_tokens"), long),
        cache_write_1h_tokens=long,
        reasoning_tokens=reasoning,
        audio_input_tokens=count(prompt.get("audio_tokens")),
        audio_output_tokens=count(completion.get("audio_tokens")),
        searches=searches,
        served_tier=tier(served_tier) or tier(usage.get("service_tier")),
        raw=raw(usage),
    )


def _output(usage: dict[str, Any], reasoning: int | None) -> int | None:
    """Tokens generated, reasoning included; a total that says so shows one that counts it beside."""
    output = count(usage.get("output_tokens"))
    if output is None or not reasoning:
        return output
    prompt = count(usage.get("input_tokens"))
    beside = prompt is not None and usage.get("total_tokens") == prompt + output + reasoning
    return output + reasoning if beside or reasoning > output else output


def _details(holder: object, name: str) -> dict[str, Any]:
    """The object of this name in another; empty when there is none."""
    value = cast("dict[str, Any]", holder).get(name) if type(holder) is dict else None
    return cast("dict[str, Any]", value) if type(value) is dict else _NONE


def usage_in(usage: Usage | None) -> dict[str, Any] | None:
    """The usage object for a client; None as long as input or output is unknown.

    The details are numbers in this dialect: clients fail on null, so what is unknown there reads as 0.
    """
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
