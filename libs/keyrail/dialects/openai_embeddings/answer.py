"""The answer: passed on byte for byte from a provider of this dialect, or written out of vectors."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.canonical.embeddings import EmbeddingAnswer, EmbeddingRequest
from keyrail.dialects.openai_chat.errors import classify_error, garbage
from keyrail.dialects.openai_chat.usage import usage_of
from keyrail.dialects.openai_embeddings.request import estimate


@dataclass(frozen=True, slots=True)
class Passed:
    """An answer that is ready for the client. `model` is the name the provider answered with."""

    body: bytes
    usage: Usage
    model: str | None


class _Body(msgspec.Struct, gc=False):
    data: msgspec.Raw = msgspec.Raw(b"")  # thousands of numbers, of which nothing needs to be known
    usage: dict[str, Any] | None = None
    model: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def read_answer(body: bytes, provider: str) -> Passed | Failure:
    """Read a 200. An error inside it is classified; what holds no embeddings is `garbage`."""
    try:
        if not body.isascii():
            str(body, "utf-8")
        found = _decode(body)
    except (ValueError, RecursionError):
        found = _loosely(body)
    if found is None:
        return garbage(provider, "answered with a body that is no JSON object")
    if found.error:
        return classify_error(provider, json_text.parse_or_none(body))
    if not bytes(found.data).startswith(b"["):
        return garbage(provider, "answered with JSON that holds no embeddings")
    usage = usage_of(found.usage)
    if usage.input_tokens is not None and usage.output_tokens is None:
        usage = usage.replace(output_tokens=0)  # vectors are no tokens
    return Passed(body=body, usage=usage, model=found.model)


def _loosely(body: bytes) -> _Body | None:
    """The same from a body with fields of unexpected types; None when it is no JSON object."""
    value = json_text.parse_or_none(body)
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    usage, model = fields.get("usage"), fields.get("model")
    return _Body(
        data=msgspec.Raw(b"[]") if type(fields.get("data")) is list else msgspec.Raw(b""),
        usage=cast("dict[str, Any]", usage) if type(usage) is dict else None,
        model=model if type(model) is str else None,
        error=fields.get("error"),
    )


def render_answer(answer: EmbeddingAnswer, request: EmbeddingRequest, *, model: str) -> bytes:
    """The answer as the client reads it. `model`: for where the provider named none.

    Clients rely on `usage`. Where the provider counted nothing, it is worked out from the texts and says so
    by `estimated`; the ledger's own usage stays unknown.
    """
    encode = _base64 if request.encoding == "base64" else _same
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector)}
        for index, vector in enumerate(answer.vectors)
    ]
    return json_text.dump(
        {
            "object": "list",
            "data": data,
            "model": answer.model or model,
            "usage": _usage(answer.usage.input_tokens, request),
        }
    )


def _usage(tokens: int | None, request: EmbeddingRequest) -> dict[str, Any]:
    if tokens is not None:
        return {"prompt_tokens": tokens, "total_tokens": tokens}
    guess = sum(map(estimate, request.texts))
    return {"prompt_tokens": guess, "total_tokens": guess, "estimated": True}


def _same(vector: list[float]) -> list[float]:
    return vector


def _base64(vector: list[float]) -> str:
    """32-bit floats, little endian."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()
