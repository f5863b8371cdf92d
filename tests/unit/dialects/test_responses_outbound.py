from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import (
    Audio,
    Cache,
    Call,
    Document,
    Foreign,
    Image,
    Part,
    Refusal,
    Result,
    Text,
    Thinking,
)
from keyrail.dialects.canonical.request import Choice, Format, Message, Reasoning, Request, Tool, Written
from keyrail.dialects.openai_responses import face, wire

HELLO = Message("user", [Text("Hello")])


def write(*messages: Message, **fields: Any) -> Written:
    request = Request(messages=list(messages) or [HELLO], **fields)
    written = wire.write_request(request, model="gpt-5.4", quirks=Quirks())
    assert isinstance(written, Written), written
    assert face.check(written.body) is None
    return written


def refusal(*messages: Message, **fields: Any) -> Failure:
    request = Request(messages=list(messages) or [HELLO], **fields)
    failure = wire.write_request(request, model="gpt-5.4", quirks=Quirks())
    assert isinstance(failure, Failure)
    return failure


def test_the_smallest_request() -> None:
    assert write() == Written(
        {
            "model": "gpt-5.4",
            "input": [{"type": "message", "role": "user", "content": "Hello"}],
            "store": False,
        }
    )


def test_what_users_send() -> None:
    parts: list[Part] = [
        Text("a"),
        Image(media_type="image/png", data="QUJD", detail="low"),
        Image(url="https://e.org/i"),
        Document(media_type="application/pdf", data="QUJD"),
        Document(url="https://e.org/d"),
        Document(file_id="file-1"),
        Document(text="abc", name="notes.txt"),
    ]
    written = write(Message("system", [Text("Be brief.")]), Message("user", parts))
    assert written.dropped == ()
    assert written.body["input"][0] == {"type": "message", "role": "system", "content": "Be brief."}
    assert written.body["input"][1]["content"] == [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "low"},
        {"type": "input_image", "image_url": "https://e.org/i", "detail": "auto"},
        {
            "type": "input_file",
            "filename": "document.pdf",
            "file_data": "data:application/pdf;base64,QUJD",
        },
        {"type": "input_file", "file_url": "https://e.org/d"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "filename": "notes.txt", "file_data": "data:text/plain;base64,YWJj"},
    ]


