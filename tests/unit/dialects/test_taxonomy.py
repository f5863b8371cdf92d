from __future__ import annotations

import json

import pytest

from keyrail.dialects.openai_chat import errors
from keyrail.dialects.taxonomy import DAILY_QUOTA, daily_quota, kind_of

NO_WORDS: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("text", "headers", "daily"),
    [
        (
            "Rate limit reached for model `m` on requests per day (RPD): Limit 1000, Used 1000, Requested 1. "
            "Please try again in 1m26.4s.",
            {},
            True,
        ),
        ("Rate limit reached on tokens per day (TPD): Limit 200000. Please try again in 7m12s.", {}, True),
        ("Rate limit exceeded: free-models-per-day.", {}, True),
        ("Rate limit reached on tokens per minute (TPM): Limit 6000. Please try again in 6.1s.", {}, False),
        ("Requests rate limit exceeded", {"x-ratelimit-remaining-tokens-month": "0"}, True),
        (
            "Requests rate limit exceeded",
            {"x-ratelimit-remaining-tokens-month": "900", "x-ratelimit-remaining-req-minute": "0"},
            False,
        ),
        ("Too many requests", {"x-ratelimit-remaining-requests-day": "0"}, True),
        ("Too many requests", {}, False),
    ],
    ids=[
        "groq-requests",
        "groq-tokens",
        "openrouter",
        "groq-minute",
        "mistral-month",
        "mistral-minute",
        "cerebras-day",
        "plain",
    ],
)
def test_a_quota_of_a_day_or_a_month_is_told_apart(text: str, headers: dict[str, str], daily: bool) -> None:
    assert daily_quota(headers, words=NO_WORDS, text=text) is daily
    body = json.dumps(
        {"error": {"message": text, "type": "requests", "code": "rate_limit_exceeded"}}
    ).encode()
    failure = errors.classify("any", 429, headers, body)
    assert failure.kind == "rate"
    assert failure.code == (DAILY_QUOTA if daily else "rate_limit_exceeded")


def test_its_code_changes_nothing_of_what_an_openai_client_sees() -> None:
    error = {"message": "Limit on requests per day (RPD).", "type": "requests", "code": "rate_limit_exceeded"}
    failure = errors.classify("groq", 429, {"retry-after": "86"}, json.dumps({"error": error}).encode())
    assert (failure.code, failure.retry_after_s) == (DAILY_QUOTA, 86)
    assert json.loads(errors.render(failure)[2]) == {"error": error}


def test_only_a_spent_rate_is_a_quota() -> None:
    error = {"message": "Invalid value: messages per day", "code": "invalid_value"}
    assert errors.classify("any", 400, {}, json.dumps({"error": error}).encode()).code == "invalid_value"


@pytest.mark.parametrize(
    ("status", "words", "text", "kind"),
    [
        (400, {"failed_precondition"}, "Please enable billing on your project.", "money"),
        (429, NO_WORDS, "Your prepayment credits are depleted.", "money"),
        (403, {"billing_disabled"}, "This API method requires billing to be enabled.", "money"),
        (400, {"failed_precondition"}, "User location is not supported for the API use.", "auth"),
        (
            429,
            {"resource_exhausted"},
            "You exceeded your quota, check your plan and billing details.",
            "rate",
        ),
    ],
)
def test_googles_words_on_money_and_place(status: int, words: set[str], text: str, kind: str) -> None:
    assert kind_of(status, words=frozenset(words), text=text) == kind
