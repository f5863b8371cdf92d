"""The pieces of a streamed generateContent: events, or the elements of one JSON array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keyrail_sandbox.answer import Answer
from keyrail_sandbox.ask import Ask, Refusal
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.gemini_generate.answer import (
    blocked,
    body_of,
    call_part,
    candidate,
    encode,
    end_of,
    logprobs_of,
    malformed,
    text_signature,
    thought_part,
    usage_of,
)
from keyrail_sandbox.gemini_generate.errors import error_object


class ContentEvents:
    """Every piece is an answer of its own, with the usage so far. There is no opening."""

    opening = b""

    def __init__(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> None:
        self._ask, self._answer, self._behaviour = ask, answer, behaviour
        self._array = ask.array
        self._before = b"[" if ask.array else b"data: "
        self._after = b"" if ask.array else b"\n\n"
        self._body = body_of(ask)
        self._said = self._thought = 0
        self.keepalive = b"\n" if ask.array else b": keepalive\n\n"

    def _event(self, body: dict[str, Any]) -> bytes:
        before = self._before
        if self._array:
            self._before = b",\r\n"
        return before + encode(body) + self._after

    def _piece(self, parts: list[dict[str, Any]], **more: Any) -> bytes:
        body = {"candidates": [candidate(parts, more)], **self._body}
        if not self._behaviour.no_usage and not self._behaviour.late_usage:
            body["usageMetadata"] = usage_of(
                self._answer, self._behaviour, candidates=self._said, thoughts=self._thought
            )
        return self._event(body)

    def chunks(self) -> Iterator[bytes]:
        """Thoughts when they may be shown, text, whole calls."""
        answer = self._answer
        if self._behaviour.fault == "null-choices" or answer.finish == "refusal":
            return
        for piece in answer.reasoning if self._ask.thoughts else ():
            self._thought += 1
            yield self._piece([thought_part(piece)])
        self._thought = len(answer.reasoning)
        for piece in answer.pieces:
            self._said += 1
            more = logprobs_of([piece], self._ask) if self._behaviour.logprobs else {}
            yield self._piece([{"text": piece}], **more)
        for position, call in enumerate(answer.calls if not malformed(answer) else ()):
            self._said += len(call.pieces)
            yield self._piece([call_part(call, answer, first=position == 0)])

    def closing(self) -> list[bytes]:
        """The finish reason and all usage; late usage comes without a candidate."""
        end = b"]" if self._array else b""
        if self._behaviour.no_done:
            return [end]
        last = {**self._last(), **self._body}
        usage = usage_of(self._answer, self._behaviour)
        if self._behaviour.late_usage and not self._behaviour.no_usage:
            return [self._event(last), self._event({"usageMetadata": usage, **self._body}) + end]
        if not self._behaviour.no_usage:
            last["usageMetadata"] = usage
        return [self._event(last) + end]

    def _last(self) -> dict[str, Any]:
        if self._behaviour.fault == "null-choices":
            return {"candidates": None}
        if self._answer.finish == "refusal":
            return blocked()
        signed = self._answer.reasoning and not self._answer.calls
        parts = [{"text": "", **({"thoughtSignature": text_signature()} if signed else {})}]
        return {"candidates": [candidate(parts, end_of(self._answer))]}

    def failure(self, refusal: Refusal, *, begun: bool) -> bytes:
        """The error object in place of a piece."""
        return self._event(error_object(refusal)) + (b"]" if self._array else b"")


def events(ask: Ask, answer: Answer, behaviour: Behaviour) -> ContentEvents:
    """The pieces of a streamed answer."""
    return ContentEvents(ask, answer, behaviour)
