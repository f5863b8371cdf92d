"""A whole answer, read from a provider and written for a client."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import carried
from keyrail.dialects.anthropic_messages.blocks import (
    ANSWER_TOOL,
    CITATIONS,
    HOSTED,
    STOP_REASONS,
    finish_of,
)
from keyrail.dialects.anthropic_messages.errors import classify_error
from keyrail.dialects.anthropic_messages.outbound_messages import arguments_object, tool_id
from keyrail.dialects.anthropic_messages.usage import raw_of, usage_of
from keyrail.dialects.canonical import seals
from keyrail.dialects.canonical.answer import Answer, Candidate, Finish
from keyrail.dialects.canonical.parts import Call, Foreign, Part, Refusal, Text, Thinking
from keyrail.dialects.failures import garbage

Block = dict[str, Any]


def parse_answer(body: bytes, provider: str) -> Answer | Failure:
    """A 200's body. An error inside it is classified; what is no message is `garbage`."""
    value = json_text.parse_or_none(body)
    if type(value) is not dict:
        detail = "an empty body" if not body.strip() else "a body that is no JSON object"
        return garbage(provider, f"answered with {detail}")
    message = cast("dict[str, Any]", value)
    if message.get("type") == "error" or message.get("error"):
        return classify_error(provider, message)
    content = message.get("content")
    if type(content) is not list:
        return garbage(provider, "answered with JSON that is no message")
    parts: list[Part] = []
    for block in cast("list[object]", content):
        if type(block) is dict and (part := _part(cast("Block", block))) is not None:
            parts.append(part)
    finish = finish_of(message.get("stop_reason"))
    if finish == "tool_calls" and not any(type(part) is Call for part in parts):
        finish = "stop"  # the only call was the one that stands for structured output
    details = message.get("stop_details")
    why = cast("dict[str, Any]", details).get("explanation") if type(details) is dict else None
    if finish == "content_filter" and type(why) is str and why and not parts:
        parts.append(Refusal(why))
    return Answer(
        id=_string(message.get("id")),
        model=_string(message.get("model")),
        candidates=[Candidate(parts, finish, _string(message.get("stop_sequence")))],
        usage=usage_of(message.get("usage")),
    )


def _string(value: object) -> str | None:
    return value if type(value) is str else None


def _part(block: Block) -> Part | None:
    kind = block.get("type")
    match kind:
        case "text":
            text, citations = block.get("text"), block.get("citations")
            cited = cast("list[Any]", citations) if type(citations) is list and citations else None
            return Text(text, citations=cited) if type(text) is str else None
        case "thinking":
            seal = _string(block.get("signature")) or None
            return Thinking(
                _string(block.get("thinking")) or "", seal, "anthropic" if seal is not None else None
            )
        case "redacted_thinking":
            seal = _string(block.get("data")) or None
            return None if seal is None else Thinking("", seal, "anthropic-redacted", redacted=True)
        case "tool_use":
            return _call(block)
        case _:
            return Foreign(kind, block) if type(kind) is str else None


def _call(block: Block) -> Part:
    id_, name = _string(block.get("id")), _string(block.get("name")) or ""
    value = block.get("input")
    arguments = value if type(value) is str else json_text.dump({} if value is None else value).decode()
    if name == ANSWER_TOOL:
        return Text(arguments)
    return Call(id_ or _invented("toolu_", name + arguments), name, arguments)


def _invented(prefix: str, content: str) -> str:
    """An id where there is none: the same for the same content."""
    return prefix + hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:24]


def render_answer(
    answer: Answer, *, model: str, request: dict[str, Any] | None = None, created: int | None = None
) -> bytes:
    """The answer as the client reads it. `model`: for where the provider named none; the rest is not
    shown."""
    candidate = answer.candidates[0] if answer.candidates else Candidate([], None)
    content = blocks_of(candidate.parts)
    refusal = "".join(part.text for part in candidate.parts if type(part) is Refusal)
    called = any(type(part) is Call for part in candidate.parts)
    message: dict[str, Any] = {
        "id": answer.id or _invented("msg_", json_text.dump(content).decode()),
        "type": "message",
        "role": "assistant",
        "model": answer.model or model,
        "content": content,
        **ending(candidate.finish, candidate.stop_sequence, called=called, refusal=refusal),
        "usage": raw_of(answer.usage),
    }
    return json_text.dump(message)


def ending(finish: Finish | None, stop_sequence: str | None, *, called: bool, refusal: str) -> dict[str, Any]:
    """The fields that say why the answer ended. Calls make it `tool_use`, whatever word came with them."""
    if called and finish in (None, "stop"):
        finish = "tool_calls"
    elif refusal and finish in (None, "stop"):
        finish = "content_filter"
    said: dict[str, Any] = {
        "stop_reason": STOP_REASONS[finish or "stop"],
        "stop_sequence": stop_sequence if finish == "stop_sequence" else None,
    }
    if finish == "content_filter":
        said["stop_details"] = {"type": "refusal", "category": None, "explanation": refusal or None}
    return said


def blocks_of(parts: list[Part]) -> list[Block]:
    """The parts of an answer as content blocks, each foreign seal in a block beside its part."""
    blocks: list[Block] = []
    for part in parts:
        if (write := _WRITERS.get(type(part))) is not None:
            write(part, blocks)
    return blocks


def _write_text(part: Text, blocks: list[Block]) -> None:
    if part.text:
        block: Block = {"type": "text", "text": part.text}
        if known := [value for value in part.citations or () if is_citation(value)]:
            block["citations"] = known
        blocks.append(block)
    if part.seal is not None:
        blocks.append(trailing_seal(part.seal))


def _write_refusal(part: Refusal, blocks: list[Block]) -> None:
    if part.text:
        blocks.append({"type": "text", "text": part.text})


def _write_thinking(part: Thinking, blocks: list[Block]) -> None:
    seal = carried.outward(part)
    if part.redacted:
        if seal and part.seal_kind != "gemini":
            blocks.append({"type": "redacted_thinking", "data": seal})
        elif seal:
            blocks.append({"type": "thinking", "thinking": "", "signature": seal})
    elif part.text or seal:
        blocks.append({"type": "thinking", "thinking": part.text, "signature": seal})


def _write_call(part: Call, blocks: list[Block]) -> None:
    if part.seal is not None:
        blocks.append(leading_seal(part.seal))
    arguments = arguments_object(part.arguments, custom=part.custom)
    blocks.append({"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": arguments})


def _write_foreign(part: Foreign, blocks: list[Block]) -> None:
    if part.what in HOSTED and type(part.value) is dict:
        blocks.append(cast("Block", part.value))


def leading_seal(seal: str) -> Block:
    """The block in front of the call that this Gemini seal is for."""
    return {"type": "redacted_thinking", "data": seals.wrap("gemini", seal)}


def trailing_seal(seal: str) -> Block:
    """The block after the text that this Gemini seal is for."""
    return {"type": "thinking", "thinking": "", "signature": seals.wrap("gemini", seal)}


def is_citation(value: object) -> bool:
    """Whether it is a citation that clients of this dialect know."""
    kind = cast("dict[str, Any]", value).get("type") if type(value) is dict else None
    return type(kind) is str and kind in CITATIONS


_WRITERS: dict[type, Callable[[Any, list[Block]], None]] = {
    Text: _write_text,
    Refusal: _write_refusal,
    Thinking: _write_thinking,
    Call: _write_call,
    Foreign: _write_foreign,
}
