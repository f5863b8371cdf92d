"""The events of a streamed message: one block after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keyrail_sandbox.answer import Answer
from keyrail_sandbox.anthropic_messages.answer import (
    NONSENSE,
    call_block,
    encode,
    envelope,
    signature,
    stop_of,
    usage_of,
)
from keyrail_sandbox.anthropic_messages.errors import error_object
from keyrail_sandbox.ask import Ask, Refusal
from keyrail_sandbox.behaviour import Behaviour

_PLACEHOLDER = 1  # output tokens that the first event counts before there are any


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields}))


def _delta(index: int, kind: str, field: str) -> bytes:
    """A `content_block_delta` as far as its text."""
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"%b","%b":' % (index, kind.encode(), field.encode())
    )


class MessageEvents:
    """A block is opened with its first piece and closed with what follows it."""

    keepalive = _event("ping")

    def __init__(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> None:
        self._ask, self._answer, self._behaviour = ask, answer, behaviour
        self._index = 0
        self._held = b""  # what closes the open block, to be sent with whatever comes next
        self._null = behaviour.fault == "null-choices"
        message = envelope(ask, None if self._null else [])
        if not behaviour.no_usage:
            message["usage"] = usage_of(answer, behaviour, output=_PLACEHOLDER)
        self.opening = _event("message_start", message=message) + _event("ping")

    def chunks(self) -> Iterator[bytes]:
        """Deltas of thoughts, of text, of each call in turn."""
        if self._null:
            return
        answer = self._answer
        if answer.reasoning:
            yield from self._thoughts()
        if answer.pieces and answer.finish != "refusal":
            opening = self._open({"type": "text", "text": ""})
            yield from self._block(opening, _delta(self._index, "text_delta", "text"), answer.pieces)
        for position, call in enumerate(answer.calls):
            opening = self._open(call_block(self._ask, position, call, {}))
            if not call.pieces:
                yield opening
                self._close()
            before = _delta(self._index, "input_json_delta", "partial_json")
            yield from self._block(opening, before, call.pieces)

    def _thoughts(self) -> Iterator[bytes]:
        opening = self._open({"type": "thinking", "thinking": "", "signature": ""})
        before = _delta(self._index, "signature_delta", "signature")
        shown = self._answer.thoughts if self._ask.thoughts else ""
        signed = before + encode(signature(shown)) + b"}}\n\n"
        if shown:
            pieces = _delta(self._index, "thinking_delta", "thinking")
            yield from self._block(opening, pieces, self._answer.reasoning, signed)
        else:
            yield opening + signed
            self._close()

    def _open(self, block: dict[str, Any]) -> bytes:
        held, self._held = self._held, b""
        return held + _event("content_block_start", index=self._index, content_block=block)

    def _block(self, opening: bytes, before: bytes, pieces: Any, ending: bytes = b"") -> Iterator[bytes]:
        if not pieces:
            return
        for piece in pieces:
            yield opening + before + encode(piece) + b"}}\n\n"
            opening = b""
        self._close(ending)

    def _close(self, ending: bytes = b"") -> None:
        self._held = ending + _event("content_block_stop", index=self._index)
        self._index += 1

    def closing(self) -> list[bytes]:
        """The stop reason with all usage, the end; late usage comes in an event of its own."""
        behaviour = self._behaviour
        stop = stop_of(self._answer)
        events = [self._held]
        if behaviour.no_usage:
            events[0] += _event("message_delta", delta=stop)
        else:
            if behaviour.late_usage:
                usage = NONSENSE if behaviour.nonsense_usage else {"output_tokens": _PLACEHOLDER}
                events[0] += _event("message_delta", delta=stop, usage=usage)
                events.append(b"")
            events[-1] += _event("message_delta", delta=stop, usage=self._usage())
        if not behaviour.no_done:
            events[-1] += _event("message_stop")
        return events

    def _usage(self) -> dict[str, Any]:
        usage = dict(usage_of(self._answer, self._behaviour))
        usage.pop("service_tier", None)
        return usage

    def failure(self, refusal: Refusal, *, begun: bool) -> bytes:
        """An `error` event."""
        return b"event: error\ndata: %b\n\n" % encode(error_object(refusal))


def events(ask: Ask, answer: Answer, behaviour: Behaviour) -> MessageEvents:
    """The events of a streamed answer."""
    return MessageEvents(ask, answer, behaviour)
