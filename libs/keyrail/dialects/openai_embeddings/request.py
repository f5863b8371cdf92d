"""The request body: described at the edge, prepared for a provider that takes it as it is, or translated."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.dialects import flavour, json_text
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.embeddings import EmbeddingRequest
from keyrail.dialects.canonical.request import Written, refused
from keyrail.dialects.openai_embeddings.checks import problem_of

_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def check(body: dict[str, Any]) -> Failure | None:
    """What is wrong with the body, naming the parameter; None when a provider may be asked."""
    return problem_of(body)


def facts(body: dict[str, Any]) -> Facts:
    """What the router needs to know of a body that `check` has passed."""
    return Facts(
        dialect="openai-embeddings", model=body["model"], input_tokens_estimate=_tokens(body["input"])
    )


def _tokens(value: str | list[Any]) -> int:
    """Four characters of text are about a token; of what came as tokens the number is known."""
    if type(value) is str:
        return estimate(value)
    items = cast("list[Any]", value)
    if type(items[0]) is int:
        return len(items)
    return sum(estimate(item) if type(item) is str else len(item) for item in items)


def estimate(text: str) -> int:
    """Tokens of a text, roughly."""
    return -(-len(text) // 4)


def prepare(body: bytes, *, model: str, quirks: Quirks) -> Written | Failure:
    """The body for a provider of this dialect: its own name of the model and named quirks, nothing else.

    Raises ValueError for a body that is no JSON object.
    """
    value = json_text.parse(body)
    if type(value) is not dict:
        raise ValueError("it is not an object")
    request = cast("dict[str, Any]", value)
    request["model"] = model
    return flavour.apply(request, quirks)


def read_request(body: dict[str, Any]) -> EmbeddingRequest | Failure:
    """The canonical form of a body that `check` has passed.

    Tokens are those of OpenAI's tokenizer: no other model can read them, so they are refused.
    """
    value: object = body["input"]
    texts: list[Any] = [value] if type(value) is str else cast("list[Any]", value)
    if type(texts[0]) is not str:
        return refused(
            "input", "This model can't read tokens of another model's tokenizer: send the input as text."
        )
    return EmbeddingRequest(
        texts=texts,
        dimensions=body.get("dimensions"),
        encoding="base64" if body.get("encoding_format") == "base64" else "float",
        user=body.get("user"),
        dropped=[name for name, value in body.items() if name not in _KNOWN and value is not None],
    )


def none_at(provider: str) -> Failure:
    """The Failure of a request to a provider that has no embeddings, such as Anthropic."""
    return Failure(
        kind="bad_request",
        message=f"{provider} offers no embeddings: choose a model of another provider.",
        status=400,
        provider=provider,
        code="embeddings_unsupported",
        param="model",
    )
