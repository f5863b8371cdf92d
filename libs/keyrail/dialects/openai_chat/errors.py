"""Errors: a provider's refusal becomes a Failure, and a Failure becomes what an OpenAI client expects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.dialects import json_text
from keyrail.dialects.openai_chat.usage import estimate_usage
from keyrail.dialects.taxonomy import client_status, kind_of, retry_after, status_of_words

__all__ = ["classify", "classify_error", "estimate_usage", "garbage", "render", "render_event"]

_ERROR_BYTES = 16_384
_MESSAGE_CHARS = 2_000
_BODY_BYTES = 1 << 20
_NO_HEADERS: Mapping[str, str] = {}

_CODES: dict[FailureKind, str] = {
    "auth": "provider_auth_failed",
    "no_key": "provider_key_missing",
    "money": "provider_out_of_credit",
    "rate": "rate_limit_exceeded",
    "capacity": "provider_overloaded",
    "server": "provider_error",
    "timeout": "provider_timeout",
    "connection": "provider_unreachable",
    "truncated": "answer_truncated",
    "garbage": "answer_unreadable",
    "context": "context_length_exceeded",
    "model_missing": "model_not_found",
    "policy": "content_policy_violation",
    "cancelled": "request_cancelled",
    "unavailable": "gateway_unavailable",
    "internal": "internal_error",
}
_CALLERS: frozenset[FailureKind] = frozenset({"bad_request", "context", "model_missing", "policy"})
_HOPELESS: frozenset[FailureKind] = frozenset({"auth", "no_key", "money"})
"""Kinds with a status that clients retry, although only the operator can help."""


def classify(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The Failure behind an answer that is not a 200. Header names are lower case.

    A refused or exhausted provider key is the operator's business, not the caller's: the client gets a 502
    with code `provider_auth_failed` or `provider_out_of_credit`, and none of the provider's words on the key.
    """
    return _failure(provider, status, headers, json_text.parse_or_none(body[:_BODY_BYTES]))


def classify_error(provider: str, value: object) -> Failure:
    """The Failure behind an error that came inside a 200: `value` is the whole body or event, decoded."""
    return _failure(provider, 200, _NO_HEADERS, value)


def garbage(provider: str, what: str) -> Failure:
    """The provider did something that this dialect has no name for; `what` goes on after its name."""
    return Failure(
        kind="garbage",
        message=f"{provider} {what}.",
        status=client_status("garbage", None),
        upstream_status=200,
        provider=provider,
    )


def _failure(provider: str, upstream: int, headers: Mapping[str, str], value: object) -> Failure:
    outer = _outer(value)
    own, fields = _fields(outer)
    code, type_ = _word(fields.get("code")), _word(fields.get("type"))
    text = _text(fields)
    words = frozenset(word.lower() for word in (code, type_) if word)
    status = upstream if upstream >= 300 else _inner_status(outer, fields, words)
    kind = kind_of(status, words=words, text=text)
    concealed = kind in ("auth", "money")
    return Failure(
        kind=kind,
        message=_message(provider, kind, status, text),
        status=client_status(kind, status),
        upstream_status=upstream,
        provider=provider,
        code=_CODES[kind] if concealed else code,
        param=None if concealed else _word(fields.get("param")),
        retry_after_s=retry_after(headers, text),
        error=None if concealed or not own else json_text.small_object(fields, _ERROR_BYTES),
    )


def _outer(value: object) -> dict[str, Any]:
    if type(value) is list and value:
        value = cast(list[object], value)[0]
    return cast(dict[str, Any], value) if type(value) is dict else {}


def _fields(outer: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Where message, code, type and param are, and whether that is an OpenAI error object."""
    for holder in (outer, outer.get("x_groq")):
        error: object = cast(dict[str, Any], holder).get("error") if type(holder) is dict else None
        if type(error) is dict:
            fields = cast(dict[str, Any], error)
            return type(fields.get("message")) is str, fields
        if type(error) is str:
            return False, {**outer, "message": error}
    return False, outer


def _text(fields: dict[str, Any]) -> str:
    """The message, wherever it is: text, or a list of problems as FastAPI-like servers give it."""
    for name in ("message", "detail"):
        value: object = fields.get(name)
        if type(value) is dict:
            value = cast(dict[str, object], value).get("detail")
        if type(value) is list:
            problems = cast(list[object], value)[:8]
            value = "; ".join(filter(None, map(_problem, problems)))
        if type(value) is str and value:
            return value[:_MESSAGE_CHARS]
    return ""


def _problem(value: object) -> str:
    if type(value) is not dict:
        return value if type(value) is str else ""
    problem = cast(dict[str, object], value)
    place = problem.get("loc")
    where = ".".join(str(step) for step in cast(list[object], place)[:8]) if type(place) is list else ""
    return f"{where}: {problem.get('msg')}" if where else str(problem.get("msg"))


def _word(value: object) -> str | None:
    if type(value) is int:
        return str(value)
    return value[:256] if type(value) is str and value else None


def _inner_status(outer: dict[str, Any], fields: dict[str, Any], words: frozenset[str]) -> int:
    for value in (fields.get("status_code"), outer.get("status_code"), fields.get("code")):
        if type(value) is int and 400 <= value < 600:
            return value
    if type(outer.get("error")) is str and not words & {"invalid_request_error"}:
        return 503  # xAI: a 200 with a bare sentence is a service that is not available
    return status_of_words(words)


def _message(provider: str, kind: FailureKind, status: int, text: str) -> str:
    if kind == "auth":
        return f"{provider} refused the provider key it was called with."
    if kind == "money":
        return f"The account behind the provider key at {provider} has no credit left or is over its limit."
    return text or f"{provider} answered with status {status} and no message."


def render(failure: Failure) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of an error answer. The provider's own error object goes through as is."""
    headers = [("content-type", "application/json")]
    if failure.retry_after_s is not None:
        headers.append(("retry-after", str(math.ceil(failure.retry_after_s))))
    if failure.kind in _HOPELESS:
        headers.append(("x-should-retry", "false"))
    return failure.status, headers, json_text.dump({"error": _object(failure)})


def render_event(failure: Failure) -> bytes:
    """The error as an event of a stream that has begun; official clients raise it as an API error."""
    return b'data: {"error":' + json_text.dump(_object(failure)) + b"}\n\n"


def _object(failure: Failure) -> dict[str, Any]:
    if failure.error is not None:
        return failure.error
    return {
        "message": failure.message,
        "type": _type(failure.kind),
        "param": failure.param,
        "code": failure.code or _CODES.get(failure.kind),
    }


def _type(kind: FailureKind) -> str:
    if kind in _CALLERS:
        return "invalid_request_error"
    return "rate_limit_error" if kind == "rate" else "api_error"
