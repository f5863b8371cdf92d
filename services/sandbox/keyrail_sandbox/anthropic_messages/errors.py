"""Anthropic's error object."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail_sandbox.ask import Kind, Refusal, Reply, fingerprint

_DAILY_WAIT_S = 8 * 3600
_INVALID = "invalid_request_error"
_RATE = "rate_limit_error"

# status: (type, message)
_BY_STATUS: dict[int, tuple[str, str]] = {
    401: ("authentication_error", "The API key is not valid."),
    402: ("billing_error", "There is a problem with the payment."),
    403: ("permission_error", "This key may not do that."),
    404: ("not_found_error", "There is no such thing."),
    413: ("request_too_large", "The request is too large."),
    429: (_RATE, "The rate limit is reached."),
    504: ("timeout_error", "The request took too long."),
    529: ("overloaded_error", "Overloaded"),
}
# kind: (status, type, message)
_BY_KIND: dict[Kind, tuple[int, str, str]] = {
    "auth": (401, "authentication_error", "invalid x-api-key"),
    "money": (400, _INVALID, "Your credit balance is too low to call the API."),
    "rate": (429, _RATE, "This request would exceed the limit of requests per minute."),
    "daily": (429, _RATE, "This request would exceed the limit of tokens per day."),
    "capacity": (529, "overloaded_error", "Overloaded"),
    "server": (500, "api_error", "Internal server error"),
    "context": (400, _INVALID, "prompt is too long: 250000 tokens > 200000 maximum"),
    "missing": (404, "not_found_error", "model: {model}"),
    "bad-request": (400, _INVALID, "The request is not valid."),
    "policy": (400, _INVALID, "Output blocked by content filtering policy"),
    "too-large": (413, "request_too_large", "Request exceeds the maximum size"),
}


def error(refusal: Refusal) -> Reply:
    """The answer to a refused request. A 429 says `retry-after`, one second when nothing else is said."""
    status, body = _status(refusal), error_object(refusal)
    wait = refusal.retry_after_s
    if wait is None and status == 429 and refusal.hint:
        wait = _DAILY_WAIT_S if refusal.kind == "daily" else 1
    headers: list[tuple[bytes, bytes]] = []
    if wait is not None:
        headers.append((b"retry-after", b"%d" % wait))
    if refusal.kind in ("rate", "daily"):
        headers.append((b"anthropic-ratelimit-requests-remaining", b"0"))
    return Reply(status, msgspec.json.encode(body), tuple(headers))


def error_object(refusal: Refusal) -> dict[str, Any]:
    """The body; its request id is a function of what it says."""
    if refusal.extra is not None:
        kind, message = _INVALID, f"{refusal.extra}: Extra inputs are not permitted"
    elif refusal.kind is not None:
        _, kind, message = _BY_KIND[refusal.kind]
        message = message.format(model=refusal.model)
    else:
        fallback = (_INVALID, "Refused.") if refusal.status < 500 else ("api_error", "Internal server error")
        kind, message = _BY_STATUS.get(refusal.status, fallback)
    message = refusal.message or message
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": f"req_{fingerprint(message.encode())}",
    }


def _status(refusal: Refusal) -> int:
    if refusal.extra is not None:
        return 400
    return refusal.status if refusal.kind is None else _BY_KIND[refusal.kind][0]
