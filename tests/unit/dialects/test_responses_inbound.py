from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import (
    Audio,
    Cache,
    Call,
    Document,
    Foreign,
    Image,
    Refusal,
    Result,
    Text,
    Thinking,
)
from keyrail.dialects.canonical.request import Choice, Format, Message, Reasoning, Request, Tool
from keyrail.dialects.openai_responses import face, sealing

MODEL = {"model": "m"}


def read(**body: Any) -> Request:
    found = {**MODEL, "input": "Hello", **body}
    assert face.check(found) is None
    request = face.read_request(found)
    assert isinstance(request, Request), request
    return request


def refusal(**body: Any) -> Failure:
    found = {**MODEL, "input": "Hello", **body}
    assert face.check(found) is None
    failure = face.read_request(found)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status) == ("bad_request", 400)
    return failure


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def reasoning(sealed: str | None, *texts: str) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": sealed}


def call(call_id: str = "c1", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": '{"a":1}', **fields}


def test_instructions_lead_and_a_string_is_the_users() -> None:
    assert read(instructions="Be brief.").messages == [
        Message("system", [Text("Be brief.")]),
        Message("user", [Text("Hello")]),
    ]


def test_all_roles_with_and_without_a_type() -> None:
    items = [
        {"role": "system", "content": "a"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "b"}]},
        {"role": "user", "content": "c"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "d", "annotations": []},
                {"type": "refusal", "refusal": "e"},
            ],
        },
    ]
    assert read(input=items).messages == [
        Message("system", [Text("a")]),
        Message("system", [Text("b")]),
        Message("user", [Text("c")]),
        Message("assistant", [Text("d"), Refusal("e")]),
    ]


def test_media_in_all_their_forms() -> None:
    items = user(
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "low"},
        {"type": "input_image", "image_url": "https://example.org/a.png"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"},
        {"type": "input_file", "file_data": "QUJD"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
    )
    assert read(input=items).messages[0].parts == [
        Image(media_type="image/png", data="QUJD", detail="low"),
        Image(url="https://example.org/a.png"),
        Document(media_type="application/pdf", data="QUJD", name="a.pdf"),
        Document(data="QUJD"),
        Document(url="https://example.org/a.pdf"),
        Document(file_id="file-1"),
        Audio("QUJD", "wav"),
        Text("a", cache=Cache()),
    ]


def test_what_the_model_did_is_one_turn_and_results_are_another() -> None:
    items = [
        {"role": "user", "content": "a"},
        reasoning("gAAAA", "One.", "Two."),
        {"role": "assistant", "content": "Let me see."},
        call("c1"),
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "*** Begin"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "ok"},
                {"type": "input_image", "image_url": "https://e.org/i"},
            ],
        },
        {"role": "user", "content": "b"},
    ]
    assert read(input=items).messages == [
        Message("user", [Text("a")]),
        Message(
            "assistant",
            [
                Thinking("One.\n\nTwo.", seal="gAAAA", seal_kind="openai", id="rs_1"),
                Text("Let me see."),
                Call("c1", "f", '{"a":1}'),
                Call("c2", "patch", "*** Begin", custom=True),
            ],
        ),
        Message(
            "user",
            [
                Result("c1", [Text("42")], name="f"),
                Result("c2", [Text("ok"), Image(url="https://e.org/i")], name="patch"),
            ],
        ),
        Message("user", [Text("b")]),
    ]


def test_foreign_seals_are_back_in_their_place() -> None:
    redacted = Thinking(seal="xyz", seal_kind="anthropic-redacted", redacted=True)
    raw = {"type": "reasoning.encrypted", "data": "abc"}
    entry = Thinking("t", seal="abc", seal_kind="openrouter", raw=raw, id="r1")
    sealed = Thinking("I think.\n\nSo.", seal="sig", seal_kind="anthropic")
    items = [
        reasoning(sealing.of_thinking(sealed), "I think.\n\nSo."),
        reasoning(sealing.of_thinking(redacted)),
        reasoning(sealing.of_thinking(entry), "t"),
        reasoning(sealing.on_part("text", "s1")),
        {"role": "assistant", "content": "a"},
        reasoning(sealing.on_part("text-before", "s2")),
        reasoning(sealing.on_call("c2", "s3")),
        call("c1"),
        call("c2"),
        reasoning(sealing.on_part("image", "s4")),
        {"type": "image_generation_call", "id": "ig_1", "result": "QUJD", "output_format": "jpeg"},
    ]
    assert read(input=items).messages[0].parts == [
        sealed,
        redacted,
        entry,
        Text("a", seal="s2"),
        Call("c1", "f", '{"a":1}'),
        Call("c2", "f", '{"a":1}', seal="s3"),
        Image(media_type="image/jpeg", data="QUJD", seal="s4"),
    ]


