"""A streamed answer: cut into events, passed on byte for byte, watched for content, usage and errors."""

from __future__ import annotations

import re
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.openai_chat.errors import classify_error, garbage
from keyrail.dialects.openai_chat.events import Event, decode, read
from keyrail.dialects.openai_chat.shape import Shape, learn
from keyrail.dialects.openai_chat.usage import usage_of
from keyrail.dialects.taxonomy import client_status

MAX_EVENT = 1 << 20
"""Bytes of one event; a longer one is garbage."""
LESSON = 16
"""Learning from an event costs as much as so many events save. Not done without the credit for it."""
CREDIT = 64

_BLANK = re.compile(rb"\n\r?\n")
_CR, _LF = b"\r\n"  # as numbers: looking for these in bytes is five times as fast
_DONE = b"data: [DONE]\n\n"
_DONE_LINE = re.compile(rb"[\r\n]{0,2}data: ?\[DONE\]")
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry", b":")
_PASS, _DROP, _STOP = range(3)  # what becomes of an event


class StreamReader:
    """Reads one stream. `feed` it what the provider sends, then ask for `finish_failure`.

    After each feed: `content` (some of the answer has come), `done` (the terminator has come), `finish`,
    `usage`, `model`, `failure` (the stream is over), `output_chars`, and `events`, how many events held
    content. How the bytes are cut into feeds changes neither the output nor any of these.
    """

    __slots__ = (
        "_credit",
        "_failed",
        "_foreign",
        "_include_usage",
        "_pieces",
        "_provider",
        "_read",
        "_shape",
        "_size",
        "content",
        "done",
        "events",
        "failure",
        "finish",
        "model",
        "output_chars",
        "usage",
    )

    def __init__(self, provider: str, *, include_usage: bool) -> None:
        self._provider = provider
        self._include_usage = include_usage
        self._pieces: list[bytes] = []  # the beginning of an event whose end has not come
        self._size = 0
        self._read = 0  # events read, with or without content
        self._foreign = False
        self._shape: Shape | None = None
        self._credit = CREDIT
        self.content = False
        self.done = False
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.output_chars = 0
        self.events = 0
        self.model: str | None = None

    def feed(self, data: bytes) -> bytes:
        """Bytes for the client out of one upstream read: whole events only, the terminator included.

        Comments go missing, and so does the usage chunk that the client did not ask for. Nothing follows a
        failure or the terminator.
        """
        if self.done or self.failure is not None:
            return b""
        if self._size:
            self._pieces.append(data)
            # Joining again on each read of an endless event would cost the square of its length.
            if self._size > 64 and _LF not in data:
                return self._hold(len(data))
            data = b"".join(self._pieces)
            self._pieces.clear()
        output, end = self._pass(data)
        if self.done or self.failure is not None:
            return output
        rest = data[end:]
        if rest and _DONE_LINE.match(rest):  # some providers send no blank line after it
            self.done = True
            return output + _DONE
        self._size = 0
        if rest:
            self._pieces.append(rest)
            self._hold(len(rest))
        return output

    def _hold(self, size: int) -> bytes:
        self._size += size
        if self._size > MAX_EVENT + 2:  # two bytes of a blank line may have come already
            self.failure = garbage(self._provider, "sent an event that is too long")
            self._pieces.clear()
        return b""

    def _pass(self, data: bytes) -> tuple[bytes, int]:
        """`data` up to its last whole event, without those that do not go on, and where that one ends."""
        shape = self._shape
        if shape is not None and data.startswith(shape.prefix) and (weight := shape.alone(data)) >= 0:
            self._count(shape, 1, weight)
            return data, len(data)
        with_cr = _CR in data
        kept: list[bytes] = []
        start = copied = 0
        while True:
            if self._shape is not None and data.startswith(self._shape.prefix, start):
                start = self._skip(self._shape, data, start)
            if with_cr:
                blank = _BLANK.search(data, start)
                stop, following = blank.span() if blank else (-1, 0)
            else:
                stop = data.find(b"\n\n", start)
                following = stop + 2
            if stop < 0:
                break
            block = data[start:stop]
            fate = self._line(block) if block[:7] == b"data: {" else self._block(block)
            if fate:
                kept.append(data[copied:start])
                if fate == _STOP:
                    return b"".join(kept) + (_DONE if self.done else b""), start
                copied = following
            start = following
        if not copied:
            return data[:start], start
        kept.append(data[copied:start])
        return b"".join(kept), start

    def _skip(self, shape: Shape, data: bytes, start: int) -> int:
        """Count events of a known shape, without a look into them; returns where they end."""
        most = 4  # little is looked at in vain where every other event differs
        while True:
            end, events, weight = shape.run(data, start, most)
            if events == 0:
                return end
            self._count(shape, events, weight)
            if not data.startswith(shape.prefix, end):
                return end
            start = end
            most = most * 4 if events == most else 4

    def _count(self, shape: Shape, events: int, weight: int) -> None:
        self._read += events
        self.events += events
        self.output_chars += weight
        self.content = True
        self._credit = min(self._credit + events, CREDIT)
        if shape.model is not None:
            self.model = shape.model

    def _line(self, block: bytes) -> int:
        """An event that is probably a single line of plain JSON, as nearly all are."""
        if len(block) > MAX_EVENT:
            return self._block(block)
        try:
            if not block.isascii():
                str(block, "utf-8")  # the decoder doesn't look into fields that it skips
            event = decode(block[6:])
        except (ValueError, RecursionError):
            return self._block(block)
        before = self.events
        fate = self._take(event, block)
        if self.events != before and self._credit >= LESSON:
            self._credit -= LESSON
            self._shape = learn(block, event) or self._shape
        return fate

    def _block(self, block: bytes) -> int:
        """An event that is no single line of plain JSON."""
        if len(block) > MAX_EVENT:
            return self._stop(garbage(self._provider, "sent an event that is too long"))
        payload = self._payload(block)
        if payload is None:
            return _DROP
        if payload.startswith(b"[DONE]"):
            self.done = True
            return _STOP
        event = read(payload)
        if event is None:
            return self._stop(garbage(self._provider, "sent an event that is not JSON in UTF-8"))
        return self._take(event, payload)

    def _take(self, event: Event, payload: bytes) -> int:
        extra = event.x_groq
        if event.error or (extra is not None and extra.error):
            payload = payload.removeprefix(b"data: ")
            return self._stop(classify_error(self._provider, json_text.parse_or_none(payload)))
        self._read += 1
        if event.model is not None:
            self.model = event.model
        content = False
        choices = event.choices
        if choices:
            for choice in choices:
                if choice.finish_reason:
                    self.finish = choice.finish_reason
                delta = choice.delta
                if delta is not None and (weight := delta.weigh()) >= 0:
                    content = True
                    self.output_chars += weight
        if content:
            self.content = True
            self.events += 1
        usage = event.usage or (extra.usage if extra is not None else None)
        return self._settle(event, usage) if usage else _PASS

    def _settle(self, event: Event, usage: dict[str, Any]) -> int:
        self.usage = usage_of(usage, served_tier=event.service_tier)
        return _PASS if event.choices or self._include_usage else _DROP

    def _payload(self, block: bytes) -> bytes | None:
        """What the `data` lines of an event hold together, None when it has none."""
        if _bare_error(block):
            return block
        found: list[bytes] = []
        for line in block.removeprefix(_BOM).splitlines():
            name, _, value = line.partition(b":")
            if name == b"data":
                found.append(value)
            elif name and name not in _FIELDS:
                self._foreign = True
        return b"\n".join(found).strip() or None

    def _stop(self, failure: Failure) -> int:
        self.failure = failure
        return _STOP

    def finish_failure(self) -> Failure | None:
        """What is wrong with a stream whose body has ended here; None when it was complete."""
        if self.done or self.failure is not None:
            return self.failure
        rest = b"".join(self._pieces).strip()
        if _bare_error(rest):
            return classify_error(self._provider, json_text.parse_or_none(rest))
        begun = any(rest.startswith(name) or name.startswith(rest) for name in _FIELDS)
        if self._read == 0 and (self._foreign or not begun):
            return garbage(self._provider, "answered with a body that is no event stream")
        return Failure(
            kind="truncated",
            message=f"The answer of {self._provider} broke off before its end.",
            status=client_status("truncated", None),
            upstream_status=200,
            provider=self._provider,
        )


def _bare_error(block: bytes) -> bool:
    """Whether this is an error object without `data:` in front, as some providers send one in a stream."""
    event = read(block) if block.lstrip()[:1] == b"{" else None
    return event is not None and bool(event.error)
