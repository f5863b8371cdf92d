"""Errors on demand: each class in each dialect's own status and shape."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox_faces import CHAT, FACES, GEMINI, MESSAGES, RESPONSES, Got, ask, post, said

OPENAI = {  # class: status, code
    "auth": (401, "invalid_api_key"),
    "money": (429, "insufficient_quota"),
    "rate": (429, "rate_limit_exceeded"),
    "daily": (429, "rate_limit_exceeded"),
    "capacity": (503, "server_is_overloaded"),
    "server": (500, None),
    "context": (400, "context_length_exceeded"),
    "missing": (404, "model_not_found"),
    "bad-request": (400, "invalid_value"),
    "policy": (400, "content_policy_violation"),
    "too-large": (413, None),
}
ANTHROPIC = {  # class: status, type, words
    "auth": (401, "authentication_error", "x-api-key"),
    "money": (400, "invalid_request_error", "credit balance is too low"),
    "rate": (429, "rate_limit_error", "per minute"),
    "daily": (429, "rate_limit_error", "per day"),
    "capacity": (529, "overloaded_error", "Overloaded"),
    "server": (500, "api_error", ""),
    "context": (400, "invalid_request_error", "prompt is too long"),
    "missing": (404, "not_found_error", "error-missing"),
    "bad-request": (400, "invalid_request_error", ""),
    "policy": (400, "invalid_request_error", "content filtering policy"),
    "too-large": (413, "request_too_large", ""),
}
GOOGLE = {  # class: status, name, words
    "auth": (400, "INVALID_ARGUMENT", "API key not valid"),
    "money": (402, "FAILED_PRECONDITION", "credits"),
    "rate": (429, "RESOURCE_EXHAUSTED", "per minute"),
    "daily": (429, "RESOURCE_EXHAUSTED", "per day"),
    "capacity": (503, "UNAVAILABLE", "overloaded"),
    "server": (500, "INTERNAL", ""),
    "context": (400, "INVALID_ARGUMENT", "exceeds the maximum number of tokens"),
    "missing": (404, "NOT_FOUND", "models/error-missing"),
    "bad-request": (400, "INVALID_ARGUMENT", ""),
    "too-large": (400, "INVALID_ARGUMENT", "payload size"),
}


@pytest.mark.parametrize("kind", OPENAI)
@pytest.mark.parametrize("stream", [False, True])
async def test_openais_errors(kind: str, stream: bool) -> None:
    got = await ask(CHAT, f"error-{kind}", stream=stream)
    assert (got.status, got.json["error"]["code"]) == OPENAI[kind]
    assert set(got.json["error"]) == {"message", "type", "param", "code"}
    response = await ask(RESPONSES, f"error-{kind}", stream=stream)
    status = 400 if kind == "missing" else OPENAI[kind][0]
    assert (response.status, response.json["error"]["code"]) == (status, OPENAI[kind][1])


@pytest.mark.parametrize("kind", ANTHROPIC)
@pytest.mark.parametrize("stream", [False, True])
async def test_anthropics_errors(kind: str, stream: bool) -> None:
    got = await ask(MESSAGES, f"error-{kind}", stream=stream)
    status, type_, words = ANTHROPIC[kind]
    assert (got.status, got.json["type"], got.json["error"]["type"]) == (status, "error", type_)
    assert words in got.json["error"]["message"]
    assert got.json["request_id"].startswith("req_")
    assert "request-id" in got.headers


@pytest.mark.parametrize("kind", GOOGLE)
@pytest.mark.parametrize("stream", [False, True])
async def test_googles_errors(kind: str, stream: bool) -> None:
    got = await ask(GEMINI, f"error-{kind}", stream=stream)
    error = got.json["error"]
    status, name, words = GOOGLE[kind]
    assert (got.status, error["code"], error["status"]) == (status, status, name)
    assert words in error["message"]


async def test_googles_policy_error_is_a_blocked_prompt() -> None:
    assert said(GEMINI, (await ask(GEMINI, "error-policy")).json).finish == "PROHIBITED_CONTENT"
    (event,) = (await ask(GEMINI, "error-policy", stream=True)).events
    assert event["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"


async def test_a_bad_key_has_googles_reason() -> None:
    (detail,) = (await ask(GEMINI, "error-auth")).json["error"]["details"]
    assert detail["reason"] == "API_KEY_INVALID"


def _delay(got: Got) -> str | None:
    details = got.json["error"].get("details", [])
    return next((detail["retryDelay"] for detail in details if "retryDelay" in detail), None)


async def test_how_long_to_wait_is_said_in_each_providers_way() -> None:
    for face in (CHAT, RESPONSES, MESSAGES):
        assert (await ask(face, "error-rate")).headers["retry-after"] == "1"
        assert (await ask(face, "error-rate+retry-after-7")).headers["retry-after"] == "7"
        assert (await ask(face, "error-daily")).headers["retry-after"] == "28800"
        assert "retry-after" not in (await ask(face, "error-money")).headers
    assert "try again in 7s" in (await ask(CHAT, "error-rate+retry-after-7")).json["error"]["message"]
    rate, daily = await ask(GEMINI, "error-rate+retry-after-7"), await ask(GEMINI, "error-daily")
    assert (_delay(rate), _delay(daily)) == ("7s", "28800s")
    assert "retry-after" not in rate.headers
    (quota,) = daily.json["error"]["details"][0]["violations"]
    assert "PerDay" in quota["quotaId"]


@pytest.mark.parametrize("face", FACES)
async def test_status_nnn_is_that_status_everywhere(face: str) -> None:
    for status in (400, 401, 403, 404, 418, 429, 500, 503, 529, 599):
        got = await ask(face, f"status-{status}")
        assert (got.status, bool(got.json["error"]["message"])) == (status, True)


@pytest.mark.parametrize(("face", "status"), list(zip(FACES, (404, 400, 404, 404), strict=True)))
async def test_a_name_that_says_nothing_is_a_missing_model(face: str, status: int) -> None:
    got = await ask(face, "gpt-unheard-of")
    assert got.status == status
    assert "gpt-unheard-of" in got.json["error"]["message"]


@pytest.mark.parametrize("face", FACES)
async def test_error_mid_stream_comes_after_content(face: str) -> None:
    got = await ask(face, "error-mid-stream", stream=True)
    assert got.status == 200
    assert b"one" in got.body
    assert b"three" not in got.body
    last = got.events[-1]
    assert "error" in (last["response"] if face == RESPONSES else last)
    assert (await ask(face, "error-mid-stream")).status == 500


@pytest.mark.parametrize("face", FACES)
async def test_error_200_is_an_error_where_an_answer_should_be(face: str) -> None:
    got = await ask(face, "error-200")
    assert (got.status, "error" in got.json) == (200, True)
    (event,) = (await ask(face, "error-200", stream=True)).events
    assert event.get("type") == "error" or "error" in event


END = {CHAT: b"[DONE]", RESPONSES: b"response.completed", MESSAGES: b"message_stop", GEMINI: b"finishReason"}


@pytest.mark.parametrize("face", FACES)
async def test_no_done_and_cut_have_no_end(face: str) -> None:
    assert END[face] in (await ask(face, "echo", stream=True)).body
    for model in ("no-done", "cut-2", "error-mid-stream", "empty-stream"):
        assert END[face] not in (await ask(face, model, stream=True)).body


@pytest.mark.parametrize("face", FACES)
async def test_an_empty_stream_has_no_event_and_its_answer_no_text(face: str) -> None:
    got = await ask(face, "empty-stream", stream=True)
    assert (got.status, got.body) == (200, b"")
    assert got.headers["content-type"].startswith("text/event-stream")
    assert said(face, (await ask(face, "empty-stream")).json).text == ""


@pytest.mark.parametrize("face", FACES)
async def test_late_usage_follows_the_finish_in_a_write_of_its_own(face: str) -> None:
    *_, finish, usage = (await ask(face, "late-usage", stream=True)).writes
    counted = {CHAT: b'"prompt_tokens"', GEMINI: b"promptTokenCount"}.get(face, b'"input_tokens"')
    assert counted in usage
    assert counted not in finish


@pytest.mark.parametrize("face", FACES)
async def test_unknown_fields_are_welcome_except_in_strict_models(face: str) -> None:
    assert (await ask(face, "echo", brand_new=1)).json["sandbox"] == {"seen": ["brand_new"]}
    assert (await ask(face, "echo-strict")).status == 200
    refused = await ask(face, "echo-strict", brand_new=1)
    assert refused.status == 400
    assert b"brand_new" in refused.body


async def test_strict_chat_refuses_as_cerebras_and_as_mistral() -> None:
    flat = (await ask(CHAT, "echo-strict", brand_new=1)).json
    assert flat["code"] == "wrong_api_format"
    got = await ask(CHAT, "echo-strict-422", brand_new=1)
    assert got.status == 422
    assert got.json["message"]["detail"][0]["type"] == "extra_forbidden"


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":"echo"}', b'{"model":"echo","messages":3}'])
async def test_what_is_no_request_is_a_400(face: str, body: Any) -> None:
    path = {CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses", MESSAGES: "/v1/messages"}
    got = await post(path.get(face, "/v1beta/models/echo:generateContent"), body, anthropic_version="x")
    assert (got.status, bool(got.json["error"]["message"])) == (400, True)
