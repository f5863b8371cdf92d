"""What providers say of how long to wait, in all dialects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Dialect
from keyrail.dialects import rate_windows, registry
from keyrail.dialects.taxonomy import DAILY_QUOTA

AT = 1_795_435_200_000  # 2026-11-23 12:00 UTC
DIALECTS: tuple[Dialect, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic-messages",
    "gemini-generate",
)
ERROR = {"error": {"message": "Slow down.", "type": "rate_limit_error", "code": "x"}}


def classified(
    status: int, headers: Mapping[str, str], body: Any = ERROR, dialect: Dialect = "openai-chat"
) -> Failure:
    return registry.outbound(dialect).classify("any", status, headers, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12ms"}, 0.012),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h2m3.5s"}, 3_723.5),
        ({"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "1s"}, None),
        ({"x-ratelimit-remaining-tokens-minute": "0", "x-ratelimit-reset-tokens-minute": "11.38"}, 11.38),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-23T12:00:30Z",
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-23T12:00:10Z",
            },
            30,
        ),
        ({"x-ratelimit-reset": "1795435260000"}, 60),
        ({"x-ratelimit-reset": "1795435260"}, 60),
        ({"x-ratelimit-reset": "4"}, 4),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
    ],
)
def test_a_spent_window_says_when_it_begins_anew(headers: dict[str, str], wait_s: float | None) -> None:
    assert rate_windows.wait_s(None, headers, AT) == wait_s
    assert rate_windows.wait_s(2, headers, AT) == 2, "the provider's own word counts first"


def test_a_spent_day_counts_even_where_a_shorter_wait_is_named() -> None:
    headers = {"x-ratelimit-remaining-requests-day": "0", "x-ratelimit-reset-requests-day": "33011.4"}
    assert rate_windows.wait_s(60, headers, AT) == 33_011.4


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}, 9),
    ],
)
def test_every_dialect_hears_how_long_to_wait(
    dialect: Dialect, headers: dict[str, str], wait_s: float
) -> None:
    failure = classified(429, headers, dialect=dialect)
    assert (failure.kind, failure.retry_after_s, failure.only_here) == ("rate", wait_s, False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_retry_after_as_a_date_is_the_time_until_then(dialect: Dialect) -> None:
    failure = classified(429, {"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}, dialect=dialect)
    assert failure.retry_after_s is None, "nobody waits for that long"


def test_windows_of_what_is_no_rate_limit_are_not_looked_at() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}
    assert classified(400, headers).retry_after_s is None


def test_a_quota_without_a_reset_begins_anew_at_midnight_or_with_the_month() -> None:
    assert rate_windows.quota_wait_s({}, "too many requests per day", AT) == 12 * 3_600
    month = 7.5 * 86_400
    assert rate_windows.quota_wait_s({}, "tokens per month", AT) == month
    assert rate_windows.quota_wait_s({"x-ratelimit-remaining-tokens-month": "0"}, "", AT) == month
    failure = classified(429, {"x-ratelimit-remaining-requests-day": "0"})
    assert failure.code == DAILY_QUOTA
    assert failure.retry_after_s is not None
    left_s = (86_400_000 - now_ms() % 86_400_000) / 1000
    assert failure.retry_after_s == pytest.approx(left_s, abs=5)


def test_openrouter_says_it_in_the_error_itself() -> None:
    reset_ms = now_ms() + 60_000
    metadata = {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset_ms)}}
    message = "Rate limit exceeded: free-models-per-day"
    body = {"error": {"message": message, "code": 429, "metadata": metadata}}
    failure = classified(429, {}, body)
    assert failure.code == DAILY_QUOTA
    assert failure.retry_after_s == pytest.approx(60, abs=2)


@pytest.mark.parametrize(
    ("status", "message", "code", "only_here"),
    [
        (
            429,
            "Request too large for gpt-x on tokens per min (TPM): Limit 30000, Requested 31000.",
            None,
            True,
        ),
        (429, "Rate limit reached on tokens per min: Limit 30000, Used 29000, Requested 1100.", None, False),
        (429, "Limit: 6000, Requested: 7000. Try again later.", None, True),
        (402, "You requested up to 16384 tokens, but can only afford 1200.", None, True),
        (402, "Insufficient credits.", None, False),
        (403, "Your project may not use this model.", None, True),
        (403, "Your API key was reported as leaked: invalid API key.", None, False),
        (403, "No.", "account_deactivated", False),
        (401, "Incorrect API key provided.", None, False),
    ],
)
def test_what_is_refused_for_one_request_alone_is_told_apart(
    status: int, message: str, code: str | None, only_here: bool
) -> None:
    failure = classified(status, {}, {"error": {"message": message, "code": code}})
    assert failure.kind == {429: "rate", 402: "money"}.get(status, "auth")
    assert failure.only_here is only_here
