"""Google's error object; the time to wait is in its details."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail_sandbox.ask import Kind, Refusal, Reply

_DAILY_WAIT_S = 8 * 3600
_TYPE = "type.googleapis.com/google.rpc."

# status: (name, message)
_BY_STATUS: dict[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "The request has no valid credentials."),
    403: ("PERMISSION_DENIED", "This key may not do that."),
    404: ("NOT_FOUND", "There is no such model."),
    409: ("ABORTED", "The request was aborted."),
    429: ("RESOURCE_EXHAUSTED", "The quota is used up."),
    499: ("CANCELLED", "The request was cancelled."),
    501: ("UNIMPLEMENTED", "There is no such operation."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request took too long."),
}
# kind: (status, name, message)
_BY_KIND: dict[Kind, tuple[int, str, str]] = {
    "auth": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "money": (402, "FAILED_PRECONDITION", "The prepaid credits are used up."),
    "rate": (429, "RESOURCE_EXHAUSTED", "The quota of requests per minute is used up."),
    "daily": (429, "RESOURCE_EXHAUSTED", "The quota of requests per day is used up."),
    "capacity": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "server": (500, "INTERNAL", "An internal error has occurred."),
    "context": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "missing": (404, "NOT_FOUND", "models/{model} is not found, or does not support this method."),
    "bad-request": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "policy": (400, "INVALID_ARGUMENT", "The request goes against the usage policy."),
    "too-large": (400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
}


def error(refusal: Refusal) -> Reply:
    """The answer to a refused request."""
    body = error_object(refusal)
    return Reply(body["error"]["code"], msgspec.json.encode(body))


def error_object(refusal: Refusal) -> dict[str, Any]:
    """The body of an error."""
    if refusal.extra is not None:
        status, name, message = 400, "INVALID_ARGUMENT", _no_field(refusal.extra)
    elif refusal.kind is not None:
        status, name, message = _BY_KIND[refusal.kind]
        message = message.format(model=refusal.model)
    else:
        status = refusal.status
        fallback = ("INVALID_ARGUMENT", "Refused.") if status < 500 else ("INTERNAL", "An internal error.")
        name, message = _BY_STATUS.get(status, fallback)
    error: dict[str, Any] = {"code": status, "message": refusal.message or message, "status": name}
    if details := _details(refusal, status):
        error["details"] = details
    return {"error": error}


def _no_field(name: str) -> str:
    return f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'


def _details(refusal: Refusal, status: int) -> list[dict[str, Any]]:
    if refusal.kind == "auth":
        info = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        return [{"@type": _TYPE + "ErrorInfo", **info, "metadata": {}}]
    wait = refusal.retry_after_s
    if wait is None and status == 429 and refusal.hint:
        wait = _DAILY_WAIT_S if refusal.kind == "daily" else 1
    details: list[dict[str, Any]] = []
    if refusal.kind in ("rate", "daily"):
        period = "PerDay" if refusal.kind == "daily" else "PerMinute"
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
            "quotaId": f"GenerateRequests{period}PerProjectPerModel",
            "quotaDimensions": {"model": refusal.model or "", "location": "global"},
            "quotaValue": "10",
        }
        details.append({"@type": _TYPE + "QuotaFailure", "violations": [violation]})
    if wait is not None:
        details.append({"@type": _TYPE + "RetryInfo", "retryDelay": f"{wait}s"})
    return details
