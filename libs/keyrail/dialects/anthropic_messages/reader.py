"""A provider's stream as canonical events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text, sse
from keyrail.dialects.anthropic_messages.blocks import ANSWER_TOOL, finish_of
from keyrail.dialects.anthropic_messages.errors import classify_error
from keyrail.dialects.anthropic_messages.events import Event as Wired
from keyrail.dialects.anthropic_messages.events import read
from keyrail.dialects.anthropic_messages.usage import merged, usage_of
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    Boundary,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    Ping,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.failures import garbage, truncated

_FIELDS = (b"data", b"event", b"id", b"retry", b":", b"{")
_MODEST = 16


class Reader:
    """Reads one stream. `failure`: the stream is over, and why."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._splitter = sse.Splitter()
        self._head = b""
        self._begun = False
        self._ended = False
        self._done = False
        self._said = False  # some words of an answer have come
        self._calls = 0
        self._answering = False  # the open block is the tool that stands for structured output
        self._answered = False
        self._call: int | None = None  # position of the open call
        self._arguments: str | None = None  # of the open call, when they came before any piece of them
        self._signature: str | None = None
        self._usage: dict[str, Any] = {}
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> list[Event]:
        """What this read completes. Nothing follows a failure or `Done`."""
        if self._done or self.failure is not None:
            return []
        if len(self._head) < _MODEST:
            self._head += data[:_MODEST]
        try:
            return self._take(self._splitter.feed(data))
        except sse.TooLong:
            self.failure = garbage(self._provider, "sent an event that is too long")
            return []

    def end(self) -> list[Event]:
        """The body has ended: what was left."""
        if self._done or self.failure is not None:
            return []
        events = self._take(self._splitter.finish(), last=True)
        if not self._done and self.failure is None:
            self.failure = self._broken_off()
        return events

    def _broken_off(self) -> Failure:
        head = self._head.lstrip()
        known = any(head.startswith(name) or name.startswith(head) for name in _FIELDS)
        if not self._begun and not known:
            return garbage(self._provider, "answered with a body that is no event stream")
        return truncated(self._provider)

    def _take(self, events: list[tuple[bytes, bytes]], *, last: bool = False) -> list[Event]:
        found: list[Event] = []
        for name, data in events:
            event = read(data)
            if event is None:
                if data.strip() == b"[DONE]":
                    continue  # some gateways end every stream with it
                if last:
                    break  # half an event: the stream broke off in it
                self.failure = garbage(self._provider, "sent an event that is not JSON in UTF-8")
                break
            kind = event.type or name.decode("ascii", "replace")
            if kind == "error" or (event.error and kind not in self._BY_TYPE):
                self.failure = classify_error(self._provider, json_text.parse_or_none(data))
                break
            take = self._BY_TYPE.get(kind)
            if take is None:
                continue
            if not self._begun and kind not in ("message_start", "ping"):
                self._begun = True
                found.append(Begin())
            take(self, event, found)
            if self._done:
                break
        return found

    def _start(self, event: Wired, found: list[Event]) -> None:
        message = event.message
        if message is not None:
            self._usage = merged(self._usage, message.usage)
        if self._begun:  # some servers send it twice
            return
        self._begun = True
        usage = usage_of(self._usage) if self._usage else None
        found.append(
            Begin(message.id, message.model, None, usage) if message is not None else Begin(usage=usage)
        )

    def _open(self, event: Wired, found: list[Event]) -> None:
        block = event.content_block or {}
        self._call = self._arguments = self._signature = None
        self._answering = False
        match block.get("type"):
            case "text":
                self._words(block.get("text"), found)
            case "thinking":
                thinking, signature = block.get("thinking"), block.get("signature")
                if type(thinking) is str and thinking:
                    found.append(ThinkingPiece(thinking))
                if type(signature) is str and signature:
                    self._signature = signature
            case "redacted_thinking":
                data = block.get("data")
                if type(data) is str and data:
                    found.append(Seal(data, "anthropic-redacted", redacted=True))
            case "tool_use":
                self._open_call(block, found)
            case _:
                pass  # a hosted tool's block: only who asked in this dialect can have asked for one

    def _open_call(self, block: dict[str, Any], found: list[Event]) -> None:
        id_, name = block.get("id"), block.get("name")
        value = block.get("input")
        self._arguments = json_text.dump(value).decode() if type(value) is dict and value else ""
        if name == ANSWER_TOOL:
            self._answering = self._answered = True
            return
        self._call = self._calls
        self._calls += 1
        found.append(
            CallBegin(
                self._call,
                id_ if type(id_) is str and id_ else f"toolu_{self._call}",
                name if type(name) is str else "",
            )
        )

    def _delta(self, event: Wired, found: list[Event]) -> None:
        delta = event.delta
        if delta is None:
            return
        if delta.text:
            self._words(delta.text, found)
        elif delta.partial_json:
            self._piece(delta.partial_json, found)
        elif delta.thinking:
            found.append(ThinkingPiece(delta.thinking))
        elif delta.signature:
            self._signature = delta.signature
        elif delta.citation is not None:
            found.append(CitationPiece(delta.citation))

    def _words(self, text: object, found: list[Event]) -> None:
        if type(text) is str and text:
            self._said = True
            found.append(TextPiece(text))

    def _piece(self, text: str, found: list[Event]) -> None:
        if self._answering:
            self._arguments = None
            self._words(text, found)
        elif self._call is not None:
            self._arguments = None
            found.append(ArgumentsPiece(self._call, text))

    def _close(self, event: Wired, found: list[Event]) -> None:
        if self._signature is not None:
            found.append(Seal(self._signature, "anthropic"))
        if self._arguments is not None:  # not a piece of them has come
            self._piece(self._arguments or "{}", found)
        found.append(Boundary())
        self._call = self._arguments = self._signature = None
        self._answering = False

    def _finish(self, event: Wired, found: list[Event]) -> None:
        delta = event.delta
        if delta is not None and delta.stop_reason is not None and not self._ended:
            self._ended = True
            finish = finish_of(delta.stop_reason)
            if finish == "tool_calls" and self._answered and not self._calls:
                finish = "stop"
            why = (delta.stop_details or {}).get("explanation")
            if finish == "content_filter" and type(why) is str and why and not self._said:
                found.append(RefusalPiece(why))
            found.append(End(finish, delta.stop_sequence))
        if event.usage:
            self._usage = merged(self._usage, event.usage)
            found.append(Counted(usage_of(self._usage)))

    def _stop(self, event: Wired, found: list[Event]) -> None:
        if not self._ended:
            self._ended = True
            found.append(End(None))
        self._done = True
        found.append(Done())

    def _ping(self, event: Wired, found: list[Event]) -> None:
        if self._begun:
            found.append(Ping())

    _BY_TYPE: ClassVar[dict[str, Callable[[Reader, Wired, list[Event]], None]]] = {
        "message_start": _start,
        "content_block_start": _open,
        "content_block_delta": _delta,
        "content_block_stop": _close,
        "message_delta": _finish,
        "message_stop": _stop,
        "ping": _ping,
    }
