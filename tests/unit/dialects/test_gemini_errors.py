from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.dialects.gemini_generate.errors import classify, classify_error, seconds_to_reset
from keyrail.dialects.openai_chat import errors as chat

QUOTA = "You exceeded your current quota, please check your plan and billing details."
MINUTE = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}
DAY = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "50"}


def spent(
    *violations: dict[str, Any], delay: Any = "34.4s", headers: dict[str, str] | None = None
) -> Failure:
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": list(violations)},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    error = {"code": 429, "message": QUOTA, "status": "RESOURCE_EXHAUSTED", "details": details}
    return classify("gemini", 429, headers or {}, json.dumps({"error": error}).encode())


def test_a_quota_of_a_day_is_told_apart_from_one_of_a_minute() -> None:
    minute = spent(MINUTE)
    assert (minute.kind, minute.code, minute.retry_after_s) == ("rate", None, 34.4)
    for both in (spent(DAY), spent(MINUTE, DAY)):
        assert (both.kind, both.code, both.status) == ("rate", "daily_quota", 429)
        # the delay of half a minute would be in vain
        assert both.retry_after_s is not None
        assert 0 < both.retry_after_s <= 86_400
        assert both.falls_over


@pytest.mark.parametrize(
    ("at_s", "seconds"),
    [
        (0, 8 * 3_600),
        (8 * 3_600, 86_400),
        (8 * 3_600 - 1, 1),
        (20 * 3_600, 12 * 3_600),
        (1_800_000_000, 86_400),  # 2027-01-15, 08:00 UTC: midnight in California
    ],
)
def test_the_day_of_the_quotas_ends_at_midnight_in_california(at_s: int, seconds: int) -> None:
    assert seconds_to_reset(at_s * 1000) == seconds


@pytest.mark.parametrize(
    ("delay", "headers", "wait"),
    [
        ("7s", {}, 7.0),
        ("0.5s", {}, 0.5),
        ("soon", {}, None),
        (None, {}, None),
        ("99999999999999s", {}, None),
        ("34s", {"retry-after": "5"}, 5.0),
    ],
)
def test_how_long_to_wait(delay: Any, headers: dict[str, str], wait: float | None) -> None:
    assert spent(MINUTE, delay=delay, headers=headers).retry_after_s == wait


def test_a_client_of_another_dialect_sees_an_error_of_its_own() -> None:
    failure = spent(MINUTE)
    assert failure.error is not None
    status, headers, body = chat.render(failure)
    assert (status, dict(headers)["retry-after"]) == (429, "35")
    assert json.loads(body) == {
        "error": {"message": QUOTA, "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    }


def test_nothing_of_the_provider_key_reaches_the_client() -> None:
    error = {
        "code": 400,
        "message": "API key AIzaCanary not valid.",
        "details": [{"reason": "API_KEY_INVALID"}],
    }
    failure = classify("gemini", 400, {}, json.dumps({"error": error}).encode())
    assert failure.kind == "auth"
    assert b"AIzaCanary" not in failure.encode()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "m"}, "rate"),
        ({"status": "RESOURCE_EXHAUSTED", "message": "m"}, "rate"),
        ({"status": "UNAVAILABLE"}, "capacity"),
        ({"status": "INVALID_ARGUMENT"}, "bad_request"),
        ({"status": "NOT_FOUND"}, "model_missing"),
        ({"status": "UNAUTHENTICATED"}, "auth"),
        ({"code": 13, "message": "m"}, "server"),
        ("words", "server"),
    ],
)
def test_an_error_inside_a_200_has_the_kind_it_would_have_had(error: Any, kind: str) -> None:
    failure = classify_error("gemini", {"error": error})
    assert (failure.kind, failure.upstream_status) == (kind, 200)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"4", b'{"error": 5}', b'{"error": {"details": [[], 4, {}]}}']
)
def test_a_body_that_says_nothing_leaves_the_status(body: bytes) -> None:
    assert classify("gemini", 500, {}, body).kind == "server"
    assert classify("gemini", 429, {}, body).kind == "rate"


_NAMES = st.sampled_from(
    ["error", "details", "violations", "quotaId", "fieldViolations", "field", "retryDelay"]
)
_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
)


@given(_VALUES)
def test_no_nonsense_breaks_it(value: Any) -> None:
    assert classify("gemini", 400, {}, json.dumps({"error": {"details": value}}).encode()).status >= 400
    assert classify_error("gemini", value).provider == "gemini"
