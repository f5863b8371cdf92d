"""Errors: what a refusal means, and what the client is told."""

from __future__ import annotations

import email.utils
import json
import time
from typing import Any, get_args

import pytest

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.dialects.anthropic_messages import errors as anthropic
from keyrail.dialects.openai_chat.errors import classify, render, render_event
from keyrail.dialects.openai_responses import errors as responses
from keyrail.dialects.taxonomy import client_status


def openai(message: str = "", type_: str | None = None, code: Any = None, param: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": type_, "code": code, "param": param}}).encode()


CASES: list[tuple[str, int, bytes, str, int]] = [
    (
        "openai",
        400,
        openai("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
        "context",
        400,
    ),
    ("openai", 400, openai("Unknown parameter: 'moderation'.", code="unknown_parameter"), "bad_request", 400),
    ("openai", 400, openai("x", "image_generation_user_error", "moderation_blocked"), "policy", 400),
    ("openai", 401, openai("Incorrect API key provided: sk-canary", code="invalid_api_key"), "auth", 502),
    ("openai", 403, openai("Country, region, or territory not supported"), "auth", 502),
    ("openai", 403, openai("Project lacks it", code="model_not_found"), "model_missing", 403),
    ("openai", 404, openai("The model `x` does not exist", code="model_not_found"), "model_missing", 404),
    ("openai", 408, b"", "server", 502),
    ("openai", 409, b"", "server", 502),
    ("openai", 413, b"<html>", "bad_request", 413),
    (
        "openai",
        429,
        openai("Rate limit; see account/billing to pay", "requests", "rate_limit_exceeded"),
        "rate",
        429,
    ),
    ("openai", 429, openai("Slow down", code="slow_down"), "rate", 429),
    (
        "openai",
        429,
        openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        "money",
        502,
    ),
    ("openai", 429, openai("x", code="billing_hard_limit_reached"), "money", 502),
    ("openai", 500, openai("The server had an error", "server_error"), "server", 502),
    ("openai", 502, b"<html>Bad gateway</html>", "server", 502),
    ("openai", 503, openai("Overloaded", code="server_is_overloaded"), "capacity", 503),
    ("openai", 302, b"", "garbage", 502),
    (
        "groq",
        400,
        openai("Tool choice is required", "invalid_request_error", "tool_use_failed"),
        "bad_request",
        400,
    ),
    ("groq", 400, openai("x", code="model_decommissioned"), "model_missing", 400),
    ("groq", 413, openai("Request too large for model `x`"), "context", 413),
    ("groq", 424, b"", "server", 502),
    ("groq", 498, openai("Flex tier capacity exceeded"), "capacity", 503),
    ("groq", 498, b"", "rate", 429),
    (
        "cerebras",
        400,
        b'{"message":"no x","type":"invalid_request_error","param":"x","code":"wrong_api_format"}',
        "bad_request",
        400,
    ),
    (
        "cerebras",
        429,
        b'{"message":"x","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}',
        "capacity",
        503,
    ),
    (
        "cerebras",
        429,
        b'{"message":"x","type":"too_many_requests_error","code":"token_quota_exceeded"}',
        "rate",
        429,
    ),
    ("cerebras", 402, b'{"message":"Payment required"}', "money", 502),
    ("xai", 400, b'{"code":"invalid-argument","error":"Incorrect API key provided: xa***"}', "auth", 502),
    ("xai", 400, b'{"code":"invalid-argument","error":"Argument not supported: stop"}', "bad_request", 400),
    ("xai", 403, b'{"code":"x","error":"Your team has used all available credits"}', "money", 502),
    (
        "xai",
        429,
        b'{"code":"x","error":"used all available credits or reached its monthly spending limit"}',
        "money",
        502,
    ),
    ("mistral", 401, b'{"detail":"Invalid API Key"}', "auth", 502),
    (
        "mistral",
        422,
        b'{"object":"error","message":{"detail":[{"loc":["body","x"],"msg":"no"}]},"type":"invalid"}',
        "bad_request",
        422,
    ),
    (
        "mistral",
        429,
        b'{"object":"error","message":"Service tier capacity exceeded","type":"x","code":"3505"}',
        "capacity",
        503,
    ),
    (
        "mistral",
        429,
        b'{"object":"error","message":"Rate limit exceeded","type":"rate_limited","code":"1300"}',
        "rate",
        429,
    ),
    ("anthropic", 400, openai("Your credit balance is too low", "invalid_request_error"), "money", 502),
    ("openrouter", 402, openai("can only afford 12", code=402), "money", 502),
    ("openrouter", 403, openai("Input was flagged: requires moderation", code=403), "policy", 403),
    ("gemini", 400, b'[{"error":{"code":400,"message":"API key not valid. Please pass one."}}]', "auth", 502),
    (
        "gemini",
        429,
        b'[{"error":{"code":429,"message":"You exceeded your current quota, check billing"}}]',
        "rate",
        429,
    ),
    ("deepinfra", 429, b'{"error":{"message":"Model busy, retry later"}}', "capacity", 503),
    ("anyone", 529, b"", "capacity", 503),
    ("anyone", 400, b"\xff\x00", "bad_request", 400),
    ("anyone", 400, b'{"error":' + b"[" * 100_000, "bad_request", 400),
]


@pytest.mark.parametrize(
    ("provider", "status", "body", "kind", "told"),
    CASES,
    ids=[f"{c[0]}-{c[1]}-{c[3]}-{n}" for n, c in enumerate(CASES)],
)
def test_a_refusal_is_classified(provider: str, status: int, body: bytes, kind: str, told: int) -> None:
    failure = classify(provider, status, {}, body)
    assert (failure.kind, failure.status, failure.upstream_status) == (kind, told, status)
    assert failure.provider == provider
    assert failure.message


def test_mistrals_list_of_problems_becomes_a_sentence() -> None:
    body = b'{"message":{"detail":[{"loc":["body","store"],"msg":"Extra inputs"},{"msg":"b"},"c",5]}}'
    assert classify("mistral", 422, {}, body).message == "body.store: Extra inputs; b; c"


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_bad_provider_key_never_looks_like_the_callers_own(status: int) -> None:
    failure = classify(
        "openai", status, {}, openai("Incorrect API key provided: sk-canary", code="invalid_api_key")
    )
    code, headers, body = render(failure)
    assert code == 502
    assert ("x-should-retry", "false") in headers
    assert b"canary" not in body + failure.encode()
    assert json.loads(body)["error"]["code"] in ("provider_auth_failed", "provider_out_of_credit")


def test_the_providers_own_error_object_goes_through() -> None:
    own = {"message": "m", "type": "t", "code": "tool_use_failed", "failed_generation": "{}", "n": 10**20}
    failure = classify("groq", 400, {}, json.dumps({"error": own}).encode())
    assert failure.error == own
    status, headers, body = render(failure)
    assert (status, headers) == (400, [("content-type", "application/json")])
    assert json.loads(body) == {"error": own}
    assert json.loads(render_event(failure).removeprefix(b"data: ")) == {"error": own}


def test_a_huge_or_deep_error_object_does_not() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    for own in ({"message": "m" * 20_000}, {"message": "m", "x": deep}):
        failure = classify("groq", 400, {}, json.dumps({"error": own}).encode())
        assert failure.error is None
        assert failure.message.startswith("m")
        assert len(failure.message) <= 2_000


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "7"}, "", 7),
        ({"retry-after": "1.5"}, "", 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, "", 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, "", 9),
        ({"retry-after": "-1"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "1e99"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "Thu, 01 Jan 2015 00:00:00 GMT"}, "", 0),
        ({}, "Please try again in 7.66s. Visit", 7.66),
        ({}, "Please try again in 2m59.5s.", 179.5),
        ({}, "Please try again in 1h2m.", 3720),
        ({}, "Please try again in 120ms.", 0.12),
        ({}, "Please try again in a while.", None),
        ({}, "", None),
    ],
)
def test_the_wait_is_read_from_headers_or_message(
    headers: dict[str, str], message: str, seconds: float | None
) -> None:
    assert classify("groq", 429, headers, openai(message)).retry_after_s == pytest.approx(seconds)


