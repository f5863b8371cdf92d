"""Canonical events, written as the stream of a chat client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    ImagePiece,
    Ping,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.openai_chat import citations, finishes, media, thoughts
from keyrail.dialects.openai_chat.completion import invented_id
from keyrail.dialects.openai_chat.usage import object_of, shown_tier

_PING = b": ping\n\n"
_DONE = b"data: [DONE]\n\n"
_GO_ON = b'},"logprobs":null,"finish_reason":null}]'
_ARGUMENTS = b'"tool_calls":[{"index":%d,"function":{"arguments":%b}}]'
_INPUT = b'"tool_calls":[{"index":%d,"custom":{"input":%b}}]'
_THOUGHT = (
    b'"reasoning_content":%b,"reasoning":%b,"reasoning_details":[{"type":"reasoning.%b","%b":%b,"index":%d}]'
)
_BARE, _TOLD, _CUSTOM = range(3)  # a call without arguments so far, one with some, one of a custom tool
_dump = json_text.dump


class _Candidate:
    """What has been told of one candidate."""

    __slots__ = ("calls", "chars", "images", "sources", "text_head", "thoughts")

    def __init__(self) -> None:
        self.text_head = b""  # what stands before the words of a piece of plain text
        self.calls: dict[int, int] = {}  # their state by position
        self.chars = 0  # of its text so far
        self.images = 0
        self.sources = 0
        self.thoughts = 0  # seals so far: the number of the thought that is being told


class Writer:
    """Writes one stream. Thoughts go in both usual spellings and as pieces of `reasoning_details`, where
    their seals follow, so that a client can give them back as they were."""

    __slots__ = (
        "_candidates",
        "_created",
        "_head",
        "_model",
        "_tail",
        "_text_tail",
        "_usage",
        "_with_usage",
        "_writers",
    )

    def __init__(self, facts: Facts, *, model: str, created: int | None) -> None:
        self._model = model
        self._created = created or 0
        self._with_usage = facts.include_usage
        self._usage: Usage | None = None
        self._candidates: dict[int, _Candidate] = {}
        self._head = b""
        self._tail = b',"usage":null}\n\n' if facts.include_usage else b"}\n\n"
        self._text_tail = _GO_ON + self._tail
        self._writers: dict[type, Callable[[Any], bytes]] = {
            Begin: self._begin,
            TextPiece: self._text,
            RefusalPiece: self._refusal,
            ThinkingPiece: self._thinking,
            Seal: self._seal,
            CallBegin: self._call,
            ArgumentsPiece: self._arguments,
            ImagePiece: self._image,
            CitationPiece: self._citation,
            Ping: lambda _: _PING,
            End: self._end,
            Counted: self._counted,
            Done: self._done,
        }

    def write(self, events: list[Event]) -> bytes:
        """Bytes that are ready to send; empty when these events show nowhere."""
        writers = self._writers
        if len(events) == 1:
            write = writers.get(type(events[0]))
            return b"" if write is None else write(events[0])
        return b"".join([write(event) for event in events if (write := writers.get(type(event))) is not None])

    def _chunk(self, candidate: int, delta: bytes, end: bytes = _GO_ON) -> bytes:
        return b'%b{"index":%d,"delta":{%b%b%b' % (self._head, candidate, delta, end, self._tail)

    def _add(self, candidate: int, **delta: Any) -> bytes:
        return self._opening(candidate) + self._chunk(candidate, _dump(delta)[1:-1])

    def _opening(self, candidate: int) -> bytes:
        """The first chunk of a candidate, when this is about to be its first: it names the role."""
        if candidate in self._candidates:
            return b""
        state = self._candidates[candidate] = _Candidate()
        if not self._head:
            self._begin(Begin())
        state.text_head = b'%b{"index":%d,"delta":{"content":' % (self._head, candidate)
        return self._chunk(candidate, b'"role":"assistant","content":"","refusal":null')

    def _begin(self, event: Begin) -> bytes:
        if self._head:
            return b""
        model = event.model or self._model
        created = event.created or self._created
        name = event.id or invented_id(f"{model} {created}".encode())
        fields = {"id": name, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + _dump(fields)[:-1] + b',"choices":['
        return self._opening(0)

    def _text(self, event: TextPiece) -> bytes:
        candidate = event.candidate
        state, opening = self._candidates.get(candidate), b""
        if state is None:
            opening = self._opening(candidate)
            state = self._candidates[candidate]
        state.chars += len(event.text)
        if event.logprobs is None and event.seal is None:
            return opening + state.text_head + _dump(event.text) + self._text_tail
        delta = _dump(thoughts.with_signature({"content": event.text}, event.seal))[1:-1]
        if event.logprobs is None:
            return opening + self._chunk(candidate, delta)
        logprobs = _dump({"content": event.logprobs, "refusal": None})
        return opening + self._chunk(candidate, delta, b'},"logprobs":%b,"finish_reason":null}]' % logprobs)

    def _refusal(self, event: RefusalPiece) -> bytes:
        return self._add(event.candidate, refusal=event.text)

    def _thinking(self, event: ThinkingPiece) -> bytes:
        opening = self._opening(event.candidate)
        kind = b"text" if event.id is None else b"summary"
        text, index = _dump(event.text), self._candidates[event.candidate].thoughts
        delta = _THOUGHT % (text, text, kind, kind, text, index)
        return opening + self._chunk(event.candidate, delta)

    def _seal(self, event: Seal) -> bytes:
        opening = self._opening(event.candidate)
        state = self._candidates[event.candidate]
        entry = event.raw or thoughts.sealed(
            event.kind, event.seal, index=state.thoughts, id_=event.id, redacted=event.redacted
        )
        state.thoughts += 1
        return opening + self._add(event.candidate, reasoning_details=[entry])

    def _call(self, event: CallBegin) -> bytes:
        opening = self._opening(event.candidate)
        state = _CUSTOM if event.custom else _TOLD if event.arguments else _BARE
        self._candidates[event.candidate].calls[event.position] = state
        kind, words = ("custom", "input") if event.custom else ("function", "arguments")
        call = {
            "index": event.position,
            "id": event.id,
            "type": kind,
            kind: {"name": event.name, words: event.arguments},
        }
        return opening + self._add(event.candidate, tool_calls=[thoughts.with_signature(call, event.seal)])

    def _arguments(self, event: ArgumentsPiece) -> bytes:
        opening = self._opening(event.candidate)
        calls = self._candidates[event.candidate].calls
        if calls.get(event.position) == _BARE:
            calls[event.position] = _TOLD
        shape = _INPUT if calls.get(event.position) == _CUSTOM else _ARGUMENTS
        return opening + self._chunk(event.candidate, shape % (event.position, _dump(event.text)))

    def _image(self, event: ImagePiece) -> bytes:
        opening = self._opening(event.candidate)
        state = self._candidates[event.candidate]
        image = {**media.write_image(event.image), "index": state.images}
        state.images += 1
        return opening + self._add(event.candidate, images=[thoughts.with_signature(image, event.image.seal)])

    def _citation(self, event: CitationPiece) -> bytes:
        opening = self._opening(event.candidate)
        end = self._candidates[event.candidate].chars
        annotation = citations.annotation(event.value, start=0, end=end)
        if annotation is None:
            return opening
        annotation["index"] = self._candidates[event.candidate].sources  # clients put lists together by it
        self._candidates[event.candidate].sources += 1
        return opening + self._add(event.candidate, annotations=[annotation])

    def _end(self, event: End) -> bytes:
        pieces = [self._opening(event.candidate)]
        calls = self._candidates[event.candidate].calls
        for position, state in calls.items():
            if state == _BARE:  # no arguments is an empty object here
                pieces.append(self._chunk(event.candidate, _ARGUMENTS % (position, b'"{}"')))
        reason = finishes.write(event.finish, calls=bool(calls)).encode()
        pieces.append(self._chunk(event.candidate, b"", b'},"logprobs":null,"finish_reason":"%b"}]' % reason))
        return b"".join(pieces)

    def _counted(self, event: Counted) -> bytes:
        self._usage = event.usage
        return b""

    def _done(self, _: Done) -> bytes:
        usage = object_of(self._usage) if self._with_usage and self._usage is not None else None
        if usage is None or self._usage is None:
            return _DONE
        tier = shown_tier(self._usage)
        named = b"" if tier is None else b',"service_tier":' + _dump(tier)
        return b'%b]%b,"usage":%b}\n\n' % (self._head, named, _dump(usage)) + _DONE


def writer(
    facts: Facts, *, model: str, request: dict[str, Any] | None = None, created: int | None = None
) -> Writer:
    """What writes a stream. `model` and `created` (seconds since 1970): for where the provider named none."""
    return Writer(facts, model=model, created=created)
