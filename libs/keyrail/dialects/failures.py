"""What the errors of all dialects share: how a refusal becomes a Failure, and what of it clients may see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure, FailureKind
from keyrail.dialects import json_text, rate_windows
from keyrail.dialects.taxonomy import (
    DAILY_QUOTA,
    client_status,
    daily_quota,
    kind_of,
    only_here,
    retry_after,
)

BODY_BYTES = 1 << 20
"""Bytes of an error's body that are looked at."""

_ERROR_BYTES = 16_384
_MESSAGE_CHARS = 2_000
_WORD_CHARS = 256
_NO_HEADERS: Mapping[str, str] = {}

CODES: dict[FailureKind, str] = {
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
    "denied": "model_not_allowed",
    "budget": "budget_exceeded",
    "cancelled": "request_cancelled",
    "unavailable": "gateway_unavailable",
    "internal": "internal_error",
}
"""The code of a failure that has none of its own."""

_LOOKED_FOR: frozenset[FailureKind] = frozenset({"context"})
"""Kinds whose code clients look for, whatever a provider of another dialect calls them."""

CALLERS: frozenset[FailureKind] = frozenset({"bad_request", "context", "model_missing", "policy", "denied"})
"""Kinds that the caller can do something about."""

_HOPELESS: frozenset[FailureKind] = frozenset({"auth", "no_key", "money", "budget"})
"""Kinds with a status that clients retry, although only the operator can help, or the next day."""

_TYPES: dict[FailureKind, str] = {
    **dict.fromkeys(CALLERS, "invalid_request_error"),
    "rate": "rate_limit_error",
    "budget": "insufficient_quota",
}


def garbage(provider: str, what: str) -> Failure:
    """The provider did something that its dialect has no name for; `what` goes on after its name."""
    return Failure(
        kind="garbage",
        message=f"{provider} {what}.",
        status=client_status("garbage", None),
        upstream_status=200,
        provider=provider,
    )


def truncated(provider: str) -> Failure:
    """The provider's answer ended before it was whole."""
    return Failure(
        kind="truncated",
        message=f"The answer of {provider} broke off before its end.",
        status=client_status("truncated", None),
        upstream_status=200,
        provider=provider,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a provider says of a refusal.

    `error` is its own object where that is in the shape of `dialect`. `words` are signals for the taxonomy
    beside `code` and `type`, in lower case.
    """

    text: str
    code: str | None = None
    type: str | None = None
    param: str | None = None
    words: frozenset[str] = frozenset()
    error: dict[str, Any] | None = None
    dialect: str = "openai-chat"

    def signals(self) -> frozenset[str]:
        """Code, type and words together."""
        return self.words | {word.lower() for word in (self.code, self.type) if word}


def failure_of(
    provider: str, told: Told, *, upstream: int, status: int, headers: Mapping[str, str] = _NO_HEADERS
) -> Failure:
    """The Failure behind a provider's refusal. Header names are lower case.

    `upstream` is the answer's status, `status` what it would be had the error not come inside a 200. A
    refused or exhausted provider key is the operator's business: of that the client sees a code of this
    gateway and none of the provider's words.
    """
    kind = kind_of(status, words=told.signals(), text=told.text)
    concealed = kind in ("auth", "money")
    code = CODES[kind] if concealed else told.code
    wait_s = retry_after(headers, told.text)
    if kind == "rate":
        at_ms = now_ms()
        wait_s = rate_windows.wait_s(wait_s, headers, at_ms)
        if daily_quota(headers, words=told.signals(), text=told.text):
            code = DAILY_QUOTA
            wait_s = rate_windows.quota_wait_s(headers, told.text, at_ms) if wait_s is None else wait_s
    return Failure(
        kind=kind,
        message=_message(provider, kind, status, told.text),
        status=client_status(kind, status),
        upstream_status=upstream,
        provider=provider,
        code=code,
        param=None if concealed else told.param,
        retry_after_s=wait_s,
        error=None if concealed or told.error is None else json_text.small_object(told.error, _ERROR_BYTES),
        error_dialect=told.dialect,
        only_here=only_here(kind, status, words=told.signals(), text=told.text),
    )


def type_of(failure: Failure) -> str:
    """The type of a failure in OpenAI's dialects. Without a provider the caller's own key is refused."""
    if failure.kind == "auth" and failure.provider is None:
        return "invalid_request_error"
    return _TYPES.get(failure.kind, "api_error")


def code_of(failure: Failure) -> str | None:
    """The code of a failure for OpenAI's clients, in whose dialects it is a field."""
    if failure.kind in _LOOKED_FOR:
        return CODES[failure.kind]
    return failure.code or CODES.get(failure.kind)


def _message(provider: str, kind: FailureKind, status: int, text: str) -> str:
    if kind == "auth":
        return f"{provider} refused the provider key it was called with."
    if kind == "money":
        return f"The account behind the provider key at {provider} has no credit left or is over its limit."
    return text or f"{provider} answered with status {status} and no message."


def word(value: object) -> str | None:
    """A code or a type as text; numbers too."""
    if type(value) is int:
        return str(value)
    return value[:_WORD_CHARS] if type(value) is str and value else None


def text_of(fields: dict[str, Any]) -> str:
    """The message, wherever it is: text, or a list of problems as FastAPI-like servers give it."""
    for name in ("message", "detail"):
        value: object = fields.get(name)
        if type(value) is dict:
            value = cast("dict[str, object]", value).get("detail")
        if type(value) is list:
            problems = cast("list[object]", value)[:8]
            value = "; ".join(filter(None, map(_problem, problems)))
        if type(value) is str and value:
            return value[:_MESSAGE_CHARS]
    return ""


def _problem(value: object) -> str:
    if type(value) is not dict:
        return value if type(value) is str else ""
    problem = cast("dict[str, object]", value)
    place = problem.get("loc")
    where = ".".join(str(step) for step in cast("list[object]", place)[:8]) if type(place) is list else ""
    return f"{where}: {problem.get('msg')}" if where else str(problem.get("msg"))


def headers_of(failure: Failure) -> list[tuple[str, str]]:
    """The headers of an error answer in JSON."""
    headers = [("content-type", "application/json")]
    if failure.retry_after_s is not None:
        headers.append(("retry-after", str(math.ceil(failure.retry_after_s))))
    if failure.kind in _HOPELESS:
        headers.append(("x-should-retry", "false"))
    return headers