def test_the_wait_may_be_a_date() -> None:
    failure = classify(
        "groq", 429, {"retry-after": email.utils.formatdate(time.time() + 100, usegmt=True)}, b""
    )
    assert failure.retry_after_s is not None
    assert 95 < failure.retry_after_s <= 100


def test_retry_after_is_rounded_up() -> None:
    _, headers, _ = render(classify("groq", 429, {"retry-after-ms": "1200"}, b""))
    assert headers == [("content-type", "application/json"), ("retry-after", "2")]


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_every_kind_has_a_status_and_an_openai_error(kind: FailureKind) -> None:
    failure = Failure(kind=kind, message="m", status=client_status(kind, None), param="p")
    status, headers, body = render(failure)
    assert 400 <= status < 600
    assert status not in (401, 402)
    assert (status == 403) == (kind == "denied"), "of the virtual key's own rights alone"
    assert headers[0] == ("content-type", "application/json")
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["message"], error["param"]) == ("m", "p")
    event = render_event(failure)
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert json.loads(event[6:])["error"] == error


@pytest.mark.parametrize("write", [render, responses.render])
def test_a_prompt_that_is_too_long_has_the_code_that_clients_look_for(write: Any) -> None:
    told = json.dumps(
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}
    )
    _, _, body = write(anthropic.classify("anthropic", 400, {}, told.encode()))
    assert json.loads(body)["error"]["code"] == "context_length_exceeded"
