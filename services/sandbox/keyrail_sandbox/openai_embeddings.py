"""OpenAI's embeddings."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import msgspec

from keyrail_sandbox import vectors
from keyrail_sandbox.answer import Answer
from keyrail_sandbox.ask import NOWHERE, Ask, Came, Refusal, fingerprint
from keyrail_sandbox.behaviour import Behaviour, parse
from keyrail_sandbox.dialect import Dialect, unknown_fields
from keyrail_sandbox.openai_errors import error


class _Body(msgspec.Struct):
    model: str
    input: str | list[str | int | list[int]]
    encoding_format: str | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=vectors.MOST_DIMENSIONS)] | None = None
    user: str | None = None


_KNOWN = frozenset(_Body.__struct_fields__)
_decode = msgspec.json.Decoder(_Body).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read(body: bytes, came: Came = NOWHERE) -> Ask | Refusal:
    """The texts, or a 400. A text given as tokens is their numbers."""
    try:
        request = _decode(body)
        keys = _decode_keys(body).keys()
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        return Refusal(400, message=f"The body can't be read: {problem}")
    unknown = tuple(key for key in keys if key not in _KNOWN)
    if (refusal := unknown_fields(unknown, parse(request.model))) is not None:
        return refusal
    if request.encoding_format not in (None, "float", "base64"):
        return Refusal(400, message="encoding_format: 'float' or 'base64'", param="encoding_format")
    given = request.input
    if isinstance(given, str):
        given = [given]
    elif given and all(isinstance(item, int) for item in given):
        given = [[item for item in given if isinstance(item, int)]]
    if not given or "" in given:
        return Refusal(400, message="The input can't be empty.", param="input")
    return Ask(
        model=request.model,
        text="",
        prompt_tokens=sum(_tokens(item) for item in given),
        inputs=tuple(item if isinstance(item, str) else str(item) for item in given),
        dimensions=request.dimensions,
        base64=request.encoding_format == "base64",
        fingerprint=fingerprint(body),
        unknown=unknown,
    )


def _tokens(item: str | int | list[int]) -> int:
    """A token for every four characters, rounded up; tokens are themselves."""
    if isinstance(item, str):
        return (len(item) + 3) // 4
    return 1 if isinstance(item, int) else len(item)


def whole(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """The vectors, in the order of the texts."""
    body: dict[str, Any] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": at, "embedding": _embedding(text, ask)}
            for at, text in enumerate(ask.inputs)
        ],
        "model": ask.model,
    }
    if behaviour.fault == "null-choices":
        body["data"] = None
    if not behaviour.no_usage:
        body["usage"] = {"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens}
        if behaviour.nonsense_usage:
            body["usage"] = {"prompt_tokens": "many", "total_tokens": None}
    return msgspec.json.encode(body)


def _embedding(text: str, ask: Ask) -> list[float] | str:
    numbers = vectors.vector(text, ask.dimensions)
    return base64.b64encode(vectors.as_bytes(numbers)).decode() if ask.base64 else numbers


EMBEDDINGS = Dialect(read, error, whole)
