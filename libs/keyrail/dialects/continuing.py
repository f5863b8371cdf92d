"""Going on with a stream that broke off: what the client has so far, and how another provider adds to it.
Pure.

What was sent is kept as canonical events. For the provider that goes on they are the beginning of its own
answer (a prefill); the client's writer is led through them, unheard, and then writes on as if nothing had
happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from keyrail.contracts.slips import Dialect
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.canonical.events import (
    Begin,
    Boundary,
    Counted,
    Event,
    Ping,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.protocols import EventReader, EventWriter

MOST_TEXT: Final = 1 << 20
"""Characters of an answer that are remembered; a longer one is not gone on with."""
_HARMLESS: Final = (Begin, TextPiece, ThinkingPiece, Boundary, Counted, Ping)
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a client has of an answer that broke off. `usage`: of all attempts at it so far."""

    events: tuple[Event, ...]
    text: str
    usage: Usage


class Recorder:
    """Remembers what of an answer was sent. `feed` it what the relay is fed.

    `safe`: there is text to go on from, and nothing in it that another model could not take up: no tool call,
    no seal, no refusal, no image, and not its end.
    """

    def __init__(self, reader: EventReader, before: Continuation | None = None) -> None:
        self._reader = reader
        self._begun = before is not None
        self._before = before
        self._events: list[Event] = list(before.events) if before is not None else []
        self._text: list[str] = [before.text] if before is not None else []
        self._size = len(before.text) if before is not None else 0
        self._harmless = True

    @property
    def safe(self) -> bool:
        """See above."""
        return self._harmless and self._size > 0 and any(each.strip() for each in self._text)

    def feed(self, data: bytes) -> None:
        """What one upstream read brought."""
        if not self._harmless:
            return
        for event in self._reader.feed(data):
            if not isinstance(event, _HARMLESS) or _sealed(event) or getattr(event, "candidate", 0):
                self._drop()
                return
            if isinstance(event, TextPiece):
                self._text.append(event.text)
                self._size += len(event.text)
            if isinstance(event, Begin):
                if self._begun:
                    continue
                self._begun = True
            if not isinstance(event, Ping | Counted):
                self._events.append(event)
        if self._size > MOST_TEXT:
            self._drop()

    def _drop(self) -> None:
        self._harmless = False
        self._events.clear()
        self._text.clear()

    def result(self, usage: Usage) -> Continuation | None:
        """What to go on with, or None when it is not safe. `usage`: of the attempt that broke off."""
        if not self.safe:
            return None
        before = self._before.usage if self._before is not None else None
        total = usage if before is None else added(before, usage)
        return Continuation(tuple(self._events), "".join(self._text), total)


class Primed:
    """A client's writer that has written what the client has, and goes on from there."""

    def __init__(self, writer: EventWriter, continuation: Continuation, mark: str) -> None:
        """`mark` goes into the stream as a comment before the first new bytes."""
        self._writer = writer
        self._usage = continuation.usage
        self._mark = b": %b\n\n" % mark.encode()
        self._space = continuation.text[len(continuation.text.rstrip()) :]
        writer.write(list(continuation.events))

    def write(self, events: list[Event]) -> bytes:
        """As any writer; a second beginning is dropped, and usage is that of all attempts together."""
        out = self._writer.write([kept for event in events if (kept := self._kept(event)) is not None])
        if out and self._mark:
            out, self._mark = self._mark + out, b""
        return out

    def _kept(self, event: Event) -> Event | None:
        match event:
            case Begin():
                return None
            case Counted():
                return Counted(added(self._usage, event.usage))
            case TextPiece() if self._space:
                return self._joint(event)
            case _:
                return event

    def _joint(self, event: TextPiece) -> TextPiece | None:
        """The prefill goes without its last blanks, which models write again."""
        text = event.text
        while text and self._space and text[0] == self._space[0]:
            text, self._space = text[1:], self._space[1:]
        if text:
            self._space = ""
        return TextPiece(text) if text else None


def added(one: Usage, other: Usage) -> Usage:
    """Both together; what one of them does not say is the other's."""

    def plus(a: int | None, b: int | None) -> int | None:
        return b if a is None else a if b is None else a + b

    return other.replace(
        input_tokens=plus(one.input_tokens, other.input_tokens),
        output_tokens=plus(one.output_tokens, other.output_tokens),
        cache_read_tokens=plus(one.cache_read_tokens, other.cache_read_tokens),
        cache_write_tokens=plus(one.cache_write_tokens, other.cache_write_tokens),
        reasoning_tokens=plus(one.reasoning_tokens, other.reasoning_tokens),
        estimated=one.estimated or other.estimated,
        raw=None,
    )


def continued(dialect: Dialect, body: bytes, continuation: Continuation) -> bytes | None:
    """The client's body with the answer so far at its end, and less room for more; None: it has no such
    form."""
    document = json_text.parse(body)
    add = _ADD.get(dialect)
    if type(document) is not dict or add is None:
        return None
    asked = cast("dict[str, Any]", document)
    add(asked, continuation.text.rstrip())
    said = continuation.usage.output_tokens or 0
    for name in _LIMITS:
        limit: object = asked.get(name)
        if type(limit) is int:
            asked[name] = max(limit - said, 1)
    return json_text.dump(asked)


def _message(asked: dict[str, Any], text: str) -> None:
    asked["messages"] = [*asked["messages"], {"role": "assistant", "content": text}]


def _item(asked: dict[str, Any], text: str) -> None:
    given: Any = asked.get("input")
    items: list[Any] = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
    part = {"type": "output_text", "text": text, "annotations": []}
    asked["input"] = [*items, {"type": "message", "role": "assistant", "content": [part]}]


_ADD: dict[str, Callable[[dict[str, Any], str], None]] = {
    "openai-chat": _message,
    "anthropic-messages": _message,
    "openai-responses": _item,
}


def _sealed(event: Event) -> bool:
    return isinstance(event, TextPiece) and (event.seal is not None or event.logprobs is not None)
