"""Token counts out of a usageMetadata."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.usage import Usage
from keyrail.dialects.counts import count, raw, tier


def usage_of(value: object) -> Usage:
    """Normalise a usageMetadata. Whatever is missing or nonsense is None; nothing here raises.

    The prompt's count leaves out what hosted tools read, the candidates' what was thought: both are added.
    Zeros are left out on this wire, so a missing count is what the total leaves for it.
    """
    if type(value) is not dict:
        return Usage()
    usage = cast("dict[str, Any]", value)
    prompt = count(usage.get("promptTokenCount"))
    inputs = None if prompt is None else prompt + (count(usage.get("toolUsePromptTokenCount")) or 0)
    return Usage(
        input_tokens=inputs,
        output_tokens=_output(usage, inputs),
        cache_read_tokens=count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=count(usage.get("thoughtsTokenCount")),
        audio_input_tokens=_audio(usage, "promptTokensDetails", "toolUsePromptTokensDetails"),
        audio_output_tokens=_audio(usage, "candidatesTokensDetails"),
        served_tier=tier(usage.get("serviceTier")),
        raw=raw(usage),
    )


def _output(usage: dict[str, Any], inputs: int | None) -> int | None:
    """Tokens generated. A few models put more into the total than into its parts: that was generated too."""
    candidates = count(usage.get("candidatesTokenCount"))
    known = None if candidates is None else candidates + (count(usage.get("thoughtsTokenCount")) or 0)
    total = count(usage.get("totalTokenCount"))
    if total is None or inputs is None or total < inputs:
        return known
    return max(total - inputs, known or 0)


def _audio(usage: dict[str, Any], *names: str) -> int | None:
    """Tokens of sound in these lists by modality; None where none is listed."""
    found: int | None = None
    for name in names:
        details = usage.get(name)
        if type(details) is not list:
            continue
        for item in cast("list[Any]", details):
            if type(item) is dict and cast("dict[str, Any]", item).get("modality") == "AUDIO":
                tokens = count(cast("dict[str, Any]", item).get("tokenCount"))
                found = found if tokens is None else (found or 0) + tokens
    return found
