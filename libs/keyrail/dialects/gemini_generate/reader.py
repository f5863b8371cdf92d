"""A stream, read into canonical events."""

from __future__ import annotations

import json
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text, sse
from keyrail.dialects.canonical.events import (
    Begin,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    ImagePiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.failures import garbage, truncated
from keyrail.dialects.gemini_generate import shapes
from keyrail.dialects.gemini_generate.errors import classify_error
from keyrail.dialects.gemini_generate.finish import finish_of, gave_up
from keyrail.dialects.gemini_generate.parts import call_of, citations_of, image_of, logprobs_of
from keyrail.dialects.gemini_generate.usage import usage_of

_OPENINGS = (b"data", b"event", b"id", b"retry", b":", b"{", b"\xef\xbb\xbf")
_BETWEEN = " \t\r\n,"
_MOST_CANDIDATES = 128
_decoder = json.JSONDecoder()


class Reader:
    """Reads one stream, see EventReader.

    There is no terminator: the stream is whole when each candidate has a finishReason, or the prompt was
    blocked, and the body has ended. As older models repeat a finishReason before the last words, the ends of
    candidates and the usage, whose last state counts, are told when the body ends. Parts of hosted tools show
    nowhere.
    """

    __slots__ = (
        "_begun",
        "_blocked",
        "_calls",
        "_citations",
        "_ended",
        "_finishes",
        "_id",
        "_list",
        "_opening",
        "_provider",
        "_splitter",
        "_usage",
        "failure",
    )

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._splitter = sse.Splitter()
        self._opening = b""  # of the body, until it says what this is
        self._list: bytearray | None = None  # the body, where it is no event stream but one JSON list
        self._begun = False
        self._blocked = False
        self._ended = False
        self._id: str | None = None
        self._usage: shapes.Chunk | None = None  # the last event that told it
        self._finishes: dict[int, tuple[str | None, str | None]] = {}  # reason and message by candidate
        self._calls: dict[int, int] = {}
        self._citations: dict[int, list[Any]] = {}
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The events of what these bytes complete."""
        if self.failure is not None or self._ended:
            return []
        if len(self._opening) < 8:
            self._opening = (self._opening + data[:64]).lstrip()[:8]
            if self._opening[:1] == b"[" and self._list is None:
                self._list = bytearray()
        events: list[Event] = []
        if self._list is not None:
            self._gather(data)
            return events
        try:
            found = self._splitter.feed(data)
        except sse.TooLong:
            self.failure = garbage(self._provider, "sent an event that is too long")
            return events
        for _, payload in found:
            self._payload(payload, events)
            if self.failure is not None:
                break
        return events

    def _gather(self, data: bytes) -> None:
        assert self._list is not None
        self._list += data
        if len(self._list) > sse.MAX_EVENT:
            self.failure = garbage(self._provider, "sent an answer that is too long")
            self._list.clear()

    def end(self) -> list[Event]:
        """What was left, the ends of the candidates, the usage and `Done`; or the failure."""
        if self.failure is not None or self._ended:
            return []
        self._ended = True
        events: list[Event] = []
        if self._list is not None:
            self._payload(bytes(self._list), events, last=True)
        else:
            for _, payload in self._splitter.finish():
                self._payload(payload, events, last=True)
        if self.failure is not None:
            return events
        if (failure := self._missing()) is not None:
            self._fail(failure, events)
            return events
        self._finish(events)
        return events

    def _payload(self, payload: bytes, events: list[Event], *, last: bool = False) -> None:
        """One event; `last`: the body ended with it, so that it may be cut."""
        try:
            self._take(shapes.decode(payload), events)
        except (ValueError, RecursionError):
            if payload.strip() == b"[DONE]":
                return
            chunks = _chunks(payload)
            if chunks is None:
                broken = truncated(self._provider) if last else self._unreadable()
                self._fail(broken, events)
                return
            for chunk in chunks:
                if self.failure is None:
                    self._take(chunk, events)

    def _unreadable(self) -> Failure:
        return garbage(self._provider, "sent an event that is not JSON in UTF-8")

    def _take(self, chunk: shapes.Chunk, events: list[Event]) -> None:
        if chunk.error:
            self._fail(classify_error(self._provider, {"error": chunk.error}), events)
            return
        if bytes(chunk.usage_metadata).startswith(b"{"):
            self._usage = chunk
        if not self._begun:
            self._begun = True
            self._id = chunk.response_id
            events.append(Begin(id=self._id, model=chunk.model_version, usage=_prompt(self._usage)))
        if chunk.candidates:
            for place, candidate in enumerate(chunk.candidates):
                self._candidate(candidate, place, events)
        elif chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            self._blocked = True

    def _candidate(self, candidate: shapes.Candidate, place: int, events: list[Event]) -> None:
        index = candidate.index
        if index is None or not 0 <= index < _MOST_CANDIDATES:
            index = place
        if candidate.finish_reason:
            self._finishes[index] = (candidate.finish_reason, candidate.finish_message)
        elif index not in self._finishes:
            self._finishes[index] = (None, None)
        if candidate.grounding_metadata or candidate.citation_metadata:
            self._citations[index] = citations_of(candidate)
        content = candidate.content
        if content is None or not content.parts:
            return
        logprobs = logprobs_of(candidate) if candidate.logprobs_result else None
        for part in content.parts:
            if part.text is not None and not part.thought:
                if part.text or part.thought_signature:
                    events.append(TextPiece(part.text, index, logprobs, part.thought_signature))
                    logprobs = None
            else:
                self._other(part, index, events)

    def _other(self, part: shapes.Part, index: int, events: list[Event]) -> None:
        """A part that is no text of the answer."""
        seal = part.thought_signature
        if part.function_call is not None:
            position = self._calls.get(index, 0)
            self._calls[index] = position + 1
            call = call_of(part, answer=self._id, candidate=index, position=position)
            events.append(
                CallBegin(
                    position=position,
                    id=call.id,
                    name=call.name,
                    arguments=call.arguments,
                    seal=seal,
                    candidate=index,
                )
            )
        elif part.thought:
            if part.text:
                events.append(ThinkingPiece(part.text, index))
            if seal:
                events.append(Seal(seal, "gemini", redacted=not part.text, candidate=index))
        elif (image := image_of(part)) is not None:
            events.append(ImagePiece(image, index))

    def _missing(self) -> Failure | None:
        """What keeps the stream, whose body has ended, from being whole."""
        if not self._begun:
            if not any(
                self._opening.startswith(name) or name.startswith(self._opening) for name in _OPENINGS
            ):
                return garbage(self._provider, "answered with a body that is no event stream")
            return truncated(self._provider)
        if not self._finishes:
            return None if self._blocked else truncated(self._provider)
        ends = {index: finish_of(reason, calls=False) for index, (reason, _) in self._finishes.items()}
        if None in ends.values():
            return truncated(self._provider)
        if all(end == "error" for end in ends.values()):
            return gave_up(self._provider, *next(iter(self._finishes.values())))
        return None

    def _finish(self, events: list[Event]) -> None:
        if not self._finishes:
            events.append(End(finish="content_filter"))
        for index, (reason, _) in sorted(self._finishes.items()):
            events += [CitationPiece(value, index) for value in self._citations.get(index, ())]
            events.append(End(finish=finish_of(reason, calls=index in self._calls), candidate=index))
        if self._usage is not None:
            events.append(Counted(usage_of(self._usage.usage())))
        events.append(Done())

    def _fail(self, failure: Failure, events: list[Event]) -> None:
        """Over. What was counted so far is more than an estimate could know, and less than what is billed."""
        self.failure = failure
        if self._usage is not None:
            events.append(Counted(usage_of(self._usage.usage()).replace(estimated=True)))


def reader(provider: str) -> Reader:
    """What reads one stream of this provider."""
    return Reader(provider)


def _prompt(chunk: shapes.Chunk | None) -> Usage | None:
    """What is known of the prompt when the answer begins."""
    if chunk is None:
        return None
    known = usage_of(chunk.usage())
    return Usage(input_tokens=known.input_tokens, cache_read_tokens=known.cache_read_tokens)


def _chunks(payload: bytes) -> list[shapes.Chunk] | None:
    """All objects of an event that is no single one of the usual types: a list, or several in a row."""
    try:
        text = str(payload, "utf-8")
        values = _values(text)
    except (ValueError, RecursionError):
        return None
    if json_text.deeper_than(values, json_text.MAX_DEPTH):
        return None
    chunks = [shapes.loosely(value) for value in values]
    found = [chunk for chunk in chunks if chunk is not None]
    return found if len(found) == len(chunks) else None


def _values(text: str) -> list[Any]:
    values: list[Any] = []
    at = 0
    while at < len(text):
        if text[at] in _BETWEEN:
            at += 1
            continue
        value, at = _decoder.raw_decode(text, at)
        values += cast("list[Any]", value) if type(value) is list else [value]
    return values
