"""Any client's dialect joined with any provider's, for one request.

Between equal dialects bodies and streams pass as they are; between others they go through the canonical form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Dialect, Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text, registry
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.continuing import Continuation, Primed, Recorder
from keyrail.dialects.joined import Joined
from keyrail.dialects.openai_chat.answer import read_answer
from keyrail.dialects.protocols import EventWriter, Relay


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer that is ready for the client. `model` is the name the provider answered with."""

    body: bytes
    usage: Usage
    finish: str | None
    model: str | None


@dataclass(slots=True)
class Bridge:
    """One request's way from a client to a provider, and back.

    `facts.dialect` is the client's, `dialect` the provider's; `model` is the provider's own name. `created`:
    seconds since 1970, for answers without a time.
    """

    provider: str
    dialect: Dialect
    facts: Facts
    model: str
    quirks: Quirks = field(default_factory=Quirks)
    created: int | None = None
    _asked: dict[str, Any] | None = None

    @property
    def passes(self) -> bool:
        """Whether both speak the same dialect."""
        return self.facts.dialect == self.dialect

    def request(self, body: bytes) -> Written | Failure:
        """The body for the provider, out of one that the client's dialect has checked.

        A Failure (400) says what this provider can't do. Raises ValueError for a body that is no JSON object.
        """
        if self.passes:
            return registry.wire(self.dialect).prepare(body, model=self.model, quirks=self.quirks)
        value = json_text.parse(body)
        if type(value) is not dict:
            raise ValueError("it is not an object")
        self._asked = cast("dict[str, Any]", value)
        request = registry.face(self.facts.dialect).read_request(self._asked)
        if isinstance(request, Failure):
            return request
        outbound = registry.outbound(self.dialect)
        written = outbound.write_request(request, model=self.model, quirks=self.quirks)
        if isinstance(written, Failure):
            return written
        dropped = dict.fromkeys((*request.dropped, *written.dropped))
        return Written(written.body, tuple(dropped))

    def answer(self, body: bytes) -> Answered | Failure:
        """A 200's body as the client reads it. After `request`, whose body some answers repeat."""
        if self.passes and (read := _PASSED.get(self.dialect)) is not None:
            return read(body, self.provider)
        answer = registry.outbound(self.dialect).parse_answer(body, self.provider)
        if isinstance(answer, Failure):
            return answer
        if not self.passes:
            face = registry.face(self.facts.dialect)
            body = face.render_answer(
                answer, model=self.facts.model, request=self._asked, created=self.created
            )
        return Answered(body, answer.usage, _finish(answer), answer.model)

    def classify(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """The Failure behind an answer that is not a 200. Header names are lower case."""
        return registry.outbound(self.dialect).classify(self.provider, status, headers, body)

    def relay(self) -> Relay:
        """What a streamed answer goes through."""
        if self.passes:
            return registry.wire(self.dialect).passing(self.provider, self.facts)
        return Joined(registry.outbound(self.dialect).reader(self.provider), self._writer(self._asked))

    def continuing(self, body: bytes, continuation: Continuation) -> Relay:
        """What a stream goes through that goes on with another's. `body`: the client's, as it was asked
        first."""
        asked = cast("dict[str, Any]", json_text.parse(body))
        writer = Primed(self._writer(asked), continuation, f"continued by {self.provider}/{self.model}")
        return Joined(registry.outbound(self.dialect).reader(self.provider), writer)

    def recorder(self, before: Continuation | None) -> Recorder | None:
        """What remembers a stream, so that another provider can go on with it; None where none can.

        The events of a response name what they belong to, and are numbered: those that passed are not ours to
        number on.
        """
        if self.passes and self.dialect == "openai-responses" and before is None:
            return None
        return Recorder(registry.outbound(self.dialect).reader(self.provider), before)

    def _writer(self, asked: dict[str, Any] | None) -> EventWriter:
        face = registry.face(self.facts.dialect)
        return face.writer(self.facts, model=self.facts.model, request=asked, created=self.created)


def _finish(answer: Answer) -> str | None:
    return next((candidate.finish for candidate in answer.candidates if candidate.finish), None)


def _passed_chat(body: bytes, provider: str) -> Answered | Failure:
    read = read_answer(body, provider)
    if isinstance(read, Failure):
        return read
    return Answered(read.body, read.usage, read.finish, read.model)


_PASSED: dict[Dialect, Callable[[bytes, str], Answered | Failure]] = {"openai-chat": _passed_chat}
"""Dialects that read an answer on its way more cheaply than by parsing it."""
