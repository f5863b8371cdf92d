"""The turns of a conversation as this dialect wants them: merged, results first, nothing empty."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import carried
from keyrail.dialects.anthropic_messages.blocks import HOSTED, RAW_ARGUMENTS, control_of
from keyrail.dialects.anthropic_messages.outbound_media import document_block, image_block
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
from keyrail.dialects.canonical.request import Message, refused

Block = dict[str, Any]

_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")


class Unwritable(Exception):
    """The request can't be said in this dialect; `failure` says why. It never leaves this package."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def tool_id(id_: str) -> str:
    """The call's id as this dialect allows it; the same id gives the same."""
    if _ID.match(id_):
        return id_
    return "call_" + hashlib.sha256(id_.encode()).hexdigest()[:24]


def arguments_object(arguments: str, *, custom: bool = False) -> dict[str, Any]:
    """A call's arguments as the object that `input` must be.

    Free text goes under `input`, what is no JSON object under `raw_arguments`.
    """
    if custom:
        return {"input": arguments}
    if not arguments.strip():
        return {}
    value = json_text.parse_or_none(arguments.encode())
    return cast("dict[str, Any]", value) if type(value) is dict else {RAW_ARGUMENTS: arguments}


class Conversation:
    """Builds `system` and `messages` out of canonical messages. Raises Unwritable.

    `inline_system`: the model takes instructions in mid-conversation. Where it doesn't, or where they stand
    between two turns of the user, they become text of the user's turn, marked as what they are.
    """

    def __init__(self, *, inline_system: bool) -> None:
        self._inline = inline_system
        self.system: list[Block] = []
        self.messages: list[dict[str, Any]] = []
        self.dropped: list[str] = []

    def build(self, messages: list[Message]) -> None:
        """All messages of a request, in their order."""
        for index, message in enumerate(messages):
            path = f"messages[{index}]"
            if message.name is not None:
                self.dropped.append(f"{path}.name")
            blocks = self._blocks(message, path)
            if not blocks:
                continue
            if message.role != "system":
                self._turn(message.role, blocks)
            elif not self.messages:
                self.system += _only_texts(blocks, path)
            else:
                self._instruct(_only_texts(blocks, path), messages[index + 1 :])

    def finish(self) -> None:
        """Bring every turn into its order."""
        for message in self.messages:
            content: list[Block] = message["content"]
            if message["role"] == "user" and any(block["type"] == "tool_result" for block in content):
                content.sort(key=lambda block: block["type"] != "tool_result")
        if self.messages and (last := self.messages[-1])["role"] == "assistant":
            end: Block = last["content"][-1]
            if end["type"] == "text":  # what is to be continued may not end in white space
                end["text"] = end["text"].rstrip()

    def _turn(self, role: str, blocks: list[Block]) -> None:
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": blocks})

    def _instruct(self, blocks: list[Block], rest: list[Message]) -> None:
        last = self.messages[-1]["role"]
        follows = next((message.role for message in rest if message.role != "system"), "assistant")
        if self._inline and last in ("user", "system") and follows == "assistant":
            self._turn("system", blocks)
            return
        for block in blocks:
            block["text"] = f"<system>\n{block['text']}\n</system>"
        self._turn("user", blocks)

    def _blocks(self, message: Message, path: str) -> list[Block]:
        blocks: list[Block] = []
        for place, part in enumerate(message.parts):
            block = _WRITERS[type(part)](part, f"{path}.content[{place}]", self.dropped)
            cache = cast("Cache | None", getattr(part, "cache", None))
            if block is not None:
                if cache is not None and type(part) is not Thinking:
                    block["cache_control"] = control_of(cache)
                blocks.append(block)
            elif cache is not None and blocks:
                blocks[-1].setdefault("cache_control", control_of(cache))
        return blocks


def _only_texts(blocks: list[Block], path: str) -> list[Block]:
    for block in blocks:
        if block["type"] != "text":
            raise Unwritable(refused(path, f"Instructions can't hold a part of type '{block['type']}' here."))
    return blocks


def _text(part: Text, path: str, dropped: list[str]) -> Block | None:
    return {"type": "text", "text": part.text} if part.text.strip() else None


def _refusal(part: Refusal, path: str, dropped: list[str]) -> Block | None:
    return {"type": "text", "text": part.text} if part.text.strip() else None


def _image(part: Image, path: str, dropped: list[str]) -> Block:
    if part.detail not in (None, "auto"):
        dropped.append(f"{path}.detail")
    return _allowed(image_block(part, path))


def _document(part: Document, path: str, dropped: list[str]) -> Block:
    return _allowed(document_block(part, path))


def _allowed(block: Block | Failure) -> Block:
    if isinstance(block, Failure):
        raise Unwritable(block)
    return block


def _audio(part: Audio, path: str, dropped: list[str]) -> Block:
    raise Unwritable(refused(path, "Anthropic's models take no audio."))


def _thinking(part: Thinking, path: str, dropped: list[str]) -> Block | None:
    """Only what Anthropic sealed goes back to it; another's thoughts are nobody's text."""
    if part.seal is None or not carried.is_own(part.seal_kind):
        return None
    if part.redacted or part.seal_kind == "anthropic-redacted":
        return {"type": "redacted_thinking", "data": part.seal}
    return {"type": "thinking", "thinking": part.text, "signature": part.seal}


def _call(part: Call, path: str, dropped: list[str]) -> Block:
    arguments = arguments_object(part.arguments, custom=part.custom)
    return {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": arguments}


def _result(part: Result, path: str, dropped: list[str]) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": tool_id(part.call_id)}
    content: list[Block] = []
    for place, inner in enumerate(part.parts):
        made = _WRITERS[type(inner)](inner, f"{path}.content[{place}]", dropped)
        if made is not None:
            if inner.cache is not None:
                made["cache_control"] = control_of(inner.cache)
            content.append(made)
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        block["content"] = content[0]["text"]
    elif content:
        block["content"] = content
    if part.failed:
        block["is_error"] = True
    return block


def _foreign(part: Foreign, path: str, dropped: list[str]) -> Block:
    if part.what in HOSTED and type(part.value) is dict:
        return dict(cast("dict[str, Any]", part.value))
    raise Unwritable(refused(path, f"Anthropic's models know no part of type '{part.what}'."))


_WRITERS: dict[type, Callable[[Any, str, list[str]], Block | None]] = {
    Text: _text,
    Refusal: _refusal,
    Image: _image,
    Document: _document,
    Audio: _audio,
    Thinking: _thinking,
    Call: _call,
    Result: _result,
    Foreign: _foreign,
}
