"""Reading OpenAI's requests."""

import json
from typing import Any

import pytest

from keyrail_sandbox import openai_chat
from keyrail_sandbox.ask import Ask, Refusal, Tool

QUESTION = {"role": "user", "content": "hello"}


def _read(**body: Any) -> Ask | Refusal:
    return openai_chat.read(json.dumps({"model": "echo", "messages": [QUESTION], **body}).encode())


def _ask(**body: Any) -> Ask:
    ask = _read(**body)
    assert isinstance(ask, Ask)
    return ask


def test_the_last_user_message_is_the_question() -> None:
    messages = [{"role": "system", "content": "Be kind."}, QUESTION, {"role": "assistant", "content": ""}]
    assert _ask(messages=messages).text == "hello"


def test_text_parts_are_joined_and_others_left_out() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts = [{"type": "text", "text": "what is "}, image, {"type": "text", "text": "this?"}]
    assert _ask(messages=[{"role": "user", "content": parts}]).text == "what is this?"


def test_prompt_tokens_are_a_quarter_of_the_characters_and_three_for_each_message() -> None:
    messages = [{"role": "system", "content": "12345678"}, {"role": "user", "content": "123456789"}]
    assert _ask(messages=messages).prompt_tokens == (2 + 3) + (3 + 3)


def test_the_newer_limit_wins() -> None:
    assert _ask(max_tokens=9).limit == 9
    assert _ask(max_tokens=9, max_completion_tokens=4).limit == 4


def test_usage_in_a_stream_is_opt_in() -> None:
    assert not _ask(stream=True).include_usage
    assert _ask(stream=True, stream_options={"include_usage": True}).include_usage


def test_only_keys_that_openai_does_not_define_are_unknown() -> None:
    ask = _ask(temperature=0, x_trace="1", metadata={}, vendor={"deep": 1})
    assert ask.unknown == ("x_trace", "vendor")


def test_the_first_function_is_the_tool() -> None:
    tools = [{"type": "custom", "custom": {"name": "c"}}, {"type": "function", "function": {"name": "f"}}]
    assert _ask(tools=tools).tools == (Tool("f", {}),)


def test_the_tools_results_at_the_end_are_known() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    assert _ask(tools=tools, messages=[QUESTION, asked, result]).results == ("42",)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": "hello"},
        {"model": None},
        {"stream": "yes"},
        {"max_tokens": 0},
        {"n": 2},
    ],
)
def test_what_does_not_fit_is_a_400(body: dict[str, Any]) -> None:
    refusal = _read(**body)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"model":"\xff","messages":[]}'])
def test_what_is_no_json_object_is_a_400(body: bytes) -> None:
    refusal = openai_chat.read(body)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (Refusal(400), "invalid_request_error", "invalid_value"),
        (Refusal(401), "invalid_request_error", "invalid_api_key"),
        (Refusal(404), "invalid_request_error", "model_not_found"),
        (Refusal(418), "invalid_request_error", None),
        (Refusal(429), "requests", "rate_limit_exceeded"),
        (Refusal(kind="money"), "insufficient_quota", "insufficient_quota"),
        (Refusal(kind="context"), "invalid_request_error", "context_length_exceeded"),
        (Refusal(503), "server_error", "server_is_overloaded"),
        (Refusal(599), "server_error", None),
    ],
)
def test_errors_have_openais_shape(refusal: Refusal, kind: str, code: str | None) -> None:
    error = json.loads(openai_chat.error(refusal).body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == (kind, code)
    assert error["message"]
