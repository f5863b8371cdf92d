"""OpenAI's error object, as chat, responses and embeddings give it."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail_sandbox.ask import Kind, Refusal, Reply

DAILY_WAIT_S = 8 * 3600
_INVALID = "invalid_request_error"

# status: (type, code, message)
_BY_STATUS: dict[int, tuple[str, str | None, str]] = {
    400: (_INVALID, "invalid_value", "The request is not valid."),
    401: (_INVALID, "invalid_api_key", "The API key is not correct."),
    403: ("request_forbidden", "forbidden", "This key may not do that."),
    404: (_INVALID, "model_not_found", "There is no such model."),
    429: ("requests", "rate_limit_exceeded", "The rate limit is reached."),
    500: ("server_error", None, "The sandbox failed, as it was asked to."),
    502: ("server_error", None, "Bad gateway."),
    503: ("server_error", "server_is_overloaded", "The sandbox is overloaded, as it was asked to be."),
    529: ("overloaded_error", "server_is_overloaded", "Overloaded."),
}
# kind: (status, type, code, message, param)
_BY_KIND: dict[Kind, tuple[int, str, str | None, str, str | None]] = {
    "auth": (401, _INVALID, "invalid_api_key", "The API key is not correct.", None),
    "money": (429, "insufficient_quota", "insufficient_quota", "No credit is left on this account.", None),
    "rate": (
        429,
        "requests",
        "rate_limit_exceeded",
        "The limit on requests per minute (RPM) is reached. Please try again in {wait}s.",
        None,
    ),
    "daily": (
        429,
        "requests",
        "rate_limit_exceeded",
        "The limit on requests per day (RPD) is reached. Please try again in {wait}s.",
        None,
    ),
    "capacity": (503, "server_error", "server_is_overloaded", "The model is overloaded. Try later.", None),
    "server": (500, "server_error", None, "The sandbox failed, as it was asked to.", None),
    "context": (
        400,
        _INVALID,
        "context_length_exceeded",
        "The messages are longer than the model's context.",
        "messages",
    ),
    "missing": (404, _INVALID, "model_not_found", "The model '{model}' does not exist.", "model"),
    "bad-request": (400, _INVALID, "invalid_value", "The request is not valid.", None),
    "policy": (
        400,
        _INVALID,
        "content_policy_violation",
        "The prompt was flagged by the safety system.",
        None,
    ),
    "too-large": (413, _INVALID, None, "The request is too large.", None),
}
_encode = msgspec.json.encode


def error(refusal: Refusal) -> Reply:
    """The answer to a refused request. 429 and 503 say `retry-after: 1`, but for want of money nothing.

    A field that is not taken is refused as Cerebras does (400, a flat body), or Mistral (422).
    """
    if refusal.extra is not None:
        return Reply(refusal.status, _extra_field(refusal.extra, detailed=refusal.detailed))
    if refusal.kind is None:
        status, fields = refusal.status, _of_status(refusal)
    else:
        status, fields = _of_kind(refusal.kind, refusal)
    return Reply(status, _encode({"error": fields}), _headers(status, refusal))


def fields(refusal: Refusal) -> dict[str, Any]:
    """What the error object holds."""
    return _of_status(refusal) if refusal.kind is None else _of_kind(refusal.kind, refusal)[1]


def _of_status(refusal: Refusal) -> dict[str, Any]:
    fallback = (_INVALID if refusal.status < 500 else "server_error", None, "Refused.")
    kind, code, message = _BY_STATUS.get(refusal.status, fallback)
    return {
        "message": refusal.message or message,
        "type": kind,
        "param": refusal.param,
        "code": refusal.code or code,
    }


def _of_kind(kind: Kind, refusal: Refusal) -> tuple[int, dict[str, Any]]:
    status, type_, code, message, param = _BY_KIND[kind]
    said = message.format(model=refusal.model, wait=_wait(refusal))
    return status, {
        "message": refusal.message or said,
        "type": type_,
        "param": refusal.param or param,
        "code": refusal.code or code,
    }


def _wait(refusal: Refusal) -> int:
    if refusal.retry_after_s is not None:
        return refusal.retry_after_s
    return DAILY_WAIT_S if refusal.kind == "daily" else 1


def _headers(status: int, refusal: Refusal) -> tuple[tuple[bytes, bytes], ...]:
    said = refusal.retry_after_s is not None
    if not refusal.hint:
        return ()
    if not said and (status not in (429, 503) or refusal.kind == "money"):
        return ()
    wait = _wait(refusal)
    headers = ((b"retry-after", b"%d" % wait),)
    if refusal.kind not in ("rate", "daily"):
        return headers
    return (
        *headers,
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"%ds" % wait),
    )


def _extra_field(name: str, *, detailed: bool) -> bytes:
    if not detailed:
        message = f"body.{name}: property 'body.{name}' is unsupported"
        return _encode({"message": message, "type": _INVALID, "param": name, "code": "wrong_api_format"})
    problem = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
    return _encode(
        {
            "object": "error",
            "message": {"detail": [problem]},
            "type": _INVALID,
            "param": None,
            "code": None,
        }
    )
