"""Tokens that are no text, where prices tell them apart: only the provider's own usage object counts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from keyrail.contracts.usage import Usage

CACHED: Final = ("cache_audio_read_tokens", "cache_image_read_tokens", "cache_video_read_tokens")

_KIND: Final[Mapping[str, str]] = {
    "AUDIO": "audio",
    "IMAGE": "image",
    "DOCUMENT": "image",
    "VIDEO": "video",
}
_LISTS: Final[Mapping[str, str]] = {
    "promptTokensDetails": "input_{}_tokens",
    "toolUsePromptTokensDetails": "input_{}_tokens",
    "candidatesTokensDetails": "output_{}_tokens",
    "cacheTokensDetails": "cache_{}_read_tokens",
}
_OBJECTS: Final[Mapping[str, str]] = {
    "prompt_tokens_details": "input_image_tokens",
    "input_tokens_details": "input_image_tokens",
    "completion_tokens_details": "output_image_tokens",
    "output_tokens_details": "output_image_tokens",
}


def counts(usage: Usage) -> dict[str, int]:
    """Tokens of sound, images and video by the catalogue's names; empty when all is text.

    Counts of what was read from a cache are 0 where the provider lists other kinds there, and missing where
    it lists nothing: then nobody knows how much of it was sound.
    """
    found: dict[str, int] = {}
    if usage.audio_input_tokens:
        found["input_audio_tokens"] = usage.audio_input_tokens
    if usage.audio_output_tokens:
        found["output_audio_tokens"] = usage.audio_output_tokens
    raw = usage.raw
    if raw is None:
        return found
    listed = [_listed(raw, name, key) for name, key in _LISTS.items() if name in raw]
    for each in listed:
        for key, tokens in each.items():
            if "audio" not in key or key in CACHED:  # sound is in the usage already
                found[key] = found.get(key, 0) + tokens
    for name, key in _OBJECTS.items():
        details = raw.get(name)
        if type(details) is dict and (tokens := _count(cast("dict[str, Any]", details).get("image_tokens"))):
            found[key] = tokens
    if found and "cacheTokensDetails" in raw:
        found = dict.fromkeys(CACHED, 0) | found
    return found


def _listed(raw: dict[str, Any], name: str, key: str) -> dict[str, int]:
    found: dict[str, int] = {}
    details = raw[name]
    for item in cast("list[object]", details) if type(details) is list else ():
        if type(item) is not dict:
            continue
        one = cast("dict[str, Any]", item)
        modality = one.get("modality")
        kind = _KIND.get(modality) if type(modality) is str else None
        if kind is not None and (tokens := _count(one.get("tokenCount"))):
            found[key.format(kind)] = found.get(key.format(kind), 0) + tokens
    return found


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
