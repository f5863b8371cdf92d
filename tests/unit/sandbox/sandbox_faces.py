"""The four faces of the sandbox, asked without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from keyrail_sandbox.app import create_app

SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TEXT = "one two three"
CHAT, RESPONSES, MESSAGES, GEMINI = "openai-chat", "openai-responses", "anthropic-messages", "gemini-generate"
FACES = (CHAT, RESPONSES, MESSAGES, GEMINI)


@dataclass(frozen=True)
class Got:
    """`writes` are the parts of the body as they were handed to the server."""

    status: int
    headers: dict[str, str]
    writes: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = self.body.decode().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


async def post(path: str, body: Any, **headers: str) -> Got:
    """What the application answers; header names with _ for -."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = False
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # nobody leaves before the answer is complete
        asked = True
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "POST",
        "path": target,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    await create_app()(scope, receive, send)
    given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Got(sent[0]["status"], given, [message["body"] for message in sent[1:]])


async def ask(face: str, model: str, *, stream: bool = False, **more: Any) -> Got:
    """The usual question, with a tool on offer and reasoning wanted; `more` are fields of the body."""
    path = {CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses", MESSAGES: "/v1/messages"}.get(face)
    if path is None:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        path = f"/v1beta/models/{model}:{method}"
    body = {**question(face), **({} if face == GEMINI else {"model": model, "stream": stream}), **more}
    return await post(path, body, anthropic_version="2023-06-01")


def question(face: str) -> dict[str, Any]:
    """The body but for model and stream."""
    if face == CHAT:
        tool: dict[str, Any] = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
        messages = [{"role": "user", "content": TEXT}]
        return {"messages": messages, "tools": [tool], "stream_options": {"include_usage": True}}
    if face == RESPONSES:
        tool = {"type": "function", "name": "weather", "parameters": SCHEMA}
        include = ["reasoning.encrypted_content"]
        return {"input": TEXT, "tools": [tool], "include": include, "reasoning": {"summary": "auto"}}
    if face == MESSAGES:
        tool = {"name": "weather", "input_schema": SCHEMA}
        return {"messages": [{"role": "user", "content": TEXT}], "tools": [tool], "max_tokens": 100}
    declared = {"name": "weather", "parametersJsonSchema": SCHEMA}
    return {
        "contents": [{"role": "user", "parts": [{"text": TEXT}]}],
        "tools": [{"functionDeclarations": [declared]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    }


@dataclass(frozen=True)
class Said:
    """An answer in words that do not depend on its dialect. `calls` are names and arguments."""

    text: str
    thoughts: str
    calls: list[tuple[str, Any]]
    finish: str | None


def said(face: str, body: dict[str, Any]) -> Said:
    """What a whole answer says."""
    return {CHAT: _chat, RESPONSES: _response, MESSAGES: _message, GEMINI: _content}[face](body)


def _chat(body: dict[str, Any]) -> Said:
    choice = body["choices"][0]
    message = choice["message"]
    calls = [(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", [])]
    text = message["content"] or message["refusal"] or ""
    return Said(text, message.get("reasoning_content", ""), calls, choice["finish_reason"])


def _response(body: dict[str, Any]) -> Said:
    text, thoughts, calls = "", "", list[tuple[str, Any]]()
    for item in body["output"]:
        if item["type"] == "message":
            text += "".join(part.get("text", part.get("refusal")) for part in item["content"])
        elif item["type"] == "reasoning":
            thoughts += "".join(part["text"] for part in item["summary"])
        else:
            calls.append((item["name"], item["arguments"]))
    return Said(text, thoughts, calls, (body["incomplete_details"] or {}).get("reason", body["status"]))


def _message(body: dict[str, Any]) -> Said:
    blocks = body["content"]
    calls = [(b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
    text = "".join(b["text"] for b in blocks if b["type"] == "text")
    thoughts = "".join(b["thinking"] for b in blocks if b["type"] == "thinking")
    return Said(text, thoughts, calls, body["stop_reason"])


def _content(body: dict[str, Any]) -> Said:
    if "candidates" not in body:
        return Said("", "", [], body["promptFeedback"]["blockReason"])
    candidate = body["candidates"][0]
    parts = candidate["content"].get("parts", [])
    calls = [(p["functionCall"]["name"], p["functionCall"].get("args")) for p in parts if "functionCall" in p]
    text = "".join(p["text"] for p in parts if "text" in p and "thought" not in p)
    thoughts = "".join(p["text"] for p in parts if "thought" in p)
    return Said(text, thoughts, calls, candidate["finishReason"])
