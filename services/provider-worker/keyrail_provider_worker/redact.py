"""Keeps a provider key's value out of what a provider says about it. Pure.

Only this service knows the value, so that only it can tell whether a provider quotes it.
"""

from __future__ import annotations

from typing import cast

from keyrail.contracts.base import Json
from keyrail.contracts.failures import Failure

REDACTED = "[redacted]"
SHORTEST = 8
"""A key's beginning of so many characters counts as the key where a text was cut within it."""


def failure(what: Failure, key: str) -> Failure:
    """The failure without the key's value, wherever the provider's words have it."""
    return what.replace(
        message=text(what.message, key),
        code=text(what.code, key) if what.code else what.code,
        param=text(what.param, key) if what.param else what.param,
        error=cast("dict[str, Json] | None", _value(what.error, key)),
    )


def text(words: str, key: str) -> str:
    """The text without the key's value. An empty key is in no text."""
    if not key:
        return words
    words = words.replace(key, REDACTED)
    for length in range(len(key) - 1, SHORTEST - 1, -1):
        if words.endswith(key[:length]):
            return words[:-length] + REDACTED
    return words


def _value(value: Json, key: str) -> Json:
    if isinstance(value, str):
        return text(value, key)
    if isinstance(value, list):
        return [_value(item, key) for item in value]
    if isinstance(value, dict):
        return {text(name, key): _value(item, key) for name, item in value.items()}
    return value
