"""Requests of Messages clients: checked, described, prepared for Anthropic, read into the canonical form."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import face, wire
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import Cache, Call, Document, Foreign, Image, Result, Text, Thinking
from keyrail.dialects.canonical.request import Choice, Format, Message, Request, Tool
from keyrail.dialects.protocols import Face, Wire

BASE: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
}


def body(*content: dict[str, Any], role: str = "user", **fields: Any) -> dict[str, Any]:
    return {**BASE, "messages": [{"role": role, "content": list(content)}], **fields}


def read(request: dict[str, Any]) -> Request:
    assert face.check(request) is None
    found = face.read_request(request)
    assert isinstance(found, Request), found
    return found


def refuse(request: dict[str, Any]) -> Failure:
    assert face.check(request) is None
    failure = face.read_request(request)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status) == ("bad_request", 400)
    return failure


def parts(request: dict[str, Any]) -> list[Any]:
    return [part for message in read(request).messages for part in message.parts]


def test_the_modules_are_what_the_protocols_ask_for() -> None:
    a_face: Face = face
    a_wire: Wire = wire
    assert a_face.check(BASE) is None
    assert a_wire.reader("anthropic").failure is None


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"max_tokens": None}, "max_tokens", "missing_required_parameter"),
        ({"max_tokens": "9"}, "max_tokens", "invalid_type"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type", "invalid_type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": "x"}]}]},
            "messages[0].content[0].source",
            "invalid_type",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": 1, "name": "f"}]}]},
            "messages[0].content[0].id",
            "invalid_type",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": 1}]}],
                    }
                ]
            },
            "messages[0].content[0].content[0].type",
            "invalid_type",
        ),
        ({"system": 3}, "system", "invalid_type"),
        ({"temperature": 1.5}, "temperature", "invalid_value"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tool_choice": "auto"}, "tool_choice", "invalid_type"),
        ({"tool_choice": {}}, "tool_choice.type", "invalid_type"),
        ({"thinking": True}, "thinking", "invalid_type"),
        ({"output_config": {"format": "json"}}, "output_config.format", "invalid_type"),
        ({"stop_sequences": "END"}, "stop_sequences", "invalid_type"),
        ({"stream": 1}, "stream", "invalid_type"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str, code: str) -> None:
    problem = face.check({**BASE, **change})
    assert problem is not None
    assert (problem.param, problem.code, problem.status) == (param, code, 400)


def test_unknown_parameters_and_blocks_are_fine() -> None:
    assert face.check(body({"type": "of_tomorrow", "x": 1}, unheard_of=[1])) is None


def test_facts_say_what_the_router_needs() -> None:
    facts = face.facts(
        body(
            {"type": "text", "text": "x" * 400},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 9_999}},
            {"type": "tool_result", "tool_use_id": "a", "content": "y" * 400},
            system=[{"type": "text", "text": "z" * 400}],
            stream=True,
            tools=[{"name": "f", "input_schema": {}}],
            output_config={"format": {"type": "json_schema", "schema": {}}},
        )
    )
    assert (facts.dialect, facts.model) == ("anthropic-messages", "claude-x")
    assert (facts.stream, facts.include_usage, facts.tools) == (True, True, True)
    assert (facts.images, facts.json_schema) == (True, True)
    assert 300 < facts.input_tokens_estimate < 340


def test_an_image_in_a_result_is_an_image() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "u"}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [image]}
    assert face.facts(body(result)).images


def test_preparing_changes_the_model_and_nothing_else() -> None:
    request = (
        b'{"stream":true,"unknown":{"z":1,"a":[12345678901234567890]},"model":"x","max_tokens":1,'
        b'"messages":[{"role":"user","content":[{"text":"hi","type":"text","cache_control":null}]}]}'
    )
    written = wire.prepare(request, model="claude-y", quirks=Quirks())
    assert json_text.dump(written.body) == request.replace(b'"model":"x"', b'"model":"claude-y"')
    assert written.dropped == ()


def test_named_quirks_are_applied_and_what_they_cost_is_named() -> None:
    request = json_text.dump({**BASE, "top_k": 3, "speed": None})
    quirks = Quirks(drop=("top_k", "speed", "absent"), rename={"max_tokens": "limit"})
    written = wire.prepare(request, model="m", quirks=quirks)
    assert written.dropped == ("top_k",)
    assert list(written.body) == ["model", "limit", "messages"]


def test_a_body_that_is_no_object_can_not_be_prepared() -> None:
    with pytest.raises(ValueError, match="object"):
        wire.prepare(b"[]", model="m", quirks=Quirks())


def test_system_may_be_text_or_blocks_and_stand_in_mid_conversation() -> None:
    request = read(
        {
            **BASE,
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "system", "content": "French."},
                {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
            ],
        }
    )
    assert request.messages == [
        Message("system", [Text("s", cache=Cache("1h"))]),
        Message("user", [Text("a")]),
        Message("system", [Text("French.")]),
        Message("assistant", [Text("b")]),
    ]
    assert read({**BASE, "system": "short"}).messages[0] == Message("system", [Text("short")])


def test_images_and_documents_are_read_from_each_source() -> None:
    control = {"cache_control": {"type": "ephemeral"}}
    png = {"type": "base64", "media_type": "image/png", "data": "AA"}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "BB"}
    found = parts(
        body(
            {"type": "image", "source": png, **control},
            {"type": "image", "source": {"type": "url", "url": "u"}},
            {"type": "document", "source": pdf, "title": "t", "citations": {"enabled": True}, **control},
            {"type": "document", "source": {"type": "url", "url": "v"}, "context": "from 2020"},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
            {"type": "document", "source": {"type": "file", "file_id": "f"}},
            {
                "type": "document",
                "source": {"type": "content", "content": [{"type": "text", "text": "c"}]},
            },
            {
                "type": "search_result",
                "source": "https://s",
                "title": "T",
                "content": [{"type": "text", "text": "found"}],
            },
        )
    )
    assert found == [
        Image("image/png", "AA", cache=Cache()),
        Image(url="u"),
        Document("application/pdf", "BB", name="t", citations=True, cache=Cache()),
        Text("from 2020"),
        Document(url="v"),
        Document("text/plain", text="d"),
        Document(file_id="f"),
        Document("text/plain", text="c"),
        Document("text/plain", text="https://s\n\nfound", name="T"),
    ]


def test_calls_keep_the_order_of_their_arguments_and_exact_integers() -> None:
    call = {
        "type": "tool_use",
        "id": "a",
        "name": "f",
        "input": {"z": 12345678901234567890123, "a": {"é": 1.5}},
        "cache_control": {"type": "ephemeral", "ttl": "5m"},
    }
    assert parts(body(call, role="assistant")) == [
        Call("a", "f", '{"z":12345678901234567890123,"a":{"é":1.5}}', cache=Cache("5m"))
    ]


def test_results_know_their_tool_and_whether_it_failed() -> None:
    request = {
        **BASE,
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True},
                    {
                        "type": "tool_result",
                        "tool_use_id": "b",
                        "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
                        "cache_control": {"type": "ephemeral"},
                    },
                    {"type": "tool_result", "tool_use_id": "c"},
                ],
            },
        ],
    }
    assert parts(request)[1:] == [
        Result("a", [Text("no")], name="f", failed=True),
        Result("b", [Text("x", cache=Cache())], cache=Cache()),
        Result("c", []),
    ]


def test_thoughts_keep_their_signature_and_their_place() -> None:
    found = parts(
        body(
            {"type": "thinking", "thinking": "t", "signature": "sig"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {}},
            {"type": "redacted_thinking", "data": "dat"},
            {"type": "thinking", "thinking": "unsigned", "signature": ""},
            role="assistant",
        )
    )
    assert found == [
        Thinking("t", "sig", "anthropic"),
        Call("a", "f", "{}"),
        Thinking("", "dat", "anthropic-redacted", redacted=True),
        Thinking("unsigned"),
    ]


def test_hosted_blocks_are_foreign_to_other_dialects() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    assert parts(body(block, role="assistant")) == [Foreign("server_tool_use", block)]


def test_all_parameters_have_their_place() -> None:
    request = read(
        {
            **BASE,
            "stream": True,
            "tools": [
                {
                    "type": "custom",
                    "name": "f",
                    "description": "d",
                    "input_schema": {"type": "object"},
                    "strict": True,
                    "cache_control": {"type": "ephemeral"},
                    "defer_loading": True,
                }
            ],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            "output_config": {
                "format": {"type": "json_schema", "schema": {"type": "object"}},
                "task_budget": {"type": "tokens"},
            },
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u"},
            "service_tier": "auto",
            "cache_control": {"type": "ephemeral"},
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 4,
            "speed": "fast",
            "context_management": {"edits": []},
            "container": None,
        }
    )
    assert request == Request(
        messages=[Message("user", [Text("hi")])],
        stream=True,
        include_usage=True,
        tools=[Tool("f", "d", {"type": "object"}, strict=True, cache=Cache())],
        choice=Choice("required", ("f",)),
        parallel=False,
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        stop=["END"],
        format=Format("schema", {"type": "object"}, strict=True),
        user="u",
        tier="auto",
        cache=Cache(),
        dropped=["speed", "context_management", "output_config.task_budget", "tools[0].defer_loading"],
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("auto", Choice("auto")), ("any", Choice("required")), ("none", Choice("none"))],
)
def test_each_choice_is_read(choice: str, expected: Choice) -> None:
    assert read({**BASE, "tool_choice": {"type": choice}}).choice == expected
    parallel = read({**BASE, "tool_choice": {"type": "auto", "disable_parallel_tool_use": False}})
    assert parallel.parallel is True


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"name": "f"}, {"type": "web_search_20260209", "name": "web_search"}]}, "tools[1]"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tool_choice": {"type": "of_tomorrow"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
    ],
)
def test_what_only_anthropic_has_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refuse({**BASE, **fields}).param == param


def test_what_means_nothing_is_neither_refused_nor_named() -> None:
    request = read({**BASE, "inference_geo": "global", "speed": "standard", "mcp_servers": [], "top_k": None})
    assert request.dropped == []


def test_sources_that_only_anthropic_can_open_are_refused_by_place() -> None:
    file = {"type": "image", "source": {"type": "file", "file_id": "f"}}
    assert refuse(body({"type": "text", "text": "x"}, file)).param == "messages[0].content[1].source"
    reference = {"type": "tool_reference", "tool_name": "f"}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [reference]}
    assert refuse(body(result)).param == "messages[0].content[0].content"
