"""What a dialect's modules offer, so that any client's dialect can be joined with any provider's.

A client's dialect has a `Face`, a provider's a `Wire`; most have both. Each is a module with these
functions, and
keyrail.dialects.registry is where they are found by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.events import Event
from keyrail.dialects.canonical.request import Request, Written


class EventWriter(Protocol):
    """Writes one stream for a client."""

    def write(self, events: list[Event]) -> bytes:
        """Bytes that are ready to send; empty when these events show nowhere."""
        ...


class EventReader(Protocol):
    """Reads one stream of a provider. `failure`: the stream is over, and why."""

    failure: Failure | None

    def feed(self, data: bytes) -> list[Event]:
        """What this read completes. Nothing follows a failure or `Done`. How bytes are cut changes
        nothing."""
        ...

    def end(self) -> list[Event]:
        """The body has ended: what was left. Without `Done` among all events, `failure` is set by now."""
        ...


class Relay(Protocol):
    """One streamed answer on its way from a provider to a client, in whatever dialects.

    `content`: some of the answer has come. `done`: it has ended as a whole one does. `failure`: it is over,
    and
    why. `output_chars` and `events` (those with content) are what an estimate of the usage is made of.
    """

    content: bool
    done: bool
    failure: Failure | None
    finish: str | None
    usage: Usage | None
    model: str | None
    output_chars: int
    events: int

    def feed(self, data: bytes) -> bytes:
        """Bytes for the client out of one upstream read."""
        ...

    def end(self) -> bytes:
        """The body has ended: the last bytes. Afterwards it is done, or there is a failure."""
        ...


class Face(Protocol):
    """A client's dialect. Bodies are plain JSON objects."""

    def check(self, body: dict[str, Any]) -> Failure | None:
        """What is wrong with the body, naming the parameter. Wrong types and absurd sizes only."""
        ...

    def facts(self, body: dict[str, Any]) -> Facts:
        """What the router needs to know of a body that `check` has passed."""
        ...

    def read_request(self, body: dict[str, Any]) -> Request | Failure:
        """The canonical form. A Failure (400, naming the parameter) when no other dialect could serve it."""
        ...

    def render_answer(self, answer: Answer, *, model: str) -> bytes:
        """The answer as the client reads it. `model`: for where the provider named none."""
        ...

    def writer(self, facts: Facts, *, model: str) -> EventWriter:
        """What writes a stream."""
        ...

    def render(self, failure: Failure) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of an error answer."""
        ...

    def render_event(self, failure: Failure) -> bytes:
        """The error at the end of a stream that has begun."""
        ...


class Wire(Protocol):
    """A provider's dialect."""

    def prepare(self, body: dict[str, Any], *, model: str, quirks: Quirks) -> Written | Failure:
        """The body of a client that speaks this dialect too: model and named quirks changed, nothing else.

        A Failure (400) names what the provider does not take and the request can't do without. May change
        `body`.
        """
        ...

    def write_request(self, request: Request, *, model: str, quirks: Quirks) -> Written | Failure:
        """The body for the provider out of the canonical form. A Failure (400) says what can't be done."""
        ...

    def parse_answer(self, body: bytes, provider: str) -> Answer | Failure:
        """A 200's body. What is no answer is a Failure; a field of an unexpected type counts as absent."""
        ...

    def reader(self, provider: str) -> EventReader:
        """What reads a stream."""
        ...

    def passing(self, provider: str, facts: Facts) -> Relay:
        """What passes a stream on to a client of the same dialect, watching it."""
        ...

    def classify(self, provider: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """The Failure behind an answer that is not a 200. Header names are lower case."""
        ...