def test_replayed_thoughts_are_never_text() -> None:
    items = [reasoning(None, "Secret."), {"role": "assistant", "content": "Hi"}, reasoning(None)]
    assert read(input=items).messages[0].parts == [Thinking("Secret.", id="rs_1"), Text("Hi")]


def test_hosted_tools_items_are_foreign_or_refused() -> None:
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert read(input=[searched]).messages[0].parts == [Foreign("web_search_call", searched)]
    for item in (
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"},
        {"type": "tool_search_call", "call_id": "c1", "arguments": {}},
        {"type": "computer_call_output", "call_id": "c1", "output": {}},
    ):
        assert refusal(input=[{"role": "user", "content": "a"}, item]).param == "input[1]"
    assert refusal(input=[call(namespace="crm")]).param == "input[0].namespace"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_image", "file_id": "file-1"}, "input[0].content[0].file_id"),
        ({"type": "input_image"}, "input[0].content[0]"),
        ({"type": "input_file"}, "input[0].content[0]"),
        ({"type": "input_audio"}, "input[0].content[0]"),
        ({"type": "input_video", "url": "x"}, "input[0].content[0]"),
        ({"type": "input_text", "text": 1}, "input[0].content[0]"),
    ],
)
def test_a_part_that_nobody_else_could_read_is_refused(part: dict[str, Any], param: str) -> None:
    assert refusal(input=user(part)).param == param


def test_tools_and_their_grammar() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    request = read(
        tools=[
            {"type": "function", "name": "f", "description": "F.", "parameters": schema, "strict": True},
            {"type": "function", "name": "g", "parameters": None, "strict": None, "defer_loading": True},
            {"type": "custom", "name": "p", "description": "P.", "format": grammar},
            {"type": "custom", "name": "q", "format": {"type": "text"}},
        ],
        parallel_tool_calls=False,
    )
    nested = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}
    assert request.tools == [
        Tool("f", "F.", schema, strict=True),
        Tool("g"),
        Tool("p", "P.", custom=True, format=nested),
        Tool("q", custom=True),
    ]
    assert request.parallel is False
    assert request.dropped == ["tools[1].defer_loading"]


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "web_search"}, "tools[0]"),
        ({"type": "namespace", "name": "crm", "tools": []}, "tools[0]"),
        ({"name": "f"}, "tools[0]"),
        ({"type": "function", "function": {"name": "f"}}, "tools[0].name"),
    ],
)
def test_a_tool_of_openais_own_is_refused_for_others(tool: dict[str, Any], param: str) -> None:
    assert refusal(tools=[tool]).param == param


@pytest.mark.parametrize(
    ("given_choice", "expected"),
    [
        ("auto", Choice("auto")),
        ("none", Choice("none")),
        ("required", Choice("required")),
        ({"type": "function", "name": "f"}, Choice("required", ("f",))),
        ({"type": "custom", "name": "p"}, Choice("required", ("p",))),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            Choice("auto", ("f",)),
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "p"}],
            },
            Choice("required", ("f", "p")),
        ),
    ],
)
def test_tool_choices(given_choice: Any, expected: Choice) -> None:
    assert read(tool_choice=given_choice).choice == expected


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("any", "tool_choice"),
        ({"type": "web_search"}, "tool_choice"),
        ({"type": "allowed_tools", "mode": "some", "tools": []}, "tool_choice.mode"),
        ({"type": "allowed_tools", "tools": [{"type": "mcp", "server_label": "x"}]}, "tool_choice.tools[0]"),
    ],
)
def test_tool_choices_for_openais_own_tools_are_refused(choice: Any, param: str) -> None:
    assert refusal(tool_choice=choice).param == param


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"effort": "high", "summary": "auto"}, Reasoning(enabled=True, effort="high", show=True)),
        ({"effort": "none"}, Reasoning(enabled=False, effort="none")),
        ({"effort": None, "generate_summary": "concise"}, Reasoning(show=True)),
        ({"summary": None}, Reasoning()),
    ],
)
def test_reasoning(asked: dict[str, Any], expected: Reasoning) -> None:
    request = read(reasoning=asked)
    assert request.reasoning == expected
    assert request.dropped == []


