"""Errors of Anthropic as Failures, and Failures as what Anthropic's own client raises."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from anthropic import APIStatusError
from support.messages import client, through_sdk

from keyrail.contracts.failures import NO_WORKER, OVERLOADED, Failure, FailureKind
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import face, wire

HI: Any = [{"role": "user", "content": "hi"}]


def error(type_: str, message: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "error",
        "error": {"type": type_, "message": message, **fields},
        "request_id": "req_1",
    }


def classify(status: int, body: Any, headers: dict[str, str] | None = None) -> Failure:
    raw = body if isinstance(body, bytes) else json_text.dump(body)
    return wire.classify("anthropic", status, headers or {}, raw)


@pytest.mark.parametrize(
    ("status", "type_", "message", "kind", "client_status"),
    [
        (400, "invalid_request_error", "messages: field required", "bad_request", 400),
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", "context", 400),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            "context",
            400,
        ),
        (400, "invalid_request_error", "Your credit balance is too low to access the API", "money", 502),
        (400, "invalid_request_error", "Output blocked by content filtering policy", "policy", 400),
        (401, "authentication_error", "invalid x-api-key", "auth", 502),
        (402, "billing_error", "pay", "money", 502),
        (403, "permission_error", "not allowed", "auth", 502),
        (404, "not_found_error", "model: claude-none", "model_missing", 404),
        (413, "request_too_large", "Request exceeds the maximum size", "bad_request", 413),
        (429, "rate_limit_error", "slow down", "rate", 429),
        (500, "api_error", "Internal server error", "server", 502),
        (504, "timeout_error", "took too long", "server", 502),
        (529, "overloaded_error", "Overloaded", "capacity", 503),
    ],
)
def test_each_refusal_has_its_kind(
    status: int, type_: str, message: str, kind: FailureKind, client_status: int
) -> None:
    failure = classify(status, error(type_, message))
    assert (failure.kind, failure.status, failure.upstream_status) == (kind, client_status, status)
    assert failure.error_dialect == "anthropic-messages"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ramp_limit_exceeded", "rate"),
        ("enforced_spend_limit_reached", "money"),
        ("contract_spend_limit_reached", "money"),
        ("linked_organization_suspended", "money"),
        ("organization_on_hold", "money"),
    ],
)
def test_the_reason_in_the_details_of_a_429_decides(code: str, kind: FailureKind) -> None:
    body = error("rate_limit_error", "limit", details={"error_code": code})
    assert classify(429, body).kind == kind


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("overloaded_error", "capacity"),
        ("api_error", "server"),
        ("timeout_error", "server"),
        ("rate_limit_error", "rate"),
        ("billing_error", "money"),
        ("invalid_request_error", "bad_request"),
        ("of_tomorrow", "server"),
    ],
)
def test_the_type_stands_for_the_status_in_a_stream(type_: str, kind: FailureKind) -> None:
    reader = wire.reader("anthropic")
    reader.feed(b"event: error\ndata: " + json_text.dump(error(type_, "m")) + b"\n\n")
    assert reader.failure is not None
    assert (reader.failure.kind, reader.failure.upstream_status) == (kind, 200)


def test_the_providers_own_words_pass_to_a_client_of_its_dialect() -> None:
    body = error("invalid_request_error", "tools.0: bad", details=None)
    status, headers, rendered = face.render(classify(400, body))
    assert (status, json.loads(rendered)) == (400, body)
    assert ("content-type", "application/json") in headers
    event = face.render_event(classify(400, body))
    assert event == b"event: error\ndata: " + rendered + b"\n\n"


def test_words_about_the_providers_key_stay_here() -> None:
    for status, type_, message in (
        (401, "authentication_error", "invalid x-api-key sk-ant-1"),
        (400, "invalid_request_error", "Your credit balance is too low"),
    ):
        failure = classify(status, error(type_, message))
        _, headers, rendered = face.render(failure)
        assert failure.error is None
        assert message.encode() not in rendered
        assert ("x-should-retry", "false") in headers


def test_an_error_of_another_dialect_is_told_in_this_ones_form() -> None:
    failure = Failure(
        kind="bad_request",
        message="Unsupported value",
        status=400,
        param="seed",
        error={"message": "Unsupported value", "code": "x"},
        error_dialect="openai-chat",
    )
    assert json.loads(face.render(failure)[2]) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "seed: Unsupported value"},
    }


def test_a_prompt_that_is_too_long_says_so_in_the_words_that_agents_look_for() -> None:
    failure = Failure(kind="context", message="This model's maximum context length is 9", status=400)
    message = json.loads(face.render(failure)[2])["error"]["message"]
    assert message == "prompt is too long: This model's maximum context length is 9"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "openai-like", "type": "x"}}, "openai-like"),
        ({"detail": [{"loc": ["body", "x"], "msg": "missing"}]}, "body.x: missing"),
        ({"error": "just text"}, "just text"),
        (b"<html>", "anthropic answered with status 422 and no message."),
        ([1], "anthropic answered with status 422 and no message."),
        ({"type": "error", "error": {"type": 7, "message": None}}, None),
        ({"type": "error", "error": None}, None),
    ],
)
def test_other_forms_of_errors_are_read_but_not_taken_for_this_dialects(
    body: Any, message: str | None
) -> None:
    failure = classify(422, body)
    assert failure.error is None
    assert failure.kind == "bad_request"
    assert message is None or failure.message == message


def test_the_hint_when_to_come_back_goes_on() -> None:
    failure = classify(429, error("rate_limit_error", "m"), {"retry-after": "7"})
    assert ("retry-after", "7") in face.render(failure)[1]


def failed(kind: FailureKind, status: int) -> Failure:
    return Failure(kind=kind, message="Said so.", status=status)


@pytest.mark.parametrize(
    ("failure", "raised", "type_"),
    [
        (failed("bad_request", 400), anthropic.BadRequestError, "invalid_request_error"),
        (failed("bad_request", 422), anthropic.UnprocessableEntityError, "invalid_request_error"),
        (failed("auth", 401), anthropic.AuthenticationError, "authentication_error"),
        (failed("auth", 502), anthropic.InternalServerError, "api_error"),
        (failed("auth", 403), anthropic.PermissionDeniedError, "permission_error"),
        (failed("model_missing", 404), anthropic.NotFoundError, "not_found_error"),
        (failed("bad_request", 413), anthropic.APIStatusError, "request_too_large"),
        (failed("rate", 429), anthropic.RateLimitError, "rate_limit_error"),
        (failed("server", 502), anthropic.InternalServerError, "api_error"),
        (failed("internal", 500), anthropic.InternalServerError, "api_error"),
        (failed("timeout", 504), anthropic.InternalServerError, "timeout_error"),
        (NO_WORKER, anthropic.InternalServerError, "api_error"),
        (OVERLOADED, anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_the_official_client_raises_the_right_class(
    failure: Failure, raised: type[APIStatusError], type_: str
) -> None:
    status, headers, body = face.render(failure)
    with pytest.raises(raised) as caught:
        client(status, dict(headers), body).messages.create(model="m", max_tokens=1, messages=HI)
    assert json.loads(body)["error"]["type"] == type_
    assert "Said so." in str(caught.value) or failure.message in str(caught.value)
    assert caught.value.status_code == (529 if failure.kind == "capacity" else failure.status)


def test_overload_is_a_529_so_that_clients_back_off() -> None:
    status, headers, body = face.render(classify(529, error("overloaded_error", "Overloaded")))
    with pytest.raises(APIStatusError) as caught:
        client(status, dict(headers), body).messages.create(model="m", max_tokens=1, messages=HI)
    assert caught.value.status_code == 529
    assert type(caught.value).__name__ == "OverloadedError"


def test_the_official_client_raises_an_error_in_mid_stream() -> None:
    start = {"type": "message_start", "message": {"id": "m", "content": [], "usage": {}}}
    stream = b"event: message_start\ndata: " + json_text.dump(start) + b"\n\n"
    with pytest.raises(APIStatusError, match="Said so"):
        through_sdk(stream + face.render_event(failed("truncated", 502)))
