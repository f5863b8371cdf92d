"""How one request gets to its provider and its answer back, whatever is asked for.

A `Way` is made for one request. `Bridge` is that of answers; embeddings and counting tokens have their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from keyrail.contracts.failures import Failure
from keyrail.contracts.quirks import Quirks
from keyrail.contracts.slips import Dialect, Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text, registry
from keyrail.dialects.anthropic_messages import counting
from keyrail.dialects.bridge import Answered, Bridge
from keyrail.dialects.canonical.embeddings import EmbeddingRequest
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.gemini_generate import counting as gemini_counting
from keyrail.dialects.gemini_generate import embeddings as gemini_embeddings
from keyrail.dialects.openai_embeddings import face as embeddings
from keyrail.dialects.openai_embeddings import wire as embeddings_wire
from keyrail.dialects.protocols import Relay


class Way(Protocol):
    """For one request: `request` first, then `answer` or `relay` for a 200, `classify` for anything else."""

    def request(self, body: bytes) -> Written | Failure:
        """The body for the provider. A Failure says what can't be asked of it."""
        ...

    def answer(self, body: bytes) -> Answered | Failure:
        """A 200's body as the client reads it."""
        ...

    def relay(self) -> Relay | None:
        """What a streamed answer goes through; None for what is never streamed."""
        ...

    def classify(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """The Failure behind an answer that is not a 200."""
        ...


class _Whole:
    """What is never streamed."""

    def __init__(self, provider: str, dialect: Dialect) -> None:
        self._provider = provider
        self._dialect: Dialect = dialect

    def relay(self) -> None:
        """There is none."""
        return

    def classify(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """The Failure behind an answer that is not a 200."""
        return registry.outbound(self._dialect).classify(self._provider, status, headers, body)


class Embeddings(_Whole):
    """POST /v1/embeddings: passed on, or translated for Gemini. Nobody else has any."""

    def __init__(self, provider: str, dialect: Dialect, facts: Facts, model: str, quirks: Quirks) -> None:
        super().__init__(provider, "openai-chat" if dialect == "openai-embeddings" else dialect)
        self._passes = dialect == "openai-embeddings"
        self._facts = facts
        self._model = model
        self._quirks = quirks
        self._asked: EmbeddingRequest | None = None

    def request(self, body: bytes) -> Written | Failure:
        """The body for the provider. A Failure says what can't be asked of it."""
        if self._passes:
            return embeddings_wire.prepare(body, model=self._model, quirks=self._quirks)
        if self._dialect != "gemini-generate":
            return embeddings_wire.none_at(self._provider)
        asked = embeddings.read_request(json_text.parse(body))
        if isinstance(asked, Failure):
            return asked
        self._asked = asked
        return gemini_embeddings.write_request(asked, model=self._model, quirks=self._quirks)

    def answer(self, body: bytes) -> Answered | Failure:
        """A 200's body as the client reads it."""
        if self._asked is None:
            passed = embeddings_wire.read_answer(body, self._provider)
            if isinstance(passed, Failure):
                return passed
            return Answered(passed.body, passed.usage, None, passed.model)
        answer = gemini_embeddings.parse_answer(body, self._provider, texts=len(self._asked.texts))
        if isinstance(answer, Failure):
            return answer
        rendered = embeddings.render_answer(answer, self._asked, model=self._facts.model)
        return Answered(rendered, answer.usage, None, answer.model)


class Counting(_Whole):
    """POST /v1/messages/count_tokens at a provider that counts. For the others there is `estimated`."""

    def __init__(self, provider: str, dialect: Dialect, model: str, quirks: Quirks) -> None:
        super().__init__(provider, dialect)
        self._model = model
        self._quirks = quirks

    def request(self, body: bytes) -> Written | Failure:
        """The body for the provider. A Failure says what can't be asked of it."""
        if self._dialect == "anthropic-messages":
            return counting.prepare(body, model=self._model, quirks=self._quirks)
        asked = registry.face("anthropic-messages").read_request(json_text.parse(body))
        if isinstance(asked, Failure):
            return asked
        return gemini_counting.write_request(asked, model=self._model, quirks=self._quirks)

    def answer(self, body: bytes) -> Answered | Failure:
        """A 200's body as the client reads it. It is free of charge everywhere."""
        read = counting if self._dialect == "anthropic-messages" else gemini_counting
        number = read.parse_answer(body, self._provider)
        if isinstance(number, Failure):
            return number
        return Answered(counting.render(number), Usage(), None, None)


COUNTERS: frozenset[Dialect] = frozenset({"anthropic-messages", "gemini-generate"})
"""Dialects in which tokens can be counted."""


def way(provider: str, dialect: Dialect, facts: Facts, model: str, quirks: Quirks, created: int) -> Way:
    """The way of a request to this provider, asked in `dialect`. `created`: seconds since 1970."""
    if facts.dialect == "openai-embeddings":
        return Embeddings(provider, dialect, facts, model, quirks)
    if facts.operation == "count_tokens":
        return Counting(provider, dialect, model, quirks)
    return Bridge(provider, dialect, facts, model, quirks, created)


def estimated(body: bytes) -> bytes | Failure:
    """The answer to count_tokens for a provider that can't count: worked out here, nobody is asked."""
    value: Any = json_text.parse(body)
    asked = registry.face("anthropic-messages").read_request(cast("dict[str, Any]", value))
    return asked if isinstance(asked, Failure) else counting.render(counting.estimate(asked))
