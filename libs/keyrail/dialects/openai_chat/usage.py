"""Token counts as OpenAI-shaped usage objects report them, and an estimate where none came."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.usage import Usage
from keyrail.dialects.counts import count, estimate_usage, raw, tier, written

__all__ = ["estimate_usage", "object_of", "shown_tier", "usage_of"]

_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
_ORDINARY = frozenset({"standard", "on_demand"})
_NONE: dict[str, Any] = {}


def usage_of(value: object, *, served_tier: object = None) -> Usage:
    """Normalise a usage object. Whatever is missing or nonsense is None; nothing here raises.

    `served_tier` is the tier that the answer names beside its usage.
    """
    if type(value) is not dict:
        return Usage(served_tier=tier(served_tier))
    usage = cast("dict[str, Any]", value)
    prompt = _details(usage, "prompt_tokens_details")
    completion = _details(usage, "completion_tokens_details")
    reasoning = count(completion.get("reasoning_tokens"))
    kept = _details(prompt, "cache_write_tokens_details")
    long = count(kept.get("ttl_12h_tokens"))
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=_output(usage, reasoning),
        cache_read_tokens=_cached(usage, prompt),
        cache_write_tokens=written(prompt.get("cache_write_tokens"), kept.get("ttl_30m_tokens"), long),
        cache_write_1h_tokens=long,
        reasoning_tokens=reasoning,
        audio_input_tokens=count(prompt.get("audio_tokens")),
        audio_output_tokens=count(completion.get("audio_tokens")),
        searches=count(_details(usage, "server_tool_use_details").get("web_search_requests")),
        served_tier=tier(served_tier) or tier(usage.get("service_tier")),
        raw=raw(usage),
    )


def _output(usage: dict[str, Any], reasoning: int | None) -> int | None:
    """Tokens generated, reasoning included: a few providers count it beside `completion_tokens`."""
    output = count(usage.get("completion_tokens"))
    if output is None or not reasoning:
        return output
    prompt = count(usage.get("prompt_tokens"))
    beside = prompt is not None and usage.get("total_tokens") == prompt + output + reasoning
    return output + reasoning if beside or reasoning > output else output


def _cached(usage: dict[str, Any], prompt: dict[str, Any]) -> int | None:
    found = count(prompt.get("cached_tokens"))
    if found is None:
        found = count(usage.get("num_cached_tokens"))
    return count(usage.get("prompt_cache_hit_tokens")) if found is None else found


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    value = usage.get(name)
    return cast("dict[str, Any]", value) if type(value) is dict else _NONE


def shown_tier(usage: Usage) -> str | None:
    """The tier that served, in this dialect's words; None where it has none for it."""
    served = usage.served_tier
    return "default" if served in _ORDINARY else served if served in _TIERS else None


def object_of(usage: Usage) -> dict[str, Any] | None:
    """The usage object for a client, None when nothing is known. What is unknown is not in it."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    found = _known(prompt_tokens=usage.input_tokens, completion_tokens=usage.output_tokens)
    if usage.input_tokens is not None and usage.output_tokens is not None:
        found["total_tokens"] = usage.input_tokens + usage.output_tokens
    prompt = _known(
        cached_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        audio_tokens=usage.audio_input_tokens,
    )
    completion = _known(
        reasoning_tokens=usage.reasoning_tokens,
        audio_tokens=usage.audio_output_tokens,
    )
    return found | _known(prompt_tokens_details=prompt or None, completion_tokens_details=completion or None)


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
