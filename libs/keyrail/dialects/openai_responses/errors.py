"""Errors: a provider's refusal or failed response becomes a Failure, and a Failure what a client expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text, sse
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
from keyrail.dialects.openai_responses import envelope
from keyrail.dialects.taxonomy import retry_after, status_of_words

__all__ = ["classify", "classify_error", "garbage", "render", "render_event", "truncated"]

DIALECT = "openai-responses"
_NO_HEADERS: Mapping[str, str] = {}
_LAST = 2**31 - 1
"""The sequence number of an error's events: whoever writes them does not know how many there were before."""


def classify(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The Failure behind an answer that is not a 200. Header names are lower case.

    A refused or exhausted provider key is the operator's business, not the caller's: the client gets a 502
    with code `provider_auth_failed` or `provider_out_of_credit`, and none of the provider's words on the key.
    """
    return _failure(provider, status, headers, json_text.parse_or_none(body[:BODY_BYTES]))


def classify_error(provider: str, value: object) -> Failure:
    """The Failure behind an error inside a 200.

    `value`, decoded: a body or an event with an `error`, an event that is an error itself, or a response
    that failed.
    """
    return _failure(provider, 200, _NO_HEADERS, value)


def _failure(provider: str, upstream: int, headers: Mapping[str, str], value: object) -> Failure:
    outer = _outer(value)
    own, fields = _fields(outer)
    type_ = word(fields.get("type"))
    told = Told(
        text=text_of(fields),
        code=word(fields.get("code")),
        type=None if type_ == "error" else type_,  # "error" is the event's name, not the kind of the error
        param=word(fields.get("param")),
        error=fields if own else None,
        dialect=DIALECT,
    )
    status = upstream if upstream >= 300 else _inner_status(outer, fields, told.signals())
    return failure_of(provider, told, upstream=upstream, status=status, headers=headers)


def _outer(value: object) -> dict[str, Any]:
    if type(value) is list and value:
        value = cast("list[object]", value)[0]
    return cast("dict[str, Any]", value) if type(value) is dict else {}


def _fields(outer: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Where message, code, type and param are, and whether that is an error object as HTTP answers have."""
    response = outer.get("response")
    for holder in (outer, response):
        error: object = cast("dict[str, Any]", holder).get("error") if type(holder) is dict else None
        if type(error) is dict:
            fields = cast("dict[str, Any]", error)
            return type(fields.get("message")) is str and type(fields.get("type")) is str, fields
        if type(error) is str:
            return False, {**outer, "message": error}
    return False, outer


def _inner_status(outer: dict[str, Any], fields: dict[str, Any], words: frozenset[str]) -> int:
    for value in (
        fields.get("status_code"),
        outer.get("status_code"),
        outer.get("status"),
        fields.get("code"),
    ):
        if type(value) is int and 400 <= value < 600:
            return value
    if type(outer.get("error")) is str and not words & {"invalid_request_error"}:
        return 503  # xAI: a 200 with a bare sentence is a service that is not available
    return status_of_words(words)


def render(failure: Failure) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of an error answer. The provider's own error object goes through as is."""
    return failure.status, headers_of(failure), json_text.dump({"error": _object(failure)})


def render_event(failure: Failure) -> bytes:
    """The end of a stream that has begun, as two events.

    OpenAI's clients raise at the first (`error`), others read only the second (`response.failed`).
    """
    error = _object(failure)
    message = error.get("message") or failure.message
    first = {
        "type": "error",
        "sequence_number": _LAST,
        "code": error.get("code"),
        "message": message,
        "param": error.get("param"),
        "error": error,
    }
    second = {
        "type": "response.failed",
        "sequence_number": _LAST,
        "response": envelope.response(
            envelope.Head(id="resp_failed", created=0, model=""),
            status="failed",
            error={"code": error.get("code") or "server_error", "message": _with_wait(failure, message)},
        ),
    }
    return sse.event(json_text.dump(first), b"error") + sse.event(json_text.dump(second), b"response.failed")


def _with_wait(failure: Failure, message: str) -> str:
    """A stream has no retry-after: clients look for the seconds in the message."""
    if failure.retry_after_s is None or retry_after(_NO_HEADERS, message) is not None:
        return message
    return f"{message} Please try again in {failure.retry_after_s:.3f}s."


def _object(failure: Failure) -> dict[str, Any]:
    if failure.error is not None and failure.error_dialect == DIALECT:
        return failure.error
    return {
        "message": failure.message,
        "type": type_of(failure),
        "param": failure.param,
        "code": code_of(failure),
    }
