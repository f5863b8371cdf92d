"""Token counts as OpenAI-shaped usage objects report them, and an estimate where none came."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text

_MOST = 2**53  # more tokens than that is nonsense
_RAW_BYTES = 16_384
_NONE: dict[str, Any] = {}


def usage_of(raw: object, *, served_tier: object = None) -> Usage:
    """Normalise a usage object. Whatever is missing or nonsense is None; nothing here raises.

    `served_tier` is the tier that the answer names beside its usage.
    """
    if type(raw) is not dict:
        return Usage(served_tier=_text(served_tier))
    usage = cast(dict[str, Any], raw)
    prompt = _details(usage, "prompt_tokens_details")
    completion = _details(usage, "completion_tokens_details")
    reasoning = _count(completion.get("reasoning_tokens"))
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_output(usage, reasoning),
        cache_read_tokens=_cached(usage, prompt),
        cache_write_tokens=_count(prompt.get("cache_write_tokens")),
        reasoning_tokens=reasoning,
        audio_input_tokens=_count(prompt.get("audio_tokens")),
        audio_output_tokens=_count(completion.get("audio_tokens")),
        served_tier=_text(served_tier) or _text(usage.get("service_tier")),
        raw=json_text.small_object(usage, _RAW_BYTES),
    )


def estimate_usage(input_tokens_estimate: int, output_chars: int, output_events: int) -> Usage:
    """Counts for an answer that was cancelled or broke off before its usage came.

    A token has about four characters; an event with content holds at least one token.
    """
    return Usage(
        input_tokens=input_tokens_estimate,
        output_tokens=max(-(-output_chars // 4), output_events),
        estimated=True,
    )


def _output(usage: dict[str, Any], reasoning: int | None) -> int | None:
    """Tokens generated, reasoning included: a few providers count it beside `completion_tokens`."""
    output = _count(usage.get("completion_tokens"))
    if output is None or not reasoning:
        return output
    prompt = _count(usage.get("prompt_tokens"))
    beside = prompt is not None and usage.get("total_tokens") == prompt + output + reasoning
    return output + reasoning if beside or reasoning > output else output


def _cached(usage: dict[str, Any], prompt: dict[str, Any]) -> int | None:
    count = _count(prompt.get("cached_tokens"))
    if count is None:
        count = _count(usage.get("num_cached_tokens"))
    return _count(usage.get("prompt_cache_hit_tokens")) if count is None else count


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST else None


def _text(value: object) -> str | None:
    return value if type(value) is str and 0 < len(value) <= 64 else None


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    value = usage.get(name)
    return value if type(value) is dict else _NONE
