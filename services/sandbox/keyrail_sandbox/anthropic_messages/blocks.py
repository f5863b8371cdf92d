"""Messages and their content blocks: what they say, and whether they fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from keyrail_sandbox import seals
from keyrail_sandbox.ask import Refusal

OWNER = "anthropic"
NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_TYPES = """text image document search_result thinking redacted_thinking tool_use tool_result server_tool_use
    container_upload compaction"""
_BLOCKS = frozenset(_TYPES.split())
_Block = dict[str, Any]


class Message(msgspec.Struct):
    """One message as it came."""

    role: str
    content: str | list[_Block]


def blocks_of(message: Message) -> list[_Block]:
    """The content as blocks."""
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}]
    return message.content


def system_text(system: str | list[_Block] | None) -> str:
    """The system prompt's text."""
    return system if isinstance(system, str) else "".join(str(b.get("text", "")) for b in system or ())


def text_of(message: Message) -> str:
    """The text of a message, that of tools' results included."""
    if isinstance(message.content, str):
        return message.content
    return "".join(_block_text(block) for block in message.content)


def _block_text(block: _Block) -> str:
    if block.get("type") == "text":
        return str(block.get("text", ""))
    return _result_text(block) if block.get("type") == "tool_result" else ""


def _result_text(block: _Block) -> str:
    said = block.get("content")
    if isinstance(said, str):
        return said
    parts = cast("list[_Block]", said or [])
    return "".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")


def question(messages: list[Message]) -> str:
    """The last text of the user's own."""
    for message in reversed(messages):
        if message.role == "user":
            own = "".join(b["text"] for b in blocks_of(message) if b.get("type") == "text")
            if own:
                return own
    return ""


def results(messages: list[Message]) -> tuple[str, ...] | None:
    """The results in the last message, None when there are none."""
    last = blocks_of(messages[-1])
    return tuple(_result_text(block) for block in last if block.get("type") == "tool_result") or None


def media_of(messages: list[Message]) -> tuple[str, ...]:
    """The types of images and documents, in order, those in tools' results too."""
    found: list[str] = []
    for message in messages:
        for block in blocks_of(message):
            inner = block.get("content") if block.get("type") == "tool_result" else None
            for part in [block, *cast("list[_Block]", inner if isinstance(inner, list) else [])]:
                if part.get("type") in ("image", "document"):
                    source = cast("_Block", part.get("source") or {})
                    found.append(str(source.get("media_type", source.get("type", "url"))))
    return tuple(found)


def problem(messages: list[Message], *, thinks: bool) -> Refusal | None:
    """The first thing Anthropic would refuse. `thinks`: tool use has to be preceded by thoughts."""
    for at, message in enumerate(messages):
        if (said := _own_problem(message, last=at == len(messages) - 1)) is not None:
            return _bad(f"messages.{at}", said)
    turns = [turn for turn in _merged(messages) if turn.role != "system"]
    return _unpaired(turns) or (_lost_thoughts(turns) if thinks else None)


def _own_problem(message: Message, *, last: bool) -> str | None:
    if message.role not in ("user", "assistant", "system"):
        return f"role: Input should be 'user' or 'assistant', not '{message.role}'"
    if not message.content and not (last and message.role == "assistant"):
        return "all messages must have non-empty content, except for an optional final assistant message"
    results_may_come = True
    for at, block in enumerate(message.content if isinstance(message.content, list) else ()):
        kind = str(block.get("type"))
        if kind not in _BLOCKS and not kind.endswith(("_tool_result", "_tool_use")):
            return f"content.{at}: Input tag '{kind}' does not match any of the expected tags"
        if kind == "text" and not block.get("text"):
            return f"content.{at}: text content blocks must be non-empty"
        if (said := _block_problem(block)) is not None:
            return f"content.{at}{said}"
        if kind == "tool_result" and not results_may_come:
            return f"content.{at}: `tool_result` blocks must come first in the message"
        results_may_come = results_may_come and kind == "tool_result"
    return None


def _block_problem(block: _Block) -> str | None:
    match block["type"]:
        case "thinking":
            covered = seals.covered_by(OWNER, block.get("signature"))
            if covered is None or covered != seals.digest(str(block.get("thinking"))):
                return ": Invalid `signature` in `thinking` block"
        case "redacted_thinking":
            if seals.covered_by(OWNER, block.get("data")) is None:
                return ": Invalid `data` in `redacted_thinking` block"
        case "tool_use":
            if not NAME.fullmatch(str(block.get("id", ""))):
                return f".tool_use.id: should match {NAME.pattern}"
            if not isinstance(block.get("input"), dict):
                return ".tool_use.input: Input should be an object"
        case "tool_result":
            if not isinstance(block.get("tool_use_id"), str):
                return ".tool_result.tool_use_id: Field required"
        case "image" | "document":
            if not isinstance(block.get("source"), dict):
                return f".{block['type']}.source: Field required"
        case _:
            pass
    return None


def _merged(messages: list[Message]) -> list[Message]:
    """Neighbours of the same role as one, as the server takes them."""
    turns: list[Message] = []
    for message in messages:
        if turns and turns[-1].role == message.role:
            turns[-1] = Message(message.role, blocks_of(turns[-1]) + blocks_of(message))
        else:
            turns.append(message)
    return turns


def _ids(turn: Message, kind: str, key: str) -> list[str]:
    return [str(block.get(key)) for block in blocks_of(turn) if block.get("type") == kind]


def _unpaired(turns: list[Message]) -> Refusal | None:
    asked: list[str] = []
    for at, turn in enumerate(turns):
        answered = _ids(turn, "tool_result", "tool_use_id")
        if lost := [own for own in asked if own not in answered]:
            return _unanswered(at - 1, lost)
        if strange := [own for own in answered if own not in asked]:
            return _bad(
                f"messages.{at}", f"unexpected `tool_use_id` found in `tool_result` blocks: {strange[0]}"
            )
        asked = _ids(turn, "tool_use", "id") if turn.role == "assistant" else []
    return _unanswered(len(turns) - 1, asked) if asked else None


def _unanswered(at: int, ids: list[str]) -> Refusal:
    said = "`tool_use` ids were found without `tool_result` blocks immediately after"
    return _bad(f"messages.{at}", f"{said}: {', '.join(ids)}")


def _lost_thoughts(turns: list[Message]) -> Refusal | None:
    for turn in _current(turns):
        first = blocks_of(turn)[0].get("type")
        if _ids(turn, "tool_use", "id") and first not in ("thinking", "redacted_thinking"):
            return _bad("messages", f"Expected `thinking` or `redacted_thinking`, but found `{first}`.")
    return None


def _current(turns: list[Message]) -> Iterator[Message]:
    """The assistant's turns since the user last said something that is no tool's result."""
    for turn in reversed(turns):
        if turn.role == "assistant":
            yield turn
        elif not _ids(turn, "tool_result", "tool_use_id"):
            return


def _bad(where: str, message: str) -> Refusal:
    return Refusal(400, message=f"{where}: {message}")