def test_formats() -> None:
    assert read(text={"format": {"type": "text"}, "verbosity": "low"}).format is None
    assert read(text={"format": {"type": "text"}, "verbosity": "low"}).verbosity == "low"
    assert read(text={"format": {"type": "json_object"}}).format == Format("json")
    form = {
        "type": "json_schema",
        "name": "n",
        "schema": {"type": "object"},
        "strict": True,
        "description": "D",
    }
    assert read(text={"format": form}).format == Format("schema", {"type": "object"}, "n", "D", True)
    assert refusal(text={"format": {"type": "grammar"}}).param == "text.format"


def test_settings_are_carried_and_the_rest_is_named_as_dropped() -> None:
    request = read(
        stream=True,
        store=True,
        max_output_tokens=100.0,
        temperature=0.5,
        top_p=0.9,
        top_logprobs=3,
        include=["reasoning.encrypted_content", "message.output_text.logprobs", "web_search_call.results"],
        metadata={"a": "b"},
        service_tier="flex",
        prompt_cache_key="k",
        safety_identifier="s",
        user="u",
        truncation="auto",
        max_tool_calls=3,
        context_management=[{"type": "compaction"}],
        prompt_cache_options={"mode": "explicit"},
        reasoning={"effort": "low", "context": "all_turns"},
        stream_options={"include_obfuscation": False},
        moderation=None,
    )
    assert (request.stream, request.include_usage, request.max_tokens) == (True, True, 100)
    assert type(request.max_tokens) is int
    assert (request.temperature, request.top_p, request.logprobs, request.top_logprobs) == (0.5, 0.9, True, 3)
    assert (request.metadata, request.tier, request.cache_key, request.user) == ({"a": "b"}, "flex", "k", "s")
    assert sorted(request.dropped) == [
        "context_management",
        "include[2]",
        "max_tool_calls",
        "prompt_cache_options",
        "reasoning.context",
        "truncation",
    ]
    assert read(truncation="disabled").dropped == []


def test_the_phase_of_a_message_is_named_as_dropped() -> None:
    item = {"type": "message", "role": "assistant", "phase": "commentary", "content": "Hm."}
    assert read(input=[item]).dropped == ["input[0].phase"]


leaf = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
json_values = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
kinds = st.sampled_from(
    [
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "image_generation_call",
        "web_search_call",
        "input_text",
        "input_image",
        "input_file",
        "refusal",
    ]
)
names = (
    "role",
    "content",
    "summary",
    "encrypted_content",
    "call_id",
    "name",
    "arguments",
    "output",
    "result",
    "text",
)
items = st.fixed_dictionaries({}, optional={"type": kinds, **dict.fromkeys(names, json_values)})
bodies = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.lists(items, min_size=1, max_size=4)},
    optional={
        "tools": st.lists(st.fixed_dictionaries({}, optional={"type": json_values, "name": json_values})),
        "tool_choice": json_values,
        "reasoning": json_values,
        "text": json_values,
        "include": json_values,
        "instructions": json_values,
        "max_output_tokens": json_values,
    },
)


@settings(max_examples=60, deadline=None)
@given(bodies)
def test_nothing_that_passes_the_check_breaks_the_reader(body: dict[str, Any]) -> None:
    if face.check(body) is None:
        face.facts(body)
        assert isinstance(face.read_request(body), Request | Failure)
