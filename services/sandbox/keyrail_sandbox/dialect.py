"""What a wire format has to offer: one module per dialect, all with these functions."""

from __future__ import annotations

from typing import Protocol

from keyrail_sandbox.answer import Answer
from keyrail_sandbox.ask import Ask, Refusal


class Events(Protocol):
    """The events of one streamed answer, as bytes of `text/event-stream`."""

    opening: bytes

    def reasoning(self, piece: str) -> bytes:
        """A chunk of reasoning."""
        ...

    def content(self, piece: str) -> bytes:
        """A chunk of text, or of a tool call's arguments."""
        ...

    def closing(self, *, done: bool) -> bytes:
        """All that follows the content; without the terminator unless `done`."""
        ...


class Dialect(Protocol):
    """A module that speaks one wire format. Pure: bytes to values and back."""

    def read(self, body: bytes) -> Ask | Refusal:
        """The request, or why there can be no answer."""
        ...

    def error(self, refusal: Refusal) -> bytes:
        """The body of an error."""
        ...

    def error_event(self, refusal: Refusal) -> bytes:
        """An error in the middle of a stream."""
        ...

    def whole(self, ask: Ask, answer: Answer, request_id: str, *, usage: bool) -> bytes:
        """The body of an answer that is not streamed."""
        ...

    def events(self, ask: Ask, answer: Answer, request_id: str, *, usage: bool) -> Events:
        """The events of a streamed answer."""
        ...
