"""A reader of one dialect and a writer of another, as one relay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
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
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.protocols import EventReader, EventWriter


class Joined:
    """A relay between two dialects. A failure makes no bytes: its words depend on what the client has."""

    __slots__ = (
        "_reader",
        "_watchers",
        "_writer",
        "content",
        "done",
        "events",
        "failure",
        "finish",
        "model",
        "output_chars",
        "usage",
    )

    def __init__(self, reader: EventReader, writer: EventWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.content = False
        self.done = False
        self.failure: Failure | None = None
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.model: str | None = None
        self.output_chars = 0
        self.events = 0
        self._watchers: dict[type, Callable[[Any], None]] = {
            Begin: self._begin,
            TextPiece: self._words,
            RefusalPiece: self._words,
            ThinkingPiece: self._words,
            ArgumentsPiece: self._words,
            CallBegin: self._call,
            Seal: self._some,
            ImagePiece: self._some,
            CitationPiece: self._some,
            End: self._end,
            Counted: self._counted,
            Done: self._done,
        }

    def feed(self, data: bytes) -> bytes:
        """Bytes for the client out of one upstream read."""
        return self._pass(self._reader.feed(data))

    def end(self) -> bytes:
        """The body has ended: the last bytes. Afterwards it is done, or there is a failure."""
        return self._pass(self._reader.end())

    def _pass(self, events: list[Event]) -> bytes:
        self.failure = self._reader.failure
        if not events:
            return b""
        watchers = self._watchers
        for event in events:
            if type(event) is TextPiece:  # nearly all are
                self._words(event)
            elif (watcher := watchers.get(type(event))) is not None:
                watcher(event)
        return self._writer.write(events)

    def _begin(self, event: Begin) -> None:
        self.model = event.model or self.model
        self.usage = event.usage or self.usage

    def _words(self, event: TextPiece | RefusalPiece | ThinkingPiece | ArgumentsPiece) -> None:
        if event.text:
            self.content = True
            self.events += 1
            self.output_chars += len(event.text)

    def _call(self, event: CallBegin) -> None:
        self.content = True
        self.events += 1
        self.output_chars += len(event.name) + len(event.arguments)

    def _some(self, _: Event) -> None:
        self.content = True
        self.events += 1

    def _end(self, event: End) -> None:
        self.finish = event.finish or self.finish

    def _counted(self, event: Counted) -> None:
        self.usage = event.usage

    def _done(self, _: Done) -> None:
        self.done = True
