"""A provider's stream, read into canonical events."""

from __future__ import annotations

import re

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.canonical.events import Begin, Counted, Done, Event
from keyrail.dialects.failures import truncated
from keyrail.dialects.openai_chat.chunk import Chunk, read
from keyrail.dialects.openai_chat.errors import classify_error, garbage
from keyrail.dialects.openai_chat.pieces import Pieces
from keyrail.dialects.openai_chat.usage import usage_of
from keyrail.dialects.sse import Splitter, TooLong

_DONE = re.compile(rb"(?:\n\n|\r\n\r\n)data: ?\[DONE\]\s*$")
_FIELDS = (b"data", b"event", b"id", b"retry", b":", b"{")
_HEAD = 16


class Reader:
    """Reads one stream. Ends and usage are told when the whole stream has ended: providers send content after
    a reason to finish, and usage in one chunk, in several, or twice."""

    __slots__ = (
        "_begun",
        "_candidates",
        "_done",
        "_head",
        "_id",
        "_provider",
        "_splitter",
        "_usage",
        "failure",
    )

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._splitter = Splitter()
        self._candidates: dict[int, Pieces] = {}
        self._begun = False
        self._done = False
        self._id = ""
        self._usage: Usage | None = None
        self._head = b""  # how the body begins, until an event was read
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> list[Event]:
        """What this read completes."""
        if self._done or self.failure is not None:
            return []
        if not self._begun and len(self._head) < _HEAD:
            self._head = (self._head + data).removeprefix(b"\xef\xbb\xbf").lstrip()[:_HEAD]
        events: list[Event] = []
        try:
            found = self._splitter.feed(data)
            if b"[DONE]" in data[-12:] and _DONE.search(data, max(0, len(data) - 32)):
                found += self._splitter.finish()  # some providers send no blank line after it
        except TooLong:
            self.failure = garbage(self._provider, "sent an event that is too long")
            return events
        for _, payload in found:
            if self._take(payload, events):
                break
        return events

    def end(self) -> list[Event]:
        """The body has ended."""
        events: list[Event] = []
        if self._done or self.failure is not None:
            return events
        for _, payload in self._splitter.finish():
            if self._take(payload, events):
                break
        if self._done or (self.failure is not None and self.failure.kind != "garbage"):
            return events
        events = [event for event in events if not isinstance(event, Counted)]
        known = any(self._head.startswith(name) or name.startswith(self._head) for name in _FIELDS)
        if self._begun or known:
            self._fail(truncated(self._provider), events)
        else:
            self._fail(garbage(self._provider, "answered with a body that is no event stream"), events)
        return events

    def _take(self, payload: bytes, events: list[Event]) -> bool:
        """Read one event; True when nothing may follow it."""
        chunk = read(payload)
        if chunk is not None:
            return self._read(chunk, payload, events)
        payload = payload.strip()
        if not payload:
            return False
        if payload.startswith(b"[DONE]"):
            self._end(events)
        else:
            self._fail(garbage(self._provider, "sent an event that is not JSON in UTF-8"), events)
        return True

    def _read(self, chunk: Chunk, payload: bytes, events: list[Event]) -> bool:
        extra = chunk.x_groq
        if chunk.error or (extra is not None and extra.error):
            self._fail(classify_error(self._provider, json_text.parse_or_none(payload)), events)
            return True
        choices = chunk.choices
        if not self._begun and (choices or chunk.id or chunk.usage):
            self._begin(chunk, events)
        if choices:
            for choice in choices:
                pieces = self._candidates.get(choice.index or 0) or self._candidate(choice.index or 0)
                if choice.delta is not None:
                    pieces.read(choice, choice.delta, events)
                if choice.finish_reason:
                    pieces.finish = choice.finish_reason
        usage = chunk.usage or (extra.usage if extra is not None else None)
        if usage:
            self._usage = usage_of(usage, served_tier=chunk.service_tier)
        return False

    def _begin(self, chunk: Chunk, events: list[Event]) -> None:
        self._begun = True
        self._id = chunk.id or ""
        events.append(Begin(chunk.id or None, chunk.model or None, chunk.created))

    def _candidate(self, index: int) -> Pieces:
        pieces = self._candidates[index] = Pieces(index, f"{self._id} {index}")
        return pieces

    def _fail(self, failure: Failure, events: list[Event]) -> None:
        self.failure = failure
        self._count(events)

    def _count(self, events: list[Event]) -> None:
        if self._usage is not None:
            events.append(Counted(self._usage))

    def _end(self, events: list[Event]) -> None:
        self._done = True
        if not self._begun:
            events.append(Begin())
        for index in sorted(self._candidates) or [0]:
            events.append((self._candidates.get(index) or self._candidate(index)).end())
        self._count(events)
        events.append(Done())


def reader(provider: str) -> Reader:
    """What reads a stream."""
    return Reader(provider)