def test_what_the_model_did_and_what_tools_gave() -> None:
    said: list[Part] = [
        Thinking("Hm.", seal="gAAAA", seal_kind="openai", id="rs_1"),
        Text("Let me see."),
        Refusal("Not that."),
        Call("c1", "f", '{"a":1}'),
        Call("c2", "p", "free", custom=True),
        Call("c3", "g"),
    ]
    given: list[Part] = [
        Result("c1", [Text("42")]),
        Result("c2", [Text("ok"), Image(url="https://e.org/i")]),
        Result("c3", []),
        Text("b"),
    ]
    written = write(HELLO, Message("assistant", said), Message("user", given))
    summary = [{"type": "summary_text", "text": "Hm."}]
    words = [{"type": "output_text", "text": "Let me see."}, {"type": "refusal", "refusal": "Not that."}]
    image = {"type": "input_image", "image_url": "https://e.org/i", "detail": "auto"}
    assert written.dropped == ()
    assert written.body["input"][1:] == [
        {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "gAAAA"},
        {"type": "message", "role": "assistant", "content": words},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "free"},
        {"type": "function_call", "call_id": "c3", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "ok"}, image],
        },
        {"type": "function_call_output", "call_id": "c3", "output": ""},
        {"type": "message", "role": "user", "content": "b"},
    ]
    assert written.body["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize(
    "thinking",
    [
        Thinking("Secret.", seal="s", seal_kind="anthropic"),
        Thinking(seal="s", seal_kind="anthropic-redacted", redacted=True),
        Thinking("Secret.", seal="s", seal_kind="gemini"),
        Thinking("Secret.", seal="s", seal_kind="openrouter", raw={"a": "Secret."}),
        Thinking("Secret."),
    ],
)
def test_thinking_of_another_maker_is_dropped_and_never_shown_as_text(thinking: Thinking) -> None:
    sealed = Call("c1", "f", "{}", seal="gemini-seal")
    written = write(HELLO, Message("assistant", [thinking, Text("Hi", seal="gemini-seal"), sealed]))
    assert written.dropped == ("thinking",)
    assert written.body["input"][1:] == [
        {"type": "message", "role": "assistant", "content": "Hi"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ]
    assert "include" not in written.body


def test_what_has_no_place_is_named() -> None:
    written = write(
        Message("user", [Text("a", cache=Cache("1h"))], name="Ann"),
        Message("assistant", [Foreign("web_search_tool_result", {}), Call("c1", "f")]),
        Message("user", [Result("c1", [Text("no")], failed=True)]),
        top_k=5,
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=0.0,
        dropped=["thinking.display"],
    )
    assert written.dropped == (
        "thinking.display",
        "cache_control",
        "is_error",
        "messages[0].name",
        "web_search_tool_result",
        "top_k",
        "presence_penalty",
        "seed",
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"stop": ["END"]}, "stop"), ({"n": 2}, "n"), ({"logit_bias": {"1": 5}}, "logit_bias")],
)
def test_what_would_change_the_answer_is_refused(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


def test_audio_and_foreign_parts_of_a_user_are_refused() -> None:
    assert refusal(Message("user", [Audio("QUJD", "wav")])).param == "messages[0]"
    assert refusal(Message("user", [Foreign("container_upload", {})])).param == "container_upload"


def test_tools_are_flat_and_not_strict_unless_said() -> None:
    schema = {"type": "object", "properties": {"a": {}}}
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}
    written = write(
        tools=[
            Tool("f", "F.", schema, strict=True),
            Tool("g"),
            Tool("p", custom=True, format=grammar),
            Tool("q", custom=True, format={"type": "text"}),
        ],
        choice=Choice("required", ("p",)),
        parallel=False,
    )
    assert written.body["tools"] == [
        {"type": "function", "name": "f", "description": "F.", "parameters": schema, "strict": True},
        {
            "type": "function",
            "name": "g",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {
            "type": "custom",
            "name": "p",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
        },
        {"type": "custom", "name": "q", "format": {"type": "text"}},
    ]
    assert written.body["tool_choice"] == {"type": "custom", "name": "p"}
    assert written.body["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice("auto"), "auto"),
        (Choice("none", ("f",)), "none"),
        (Choice("required"), "required"),
        (Choice("required", ("f",)), {"type": "function", "name": "f"}),
        (
            Choice("auto", ("f",)),
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_choices(choice: Choice, expected: Any) -> None:
    assert write(tools=[Tool("f")], choice=choice).body["tool_choice"] == expected


@pytest.mark.parametrize(
    ("reasoning", "expected", "sealed"),
    [
        (Reasoning(), None, False),
        (Reasoning(enabled=False), {"effort": "none"}, False),
        (Reasoning(effort="none"), {"effort": "none"}, False),
        (Reasoning(enabled=True), None, True),
        (Reasoning(enabled=True, effort="xhigh", show=True), {"effort": "xhigh", "summary": "auto"}, True),
        (Reasoning(budget=1_024), {"effort": "minimal"}, True),
        (Reasoning(budget=10_000), {"effort": "medium"}, True),
        (Reasoning(budget=32_000), {"effort": "xhigh"}, True),
        (Reasoning(show=True), {"summary": "auto"}, False),
    ],
)
def test_reasoning_and_its_seal(reasoning: Reasoning, expected: dict[str, Any] | None, sealed: bool) -> None:
    body = write(reasoning=reasoning).body
    assert body.get("reasoning") == expected
    assert body.get("include") == (["reasoning.encrypted_content"] if sealed else None)


def test_settings_have_their_names_here() -> None:
    written = write(
        stream=True,
        max_tokens=100,
        temperature=0.5,
        top_p=0.9,
        logprobs=True,
        top_logprobs=2,
        user="u",
        tier="standard_only",
        cache_key="k",
        metadata={"a": "b"},
        format=Format("schema", {"type": "object"}, "n", "D", True),
        verbosity="low",
    )
    assert {name: value for name, value in written.body.items() if name not in ("model", "input")} == {
        "store": False,
        "stream": True,
        "max_output_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "user": "u",
        "service_tier": "default",
        "prompt_cache_key": "k",
        "metadata": {"a": "b"},
        "text": {
            "format": {
                "type": "json_schema",
                "name": "n",
                "schema": {"type": "object"},
                "description": "D",
                "strict": True,
            },
            "verbosity": "low",
        },
    }
    assert write(format=Format("json")).body["text"] == {"format": {"type": "json_object"}}


def test_a_probe_for_one_token_is_served_with_the_least_that_the_api_takes() -> None:
    written = write(max_tokens=1)
    assert written.body["max_output_tokens"] == 16
    assert written.dropped == ("max_tokens",)


def test_an_unknown_tier_is_named_and_left_out() -> None:
    written = write(tier="on_demand")
    assert "service_tier" not in written.body
    assert written.dropped == ("service_tier",)


def test_quirks_apply_here_too() -> None:
    request = Request(messages=[HELLO], metadata={"a": "b"}, temperature=1.0)
    written = wire.write_request(request, model="m", quirks=Quirks(drop=("metadata",)))
    assert isinstance(written, Written)
    assert "metadata" not in written.body
    assert written.dropped == ("metadata",)


def test_an_image_that_a_model_made_is_shown_by_the_user() -> None:
    written = write(HELLO, Message("assistant", [Text("Here."), Image(media_type="image/png", data="QUJD")]))
    assert [item["role"] for item in written.body["input"]] == ["user", "assistant", "user"]
    assert written.body["input"][2]["content"][1]["image_url"] == "data:image/png;base64,QUJD"
