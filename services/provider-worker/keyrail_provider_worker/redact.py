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


def redact(failure: Failure, key: str) -> Failure:
    """The failure without the key's value, wherever the provider's words have it."""
    return failure.replace(
        message=_text(failure.message, key),
        code=_text(failure.code, key) if failure.code else failure.code,
        param=_text(failure.param, key) if failure.param else failure.param,
        error=cast("dict[str, Json] | None", _value(failure.error, key)),
    )


def _value(value: Json, key: str) -> Json:
    if isinstance(value, str):
        return _text(value, key)
    if isinstance(value, list):
        return [_value(item, key) for item in value]
    if isinstance(value, dict):
        return {_text(name, key): _value(item, key) for name, item in value.items()}
    return value


def _text(text: str, key: str) -> str:
    text = text.replace(key, REDACTED)
    for length in range(len(key) - 1, SHORTEST - 1, -1):
        if text.endswith(key[:length]):
            return text[:-length] + REDACTED
    return text
