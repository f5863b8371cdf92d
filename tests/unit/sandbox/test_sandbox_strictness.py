"""What each provider would not take."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox_faces import CHAT, GEMINI, MESSAGES, RESPONSES, ask, post

USER = {"role": "user", "content": "hello"}


def _user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


TOOL = {"name": "f", "input_schema": {"type": "object"}}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"messages": [{"role": "human", "content": "hello"}]}, "messages[0].role"),
    (CHAT, {"messages": [USER, {"role": "assistant", "content": None}]}, "not null"),
    (CHAT, {"messages": [{"role": "user", "content": None}]}, "not null"),
    (CHAT, _user({"type": "thinking", "thinking": "hm"}), "'thinking'"),
    (RESPONSES, {"input": [{"type": "banana"}]}, "'banana'"),
    (RESPONSES, {"input": [{"content": "hello"}]}, "no type of input item"),
    (RESPONSES, {"input": [{"role": "tool", "content": "x"}]}, "'tool'"),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input_text"),
    (
        RESPONSES,
        {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
        "output_text",
    ),
    (RESPONSES, {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
    (RESPONSES, {"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
    (RESPONSES, {"previous_response_id": "resp_1"}, "resp_1"),
    (RESPONSES, {"background": True}, "background"),
    (MESSAGES, {"max_tokens": None}, "max_tokens: Field required"),
    (MESSAGES, {"messages": [{"role": "tool", "content": "x"}]}, "role"),
    (MESSAGES, {"messages": [{"role": "user", "content": ""}]}, "non-empty"),
    (MESSAGES, _user({"type": "text", "text": ""}), "non-empty"),
    (MESSAGES, _user({"type": "input_text", "text": "x"}), "'input_text'"),
    (MESSAGES, _user({"type": "image", "image_url": "x"}), "source"),
    (MESSAGES, {"temperature": 1.5}, "temperature"),
    (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1000}}, "1024"),
    (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, "greater than"),
    (
        MESSAGES,
        {
            "max_tokens": 3000,
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "tool_choice": {"type": "any"},
        },
        "forces tool use",
    ),
    (MESSAGES, {"tools": [{"type": "function", "function": {"name": "f"}}]}, "'function'"),
    (MESSAGES, {"tools": [{"name": "f"}]}, "input_schema: Field required"),
    (MESSAGES, {"tools": [{**TOOL, "name": "a b"}]}, "name"),
    (
        MESSAGES,
        {
            "messages": [
                USER,
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
                USER,
            ]
        },
        "Invalid `signature`",
    ),
    (
        MESSAGES,
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "call.1", "name": "f", "input": {}}],
                },
            ]
        },
        "tool_use.id",
    ),
    (GEMINI, {"contents": []}, "not specified"),
    (GEMINI, {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
    (GEMINI, {"contents": [{"role": "model", "parts": [{"text": "x"}]}]}, "first content"),
    (GEMINI, {"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
    (GEMINI, {"contents": [{"role": "user", "parts": [{}]}]}, "oneof field 'data'"),
    (
        GEMINI,
        {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": "text"}}]}]},
        "must be an object",
    ),
    (GEMINI, {"generationConfig": {"maxOutputTokens": 0}}, "positive"),
    (GEMINI, {"generationConfig": {"responseJsonSchema": {}}}, "mime type"),
    (
        GEMINI,
        {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"$schema": "x"}}]}]},
        "$schema",
    ),
]


@pytest.mark.parametrize(("face", "more", "words"), REFUSED)
async def test_what_a_provider_would_not_take_is_a_400(face: str, more: dict[str, Any], words: str) -> None:
    got = await ask(face, "echo", **more)
    assert got.status == 400, got.body
    assert words in got.json["error"]["message"]


async def test_anthropic_wants_to_know_its_version() -> None:
    got = await post("/v1/messages", {"model": "echo", "max_tokens": 9, "messages": [USER]})
    assert (got.status, "anthropic-version" in got.json["error"]["message"]) == (400, True)


TAKEN: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": [{"role": "developer", "content": "be kind"}, USER]}),
    (RESPONSES, {"instructions": "be kind", "input": [{"type": "message", **USER}]}),
    (
        MESSAGES,
        {
            "system": [{"type": "text", "text": "be kind"}],
            "messages": [USER, {"role": "system", "content": "x"}],
        },
    ),
    (MESSAGES, {"messages": [USER, {"role": "assistant", "content": "I"}]}),
    (GEMINI, {"contents": [{"parts": {"text": "hello"}}]}),
    (
        GEMINI,
        {
            "system_instruction": {"parts": [{"text": "be kind"}]},
            "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": ""}}]}],
        },
    ),
]


@pytest.mark.parametrize(("face", "more"), TAKEN)
async def test_what_a_provider_takes_is_answered(face: str, more: dict[str, Any]) -> None:
    got = await ask(face, "echo", **more)
    assert got.status == 200, got.body


async def test_instructions_count_as_a_message() -> None:
    plain = (await ask(MESSAGES, "echo")).json["usage"]["input_tokens"]
    assert (await ask(MESSAGES, "echo", system="12345678")).json["usage"]["input_tokens"] == plain + 5
    content = {"parts": [{"text": "12345678"}]}
    usage = (await ask(GEMINI, "echo", systemInstruction=content)).json["usageMetadata"]
    assert usage["promptTokenCount"] == plain + 5
    assert (await ask(RESPONSES, "echo", instructions="12345678")).json["usage"]["input_tokens"] == plain + 5
