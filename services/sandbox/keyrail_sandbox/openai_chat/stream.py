"""The chunks of a streamed chat completion."""

from __future__ import annotations

from collections.abc import Iterator

from keyrail_sandbox import openai_errors
from keyrail_sandbox.answer import Answer, interleaved
from keyrail_sandbox.ask import Ask, Refusal
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.openai_chat.answer import (
    call_object,
    encode,
    finish_of,
    head,
    usage_of,
)
from keyrail_sandbox.openai_logprobs import logprobs_of

_DONE = b"data: [DONE]\n\n"


class ChunkEvents:
    """All but the text of a chunk is rendered once."""

    keepalive = b": keepalive\n\n"

    def __init__(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> None:
        self._ask, self._answer, self._behaviour = ask, answer, behaviour
        asked = ask.include_usage or behaviour.unasked_usage
        self._with_usage = asked and not behaviour.no_usage
        self._head = b"data: " + head(b"chat.completion.chunk", ask)
        self._tail = b',"usage":null}\n\n' if self._with_usage else b"}\n\n"
        self._after = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        self._delta = self._head + b'[{"index":0,"delta":{'
        self._null = behaviour.fault == "null-choices"
        self.opening = self._opening()

    def _opening(self) -> bytes:
        if self._null:
            return self._head + b"null" + self._tail
        said = b'"role":"assistant","content":"","refusal":null'
        if self._answer.calls:
            call = call_object(self._ask, 0, self._answer.calls[0], "")
            said = b'"role":"assistant","content":null,"tool_calls":[' + encode({"index": 0, **call}) + b"]"
        return self._delta + said + self._after

    def chunks(self) -> Iterator[bytes]:
        """Deltas of reasoning, then of text, a refusal or calls; parallel calls by turns."""
        if self._null:
            return
        answer, after = self._answer, self._after
        before = self._delta + b'"reasoning_content":'
        for piece in answer.reasoning:
            yield before + encode(piece) + after
        before = self._delta + (b'"refusal":' if answer.finish == "refusal" else b'"content":')
        if self._behaviour.logprobs and not answer.calls:
            yield from self._probable(before)
            return
        for piece in answer.pieces:
            yield before + encode(piece) + after
        if answer.calls:
            yield from self._calls()

    def _probable(self, before: bytes) -> Iterator[bytes]:
        for piece in self._answer.pieces:
            found = {"content": logprobs_of([piece], self._ask.alternatives), "refusal": None}
            probabilities = b'},"logprobs":%b,"finish_reason":null}]' % encode(found)
            yield before + encode(piece) + probabilities + self._tail

    def _calls(self) -> Iterator[bytes]:
        before = self._delta + b'"tool_calls":['
        after = b"]" + self._after
        for position, piece, first in interleaved(self._answer.calls):
            start = b""
            if first and position:
                call = call_object(self._ask, position, self._answer.calls[position], "")
                start = before + encode({"index": position, **call}) + after
            more = b'{"index":%d,"function":{"arguments":%b}}' % (position, encode(piece))
            yield start + before + more + after

    def closing(self) -> list[bytes]:
        """The chunk with the finish reason, the usage chunk when it was asked for, `[DONE]`."""
        finish = b'[{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}]' % finish_of(self._answer)
        events = [b"" if self._null else self._head + finish + self._tail]
        if self._with_usage:
            usage = usage_of(self._answer, self._behaviour)
            events.append(self._head + b'[],"usage":%b}\n\n' % usage)
        if not self._behaviour.no_done:
            events[-1] += _DONE
        return events if self._behaviour.late_usage else [b"".join(events)]

    def failure(self, refusal: Refusal, *, begun: bool) -> bytes:
        """An event whose data is the error object."""
        return b"data: " + openai_errors.error(refusal).body + b"\n\n"


def events(ask: Ask, answer: Answer, behaviour: Behaviour) -> ChunkEvents:
    """The chunks of a streamed answer."""
    return ChunkEvents(ask, answer, behaviour)
