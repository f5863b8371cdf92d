"""Embeddings: batchEmbedContents, which serves one text as well as many."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.embeddings import EmbeddingAnswer, EmbeddingRequest
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.failures import garbage
from keyrail.dialects.gemini_generate.errors import classify, classify_error
from keyrail.dialects.gemini_generate.usage import usage_of

__all__ = ["classify", "parse_answer", "write_request"]


class _Vector(msgspec.Struct, gc=False):
    values: list[float]


class _Body(msgspec.Struct, gc=False, rename="camel"):
    embeddings: list[_Vector] | None = None
    usage_metadata: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def write_request(request: EmbeddingRequest, *, model: str, quirks: Quirks) -> Written:
    """The body of a batchEmbedContents call. Texts and vectors pass as they are: neither is normalised."""
    dropped = dict.fromkeys(request.dropped)
    if request.user is not None:
        dropped["user"] = None
    name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    dimensions = None if "outputDimensionality" in quirks.drop else request.dimensions
    if dimensions != request.dimensions:
        dropped["dimensions"] = None
    more = {} if dimensions is None else {"outputDimensionality": dimensions}
    requests = [{"model": name, "content": {"parts": [{"text": text}]}, **more} for text in request.texts]
    return Written(body={"requests": requests}, dropped=tuple(dropped))


def parse_answer(body: bytes, provider: str, *, texts: int) -> EmbeddingAnswer | Failure:
    """A 200's body; `texts`: how many were asked for, since no vector says whose it is.

    Older models tell no usage: then all of it is unknown, which is not zero.
    """
    try:
        found = _decode(body)
    except (ValueError, RecursionError):
        value = json_text.parse_or_none(body)
        if type(value) is dict and value.get("error"):
            return classify_error(provider, value)
        return garbage(provider, "answered with a body that holds no embeddings")
    if found.error:
        return classify_error(provider, {"error": found.error})
    vectors = [embedding.values for embedding in found.embeddings or ()]
    if len(vectors) != texts:
        return garbage(provider, f"answered with {len(vectors)} embeddings for {texts} texts")
    return EmbeddingAnswer(vectors=vectors, usage=_usage(found.usage_metadata))


def _usage(value: object) -> Usage:
    usage = usage_of(value)
    # Vectors are no tokens: once the prompt is known, nothing is unknown.
    return usage if usage.input_tokens is None else usage.replace(output_tokens=0)
