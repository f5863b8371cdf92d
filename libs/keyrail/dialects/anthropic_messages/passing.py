"""A stream on its way to a client of the same dialect: passed on byte for byte, and watched."""

from __future__ import annotations

import re
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text, sse
from keyrail.dialects.anthropic_messages.blocks import finish_of
from keyrail.dialects.anthropic_messages.errors import classify_error
from keyrail.dialects.anthropic_messages.events import Event, read
from keyrail.dialects.anthropic_messages.usage import merged, usage_of
from keyrail.dialects.failures import garbage, truncated

_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_CR, _LF = b"\r\n"  # as numbers: looking for these in bytes is several times as fast
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry", b":", b"{")
_HOLDS = frozenset({"redacted_thinking", "tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks whose beginning is some of the answer already; so is any result of a hosted tool."""


class Passing:
    """Whole events go on as they came. Nothing follows a failure or `message_stop`.

    After each feed: `content`, `done`, `failure`, `finish` (canonical), `usage`, `model`, `output_chars`, and
    `events`, how many events held content.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._pieces: list[bytes] = []  # the beginning of an event whose end has not come
        self._size = 0
        self._read = 0
        self._raw: dict[str, Any] = {}
        self.content = False
        self.done = False
        self.failure: Failure | None = None
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.model: str | None = None
        self.output_chars = 0
        self.events = 0

    def feed(self, data: bytes) -> bytes:
        """Bytes for the client out of one upstream read: whole events only."""
        if self.done or self.failure is not None:
            return b""
        if self._size:
            self._pieces.append(data)
            self._size += len(data)
            # Joining again on each read of an endless event would cost the square of its length.
            if _LF not in data and _CR not in data:
                return self._hold()
            data = b"".join(self._pieces)
            self._pieces.clear()
        start = 0
        for block, end in _blocks(data):
            if not self._pass(block):
                return data[:start]
            start = end
            if self.done:
                return data[:start]
        self._size = len(data) - start
        if self._size:
            self._pieces.append(data[start:])
            self._hold()
        return data[:start]

    def end(self) -> bytes:
        """The body has ended: what is left counts only where it was whole but for its blank line."""
        if self.done or self.failure is not None:
            return b""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        passed = bool(rest) and self._complete(rest) and self._pass(rest)
        if self.failure is None and not self.done:
            head = rest.lstrip()
            known = any(head.startswith(name) or name.startswith(head) for name in _FIELDS)
            if self._read or known:
                self.failure = truncated(self._provider)
            else:
                self.failure = garbage(self._provider, "answered with a body that is no event stream")
        return rest.rstrip(b"\r\n") + b"\n\n" if passed and self.done else b""

    def _complete(self, rest: bytes) -> bool:
        found = sse.read(rest.strip(b"\r\n"))
        return found is not None and read(found[1]) is not None

    def _hold(self) -> bytes:
        if self._size > sse.MAX_EVENT:
            self.failure = garbage(self._provider, "sent an event that is too long")
            self._pieces.clear()
        return b""

    def _pass(self, block: bytes) -> bool:
        """Whether these lines go on to the client."""
        if not self._read:
            block = block.removeprefix(_BOM)
        found = sse.read(block)
        if found is None:  # comments, most often
            if self._read or not block.strip() or block.lstrip().startswith(_FIELDS):
                return True
            self.failure = garbage(self._provider, "answered with a body that is no event stream")
            return False
        if len(block) > sse.MAX_EVENT:
            self.failure = garbage(self._provider, "sent an event that is too long")
            return False
        name, payload = found
        event = read(payload)
        if event is None:
            if payload.strip() == b"[DONE]":
                return True
            self.failure = garbage(self._provider, "sent an event that is not JSON in UTF-8")
            return False
        kind = event.type or name.decode("ascii", "replace")
        if kind == "error" or (event.error and event.type is None):
            self.failure = classify_error(self._provider, json_text.parse_or_none(payload))
            return False
        self._read += 1
        self._watch(kind, event)
        return True

    def _watch(self, kind: str, event: Event) -> None:
        if kind == "content_block_delta":
            delta = event.delta
            if delta is not None:
                text = delta.text or delta.partial_json or delta.thinking
                if text:
                    self.output_chars += len(text)
                    self._held()
                elif delta.signature:
                    self._held()
        elif kind == "content_block_start":
            self._opened(event.content_block or {})
        elif kind == "message_start":
            if event.message is not None:
                self.model = event.message.model or self.model
                self._counted(event.message.usage)
        elif kind == "message_delta":
            if event.delta is not None and event.delta.stop_reason is not None:
                self.finish = finish_of(event.delta.stop_reason)
            self._counted(event.usage)
        elif kind == "message_stop":
            self.done = True

    def _held(self) -> None:
        self.content = True
        self.events += 1

    def _opened(self, block: dict[str, Any]) -> None:
        kind = block.get("type")
        text = block.get("text") or block.get("thinking")
        if type(text) is str and text:
            self.output_chars += len(text)
            self._held()
        elif type(kind) is str and (kind in _HOLDS or kind.endswith("_tool_result")):
            self._held()

    def _counted(self, usage: dict[str, Any] | None) -> None:
        if usage:
            self._raw = merged(self._raw, usage)
            self.usage = usage_of(self._raw)


def _blocks(data: bytes) -> list[tuple[bytes, int]]:
    """Each event whose blank line has come, and the offset behind that line."""
    found: list[tuple[bytes, int]] = []
    end = 0
    if _CR in data:
        for border in _BLANK.finditer(data):
            found.append((data[end : border.start()], border.end()))
            end = border.end()
        return found
    for block in data.split(b"\n\n")[:-1]:
        end += len(block) + 2
        found.append((block, end))
    return found
