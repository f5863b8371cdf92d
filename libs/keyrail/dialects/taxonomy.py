"""Which kind of failure a provider's refusal is, by its status, codes and words, in any dialect.

A spent quota is of kind `rate`, whatever its window. One of a day or a month, which no short wait helps,
carries the code DAILY_QUOTA, so that its key can be left alone until it begins anew. It shows by Gemini's
quotaId `...PerDay...`, by the words "per day", "per month", RPD or TPD in a message (Groq, OpenAI,
OpenRouter's free-models-per-day), or by a header that says nothing remains for the day or the month
(Cerebras' requests-day, Mistral's tokens-month).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import FailureKind

_MONEY_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_disabled",
        "billing_error",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "organization_on_hold",
    }
)
_MONEY_TEXT = re.compile(
    r"credit balance is too low|used all available credits|monthly spending limit"
    r"|insufficient (credits|balance|funds)|can only afford|out of credits?\b"
    r"|enable billing|prepay(ment)? (credits?|balance) (is|are) (depleted|exhausted|used up)",
    re.IGNORECASE,
)
_AUTH_CODES = frozenset({"invalid_api_key", "api_key_invalid", "authentication_error", "account_deactivated"})
_AUTH_TEXT = re.compile(
    r"(incorrect|invalid|expired|missing|no) api[ _-]?key|api key (not valid|is invalid|expired)"
    r"|user location is not supported",  # where the key may be used from
    re.IGNORECASE,
)
_CONTEXT_CODES = frozenset({"context_length_exceeded"})
_CONTEXT_TEXT = re.compile(
    r"maximum context length|reduce the length of the messages|prompt is too long"
    r"|exceeds the maximum number of tokens|too large for model|context (window|length) exceeded"
    r"|exceeds? the (model's )?context|exceeds? context limit",
    re.IGNORECASE,
)
_POLICY_CODES = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "moderation_blocked",
        "cyber_policy_violation",
        "cyber_policy",
        "bio_policy",
        "misalignment_policy_violation",
        "image_content_policy_violation",
    }
)
_POLICY_TEXT = re.compile(
    r"requires moderation|was flagged|usage policy|content filtering policy", re.IGNORECASE
)
_MISSING_CODES = frozenset({"model_not_found", "model_decommissioned", "model_not_active"})
_CAPACITY_CODES = frozenset(
    {
        "server_is_overloaded",
        "overloaded_error",
        "overloaded",
        "queue_exceeded",
        "3505",
        "service_unavailable",
    }
)
_CAPACITY_TEXT = re.compile(r"model (is )?busy|overloaded|capacity exceeded|at capacity", re.IGNORECASE)

_STATUS_OF_WORD = {
    "server_error": 500,
    "internal_server_error": 500,
    "api_error": 500,
    "overloaded_error": 529,
    "timeout_error": 504,
    "billing_error": 402,
    "request_too_large": 413,
    "conflict_error": 409,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "rate_limited": 429,
    "too_many_requests_error": 429,
    "requests": 429,
    "tokens": 429,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "unauthenticated": 401,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "not_found": 404,
    "aborted": 409,
    "resource_exhausted": 429,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "model_not_found": 404,
    "not_found_error": 404,
}

_STATUS_OF_WORD.update(
    dict.fromkeys(
        (  # why a response failed: the Responses API says it by these alone
            "context_length_exceeded",
            "invalid_prompt",
            "content_filter",
            "data_residency_mismatch",
            "invalid_image",
            "invalid_image_format",
            "invalid_base64_image",
            "invalid_image_url",
            "image_too_large",
            "image_too_small",
            "image_parse_error",
            "invalid_image_mode",
            "image_file_too_large",
            "unsupported_image_media_type",
            "empty_image_file",
            "failed_to_download_image",
            "image_file_not_found",
            *_POLICY_CODES,
        ),
        400,
    )
)
_STATUS_OF_WORD.update({"slow_down": 429, "server_is_overloaded": 503})

_CLIENT_STATUS: dict[FailureKind, int] = {
    # 401, 402 and 403 would tell callers that their own virtual key is at fault, and it is not: the
    # provider's key is the operator's business, so they see a gateway whose upstream failed.
    "auth": 502,
    "no_key": 502,
    "money": 502,
    "bad_request": 400,
    "context": 400,
    "policy": 400,
    "rate": 429,
    "capacity": 503,
    "server": 502,
    "timeout": 504,
    "connection": 502,
    "truncated": 502,
    "garbage": 502,
    "model_missing": 404,
    "denied": 403,
    "limit": 429,
    "budget": 429,
    "cancelled": 499,
    "unavailable": 503,
    "internal": 500,
    "other": 502,
}
_CALLERS: frozenset[FailureKind] = frozenset({"bad_request", "context", "policy", "model_missing"})
_WAIT = re.compile(r"try again in (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)(ms|s))?", re.IGNORECASE)
_LONGEST_WAIT_S = 31 * 86_400.0

DAILY_QUOTA = "daily_quota"
"""The code of a quota whose window is a day or longer; also the word by which a dialect tells of one."""

_LONG_TEXT = re.compile(r"\bper[ -](day|month)\b|\b[RT]PD\b", re.IGNORECASE)
_LONG_HEADER = re.compile(r"x-ratelimit-remaining-.*-(day|month)")


_TOO_LARGE_TEXT = re.compile(r"request too large|can only afford", re.IGNORECASE)
_WANTED = re.compile(r"\blimit:? (\d+)\b.*?\brequested:? (\d+)", re.IGNORECASE | re.DOTALL)


def kind_of(status: int, *, words: frozenset[str], text: str) -> FailureKind:
    """The kind of a refusal. `words` are its code and type in lower case, `text` its message."""
    if status == 402 or words & _MONEY_CODES or (status in (400, 403, 429) and _MONEY_TEXT.search(text)):
        return "money"
    if words & _MISSING_CODES:
        return "model_missing"
    if status == 401 or (status in (400, 403) and (words & _AUTH_CODES or _AUTH_TEXT.search(text))):
        return "auth"
    if status in (400, 413, 422) and (words & _CONTEXT_CODES or _CONTEXT_TEXT.search(text)):
        return "context"
    if words & _POLICY_CODES or (status in (400, 403) and _POLICY_TEXT.search(text)):
        return "policy"
    return _kind_of_status(status, bool(words & _CAPACITY_CODES or _CAPACITY_TEXT.search(text)))


def daily_quota(headers: Mapping[str, str], *, words: frozenset[str], text: str) -> bool:
    """Whether what is spent, where the kind is `rate`, is a quota of a day or longer."""
    if DAILY_QUOTA in words or _LONG_TEXT.search(text):
        return True
    spent = (name for name, value in headers.items() if value.strip() in ("0", "0.0"))
    return any(_LONG_HEADER.fullmatch(name) for name in spent)


def only_here(kind: FailureKind, status: int, *, words: frozenset[str], text: str) -> bool:
    """Whether a key was refused for what the request asks, so that it may be good for others.

    One request that is larger than what the key may have in a minute, or costs more than what is left; or a
    403 that does not name the key, as for a model that it may not use.
    """
    if kind == "rate":
        wanted = _WANTED.search(text)
        return bool(_TOO_LARGE_TEXT.search(text)) or (wanted is not None and int(wanted[2]) > int(wanted[1]))
    if kind == "money":
        return bool(_TOO_LARGE_TEXT.search(text))
    return kind == "auth" and status == 403 and not (words & _AUTH_CODES or _AUTH_TEXT.search(text))


def _kind_of_status(status: int, overloaded: bool) -> FailureKind:
    if status in (403, 407):
        return "auth"
    if status == 404:
        return "model_missing"
    if status in (503, 529) or (overloaded and status >= 429):
        return "capacity"
    if status in (429, 498):
        return "rate"
    if status >= 500 or status in (408, 409, 424, 425, 499):
        return "server"
    return "bad_request" if status >= 400 else "garbage"


def client_status(kind: FailureKind, upstream_status: int | None) -> int:
    """The HTTP status for the client: the provider's own 4xx where the caller can do something about it."""
    usual = _CLIENT_STATUS[kind]
    if kind in _CALLERS and upstream_status is not None and 400 <= upstream_status < 500:
        return usual if upstream_status in (401, 402) else upstream_status
    return usual


def status_of_words(words: frozenset[str]) -> int:
    """The status an error would have had that came inside a 200; 500 when it does not say."""
    for word in words:
        if word.isdecimal() and len(word) == 3 and 400 <= int(word) < 600:
            return int(word)
    return max((_STATUS_OF_WORD.get(word, 0) for word in words), default=0) or 500


def retry_after(headers: Mapping[str, str], text: str) -> float | None:
    """Seconds the provider asks to wait, from its headers (lower-case names) or its message."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    if (value := headers.get("retry-after")) is not None:
        seconds = _seconds(value)
        return seconds if seconds is not None else _until(value)
    match = _WAIT.search(text)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, rest, unit = match.groups()
    scale = 0.001 if unit and unit.lower() == "ms" else 1.0
    return _bounded(int(hours or 0) * 3600.0 + int(minutes or 0) * 60.0 + float(rest or 0) * scale)


def _seconds(value: str | None) -> float | None:
    try:
        return None if value is None else _bounded(float(value))
    except ValueError:
        return None


def _until(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _bounded(max(moment.timestamp() - now_ms() / 1000, 0.0))


def _bounded(seconds: float) -> float | None:
    return seconds if 0 <= seconds <= _LONGEST_WAIT_S else None
