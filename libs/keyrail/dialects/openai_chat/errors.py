"""Errors: a provider's refusal becomes a Failure, and a Failure becomes what an OpenAI client expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.counts import estimate_usage
from keyrail.dialects.failures import (
    BODY_BYTES,
    Told,
    code_of,
    failure_of,
    garbage,
    headers_of,
    text_of,
    truncated,
    type_of,
    word,
)
from keyrail.dialects.taxonomy import status_of_words

__all__ = ["classify", "classify_error", "estimate_usage", "garbage", "render", "render_event", "truncated"]

_NO_HEADERS: Mapping[str, str] = {}


def classify(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The Failure behind an answer that is not a 200. Header names are lower case.

    A refused or exhausted provider key is the operator's business, not the caller's: the client gets a 502
    with code `provider_auth_failed` or `provider_out_of_credit`, and none of the provider's words on the key.
    """
    return _failure(provider, status, headers, json_text.parse_or_none(body[:BODY_BYTES]))


def classify_error(provider: str, value: object) -> Failure:
    """The Failure behind an error that came inside a 200: `value` is the whole body or event, decoded."""
    return _failure(provider, 200, _NO_HEADERS, value)


def _failure(provider: str, upstream: int, headers: Mapping[str, str], value: object) -> Failure:
    outer = _outer(value)
    own, fields = _fields(outer)
    told = Told(
        text=text_of(fields),
        code=word(fields.get("code")),
        type=word(fields.get("type")),
        param=word(fields.get("param")),
        error=fields if own else None,
    )
    status = upstream if upstream >= 300 else _inner_status(outer, fields, told.signals())
    if quoted := _quoted_headers(fields):
        headers = {**quoted, **headers}
    return failure_of(provider, told, upstream=upstream, status=status, headers=headers)


def _quoted_headers(fields: dict[str, Any]) -> dict[str, str]:
    """Headers that OpenRouter puts into the error itself, among them when its quota of a day begins anew."""
    metadata = fields.get("metadata")
    quoted: object = cast("dict[str, Any]", metadata).get("headers") if type(metadata) is dict else None
    if type(quoted) is not dict:
        return {}
    found = list(cast("dict[str, object]", quoted).items())[:32]
    return {name.lower(): value for name, value in found if type(value) is str}


def _outer(value: object) -> dict[str, Any]:
    if type(value) is list and value:
        value = cast("list[object]", value)[0]
    return cast("dict[str, Any]", value) if type(value) is dict else {}


def _fields(outer: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Where message, code, type and param are, and whether that is an OpenAI error object."""
    for holder in (outer, outer.get("x_groq")):
        error: object = cast("dict[str, Any]", holder).get("error") if type(holder) is dict else None
        if type(error) is dict:
            fields = cast("dict[str, Any]", error)
            return type(fields.get("message")) is str, fields
        if type(error) is str:
            return False, {**outer, "message": error}
    return False, outer


def _inner_status(outer: dict[str, Any], fields: dict[str, Any], words: frozenset[str]) -> int:
    for value in (fields.get("status_code"), outer.get("status_code"), fields.get("code")):
        if type(value) is int and 400 <= value < 600:
            return value
    if type(outer.get("error")) is str and not words & {"invalid_request_error"}:
        return 503  # xAI: a 200 with a bare sentence is a service that is not available
    return status_of_words(words)


def render(failure: Failure) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of an error answer. The provider's own error object goes through as is."""
    return failure.status, headers_of(failure), json_text.dump({"error": _object(failure)})


def render_event(failure: Failure) -> bytes:
    """The error as an event of a stream that has begun; official clients raise it as an API error."""
    return b'data: {"error":' + json_text.dump(_object(failure)) + b"}\n\n"


def _object(failure: Failure) -> dict[str, Any]:
    if failure.error is not None and failure.error_dialect == "openai-chat":
        return failure.error
    return {
        "message": failure.message,
        "type": type_of(failure),
        "param": failure.param,
        "code": code_of(failure),
    }
