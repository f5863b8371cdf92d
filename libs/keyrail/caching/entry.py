"""One kept answer: in no client's dialect, compressed, and good until it expires."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any, Final, Literal, cast

import msgspec

from keyrail.caching.eligible import MOST_KEPT
from keyrail.caching.fold import unfolded
from keyrail.contracts.base import Contract
from keyrail.contracts.slips import Dialect, Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import registry
from keyrail.dialects.canonical import parts as kinds
from keyrail.dialects.canonical.answer import Answer, Candidate, Finish
from keyrail.dialects.canonical.parts import Part

_IDS: Final[dict[Dialect, str]] = {
    "openai-chat": "chatcmpl-",
    "openai-responses": "resp_",
    "anthropic-messages": "msg_",
}
_LEVEL: Final = 1
_MOST_OPEN: Final = 16 << 20
"""Bytes that an entry may be when it is open: what is kept was a megabyte at most."""


class Entry(Contract, frozen=True, kw_only=True):
    """What is kept of an answer. `parts`: each with its kind's name; `body`: of embeddings, as they came.

    `cost_usd`: what the answer did cost when it was made; None: nobody knows.
    """

    version: Literal[1] = 1
    made_ms: int
    expires_ms: int
    cost_usd: Decimal | None = None
    usage: Usage = Usage()
    model: str | None = None
    finish: Finish | None = None
    stop_sequence: str | None = None
    parts: tuple[tuple[str, dict[str, Any]], ...] = ()
    logprobs: list[Any] | None = None
    body: str | None = None

    def pack(self) -> bytes | None:
        """The entry as it is kept; None when it is too large for that."""
        packed = zlib.compress(self.encode(), _LEVEL)
        return packed if len(packed) <= MOST_KEPT else None

    @classmethod
    def unpack(cls, packed: bytes) -> Entry:
        """The inverse. Raises ValueError."""
        opener = zlib.decompressobj()
        try:
            text = opener.decompress(packed, _MOST_OPEN)
        except zlib.error as error:
            raise ValueError("it is not compressed") from error
        return cls.decode(text)


def of_answer(answer: Answer, *, made_ms: int, ttl_s: int, cost_usd: Decimal | None) -> Entry:
    """The entry of an answer that has one candidate and may be kept."""
    candidate = answer.candidates[0]
    return Entry(
        made_ms=made_ms,
        expires_ms=made_ms + ttl_s * 1000,
        cost_usd=cost_usd,
        usage=answer.usage,
        model=answer.model,
        finish=candidate.finish,
        stop_sequence=candidate.stop_sequence,
        parts=tuple((type(part).__name__, _fields(part)) for part in candidate.parts),
        logprobs=candidate.logprobs,
    )


def answer_of(entry: Entry, dialect: Dialect, *, id: str, now_ms: int) -> Answer:
    """The answer, as one that was just made: with an id of the client's dialect and the time of now.

    Raises ValueError for a part that this version does not know.
    """
    return Answer(
        id=_IDS.get(dialect, "") + id,
        model=entry.model,
        created=now_ms // 1000,
        candidates=[
            Candidate(
                parts=[_part(kind, fields) for kind, fields in entry.parts],
                finish=entry.finish,
                stop_sequence=entry.stop_sequence,
                logprobs=entry.logprobs,
            )
        ],
        usage=entry.usage,
    )


def rendered(entry: Entry, facts: Facts, request: dict[str, Any] | None, *, id: str, now_ms: int) -> bytes:
    """The whole answer as this client reads it, streaming or not. Raises ValueError."""
    if entry.body is not None:
        return entry.body.encode()
    answer = answer_of(entry, facts.dialect, id=id, now_ms=now_ms)
    face = registry.face(facts.dialect)
    if not facts.stream:
        return face.render_answer(answer, model=facts.model, request=request, created=answer.created)
    writer = face.writer(facts, model=facts.model, request=request, created=answer.created)
    return writer.write(unfolded(answer))


def _fields(part: Part) -> dict[str, Any]:
    said = {name: getattr(part, name) for name in part.__struct_fields__}
    return {name: value for name, value in said.items() if value is not None}


def _part(kind: str, fields: dict[str, Any]) -> Part:
    return cast("Part", msgspec.convert(fields, _KINDS[kind])) if kind in _KINDS else _unknown(kind)


def _unknown(kind: str) -> Part:
    raise ValueError(f"a part of an unknown kind: {kind[:32]}")


_KINDS: Final[dict[str, type]] = {
    each.__name__: each for each in (kinds.Text, kinds.Image, kinds.Thinking, kinds.Call, kinds.Refusal)
}
