"""Gemini's embeddings, one and many."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from keyrail_sandbox import vectors
from keyrail_sandbox.answer import Answer
from keyrail_sandbox.ask import NOWHERE, Ask, Came, Refusal, fingerprint
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.gemini_generate.contents import field, text_of
from keyrail_sandbox.gemini_generate.request import decode

_Dict = dict[str, Any]


def read_embedding(body: bytes, came: Came = NOWHERE) -> Ask | Refusal:
    """One content to embed, or a 400."""
    request = decode(body)
    return request if isinstance(request, Refusal) else _ask([request], body, came)


def read_batch(body: bytes, came: Came = NOWHERE) -> Ask | Refusal:
    """Several requests of the same form, or a 400."""
    request = decode(body)
    if isinstance(request, Refusal):
        return request
    given = request.get("requests")
    if not isinstance(given, list) or not all(isinstance(r, dict) for r in cast("list[Any]", given)):
        return Refusal(400, message="* BatchEmbedContentsRequest.requests: requests is not specified")
    return _ask(cast("list[_Dict]", given), body, came)


def _ask(requests: list[_Dict], body: bytes, came: Came) -> Ask | Refusal:
    texts = [text_of(request.get("content")) for request in requests]
    if not texts or "" in texts:
        return Refusal(400, message="content contains an empty Part.")
    size = field(requests[0], "outputDimensionality")
    if size is not None and (not isinstance(size, int) or not 1 <= size <= vectors.MOST_DIMENSIONS):
        return Refusal(400, message="output_dimensionality is out of range.")
    return Ask(
        model=came.model or "",
        text="",
        prompt_tokens=sum((len(text) + 3) // 4 for text in texts),
        inputs=tuple(texts),
        dimensions=size,
        fingerprint=fingerprint(body),
    )


def embedding(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """The vector of the one content."""
    (one,) = _values(ask)
    return _encode({"embedding": one}, ask, behaviour)


def batch(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """The vectors, in the order of the requests."""
    return _encode({"embeddings": _values(ask)}, ask, behaviour)


def _values(ask: Ask) -> list[dict[str, list[float]]]:
    return [{"values": vectors.vector(text, ask.dimensions)} for text in ask.inputs]


def _encode(body: _Dict, ask: Ask, behaviour: Behaviour) -> bytes:
    if behaviour.fault == "null-choices":
        body = dict.fromkeys(body)
    if not behaviour.no_usage:
        count: Any = "many" if behaviour.nonsense_usage else ask.prompt_tokens
        body["usageMetadata"] = {"promptTokenCount": count}
    return msgspec.json.encode(body)
