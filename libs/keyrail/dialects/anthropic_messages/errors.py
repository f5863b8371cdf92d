"""Errors: a provider's refusal becomes a Failure, and a Failure becomes what an Anthropic client expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.failures import BODY_BYTES, Told, failure_of, headers_of, text_of, word
from keyrail.dialects.taxonomy import status_of_words

DIALECT = "anthropic-messages"

_OVERLOADED = 529
_NO_HEADERS: Mapping[str, str] = {}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    _OVERLOADED: "overloaded_error",
}
_TOO_LONG = "prompt is too long"


def classify(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The Failure behind an answer that is not a 200. Header names are lower case.

    A refused or exhausted provider key is the operator's business, not the caller's: the client gets a 502
    and none of the provider's words on the key.
    """
    return _failure(provider, status, headers, json_text.parse_or_none(body[:BODY_BYTES]))


def classify_error(provider: str, value: object) -> Failure:
    """The Failure behind an error that came inside a 200: `value` is the whole body or event, decoded."""
    return _failure(provider, 200, _NO_HEADERS, value)


def _failure(provider: str, upstream: int, headers: Mapping[str, str], value: object) -> Failure:
    outer = cast("dict[str, Any]", value) if type(value) is dict else {}
    error = outer.get("error")
    if type(error) is str:
        fields: dict[str, Any] = {**outer, "message": error}
    else:
        fields = cast("dict[str, Any]", error) if type(error) is dict else outer
    own = outer.get("type") == "error" and type(error) is dict and type(fields.get("message")) is str
    details = fields.get("details")
    reason = word(cast("dict[str, Any]", details).get("error_code")) if type(details) is dict else None
    told = Told(
        text=text_of(fields),
        code=reason or word(fields.get("code")) or word(fields.get("type")),
        type=word(fields.get("type")),
        param=word(fields.get("param")),
        words=_words(reason),
        error=outer if own else None,
        dialect=DIALECT,
    )
    status = upstream if upstream >= 300 else status_of_words(told.signals())
    return failure_of(provider, told, upstream=upstream, status=status, headers=headers)


def _words(reason: str | None) -> frozenset[str]:
    if reason is not None and reason.startswith("linked_organization_"):
        return frozenset({"organization_on_hold"})  # by that name the taxonomy knows that money is missing
    return frozenset()


def render(failure: Failure) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of an error answer. The provider's own body goes through as it is."""
    return _status(failure), headers_of(failure), json_text.dump(_body(failure))


def render_event(failure: Failure) -> bytes:
    """The error as an event of a stream that has begun; official clients raise it as an API error."""
    return b"event: error\ndata: " + json_text.dump(_body(failure)) + b"\n\n"


def _status(failure: Failure) -> int:
    """529 tells clients of this dialect to come back later, on their own or at another place."""
    return _OVERLOADED if failure.kind == "capacity" else failure.status


def _body(failure: Failure) -> dict[str, Any]:
    if failure.error is not None and failure.error_dialect == DIALECT:
        return failure.error
    status = _status(failure)
    usual = "invalid_request_error" if 400 <= status < 500 else "api_error"
    return {"type": "error", "error": {"type": _TYPES.get(status, usual), "message": _message(failure)}}


def _message(failure: Failure) -> str:
    """The message, which has to say all: there is no field for a parameter."""
    message = failure.message
    if failure.kind == "context" and _TOO_LONG not in message.lower():
        return f"{_TOO_LONG}: {message}"  # agents look for these words before they compact their history
    if failure.param and failure.param not in message:
        return f"{failure.param}: {message}"
    return message
