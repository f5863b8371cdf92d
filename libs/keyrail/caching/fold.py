"""A stream's events as one whole answer, and a whole answer as the events of a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Answer, Candidate
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
    ImagePiece,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Call, Image, Part, Refusal, Text, Thinking

PIECE = 256
"""Characters of text in one event of an answer that is told again."""


class Unfoldable(ValueError):
    """The stream holds what one answer can't."""


def folded(events: Iterable[Event]) -> Answer:
    """The answer that a whole stream told. Raises Unfoldable without `Done`, or for several candidates."""
    fold = _Fold()
    for event in events:
        fold.take(event)
    return fold.answer()


class _Fold:
    def __init__(self) -> None:
        self._begin = Begin()
        self._usage: Usage | None = None
        self._candidate = Candidate([])
        self._logprobs: list[Any] = []
        self._calls: dict[int, Call] = {}
        self._open: Part | None = None  # what the next piece of its kind belongs to
        self._done = False
        self._readers: dict[type, Callable[[Any], None]] = {
            Begin: self._begins,
            TextPiece: self._text,
            RefusalPiece: self._refusal,
            ThinkingPiece: self._thinking,
            Seal: self._seal,
            CallBegin: self._call,
            ArgumentsPiece: self._arguments,
            ImagePiece: self._image,
            CitationPiece: self._citation,
            Boundary: self._boundary,
            End: self._ends,
            Counted: self._counted,
            Done: self._dones,
        }

    def take(self, event: Event) -> None:
        if getattr(event, "candidate", 0) != 0:
            raise Unfoldable("there are several candidates")
        read = self._readers.get(type(event))
        if read is not None:
            read(event)

    def answer(self) -> Answer:
        if not self._done:
            raise Unfoldable("it has no end")
        self._candidate.logprobs = self._logprobs or None
        usage = self._usage or self._begin.usage or Usage()
        begin = self._begin
        return Answer(
            id=begin.id, model=begin.model, created=begin.created, candidates=[self._candidate], usage=usage
        )

    def _add(self, part: Part) -> None:
        self._candidate.parts.append(part)
        self._open = part

    def _begins(self, event: Begin) -> None:
        self._begin = event

    def _text(self, event: TextPiece) -> None:
        if event.logprobs:
            self._logprobs += event.logprobs
        if type(self._open) is Text and (event.seal is None or self._open.seal in (None, event.seal)):
            self._open.text += event.text
            self._open.seal = event.seal or self._open.seal
        elif event.text or event.seal is not None:
            self._add(Text(event.text, seal=event.seal))

    def _refusal(self, event: RefusalPiece) -> None:
        if type(self._open) is Refusal:
            self._open.text += event.text
        elif event.text:
            self._add(Refusal(event.text))

    def _thinking(self, event: ThinkingPiece) -> None:
        if type(self._open) is Thinking and self._open.seal is None and event.id in (None, self._open.id):
            self._open.text += event.text
        elif event.text:
            self._add(Thinking(event.text, id=event.id))

    def _seal(self, event: Seal) -> None:
        open_ = self._open
        if type(open_) is not Thinking or open_.seal is not None or event.redacted:
            open_ = Thinking()
            self._add(open_)
        open_.seal, open_.seal_kind = event.seal, event.kind
        open_.redacted, open_.raw = event.redacted, event.raw
        open_.id = event.id or open_.id
        self._open = None

    def _call(self, event: CallBegin) -> None:
        call = Call(event.id, event.name, event.arguments, custom=event.custom, seal=event.seal)
        self._calls[event.position] = call
        self._add(call)

    def _arguments(self, event: ArgumentsPiece) -> None:
        call = self._calls.get(event.position)
        if call is None:
            raise Unfoldable("it goes on with a call that has not begun")
        call.arguments += event.text

    def _image(self, event: ImagePiece) -> None:
        self._candidate.parts.append(event.image)
        self._open = None

    def _citation(self, event: CitationPiece) -> None:
        text = next((part for part in reversed(self._candidate.parts) if type(part) is Text), None)
        if text is None:
            text = Text("")
            self._add(text)
        text.citations = [*(text.citations or ()), event.value]

    def _boundary(self, _: Boundary) -> None:
        self._open = None

    def _ends(self, event: End) -> None:
        self._candidate.finish = event.finish
        self._candidate.stop_sequence = event.stop_sequence

    def _counted(self, event: Counted) -> None:
        self._usage = event.usage

    def _dones(self, _: Done) -> None:
        self._done = True


def unfolded(answer: Answer) -> list[Event]:
    """The stream that tells this answer, which has one candidate. Log probabilities stay in one piece."""
    candidate = answer.candidates[0]
    events: list[Event] = [Begin(answer.id, answer.model, answer.created, answer.usage)]
    logprobs, position = candidate.logprobs, 0
    for part in candidate.parts:
        match part:
            case Text():
                events += _words(part, logprobs)
                logprobs = None
            case Refusal():
                events.append(RefusalPiece(part.text))
            case Thinking():
                events += _thoughts(part)
            case Call():
                events.append(CallBegin(position, part.id, part.name, "", part.custom, part.seal))
                if part.arguments:
                    events.append(ArgumentsPiece(position, part.arguments))
                position += 1
            case Image():
                events.append(ImagePiece(part))
            case _:
                raise Unfoldable(f"a stream can't tell {type(part).__name__}")
        events.append(Boundary())
    events += [End(candidate.finish, candidate.stop_sequence), Counted(answer.usage), Done()]
    return events


def _words(part: Text, logprobs: list[Any] | None) -> list[Event]:
    step = max(1, len(part.text)) if logprobs else PIECE
    pieces = [part.text[start : start + step] for start in range(0, len(part.text), step)] or [""]
    events: list[Event] = [TextPiece(piece) for piece in pieces]
    events[0] = TextPiece(pieces[0], logprobs=logprobs)
    if part.seal is not None:
        events[-1] = msgspec.structs.replace(events[-1], seal=part.seal)
    events += [CitationPiece(value) for value in part.citations or ()]
    return events


def _thoughts(part: Thinking) -> list[Event]:
    events: list[Event] = [ThinkingPiece(part.text, id=part.id)] if part.text else []
    if part.seal is not None and part.seal_kind is not None:
        events.append(Seal(part.seal, part.seal_kind, part.redacted, id=part.id, raw=part.raw))
    return events
