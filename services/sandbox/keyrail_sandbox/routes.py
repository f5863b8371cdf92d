"""Which path speaks which dialect, under whatever base URL the sandbox is asked. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qs

from keyrail_sandbox import (
    anthropic_messages,
    gemini_generate,
    openai_chat,
    openai_embeddings,
    openai_responses,
)
from keyrail_sandbox.ask import NOWHERE, Came
from keyrail_sandbox.dialect import Dialect

DIALECTS: dict[str, Dialect] = {
    "chat/completions": openai_chat.CHAT,
    "responses": openai_responses.RESPONSES,
    "embeddings": openai_embeddings.EMBEDDINGS,
    "messages": anthropic_messages.MESSAGES,
    "messages/count_tokens": anthropic_messages.COUNT_TOKENS,
}
"""The end of a path, and the dialect that is spoken there."""

MODEL_METHODS: dict[str, Dialect] = {
    "generateContent": gemini_generate.GENERATE,
    "streamGenerateContent": gemini_generate.GENERATE,
    "countTokens": gemini_generate.COUNT_TOKENS,
    "embedContent": gemini_generate.EMBED,
    "batchEmbedContents": gemini_generate.BATCH_EMBED,
}
"""The same for what comes after a model's name and a colon."""

_IN_BASE_URLS = frozenset({"v1", "v1beta", "v1alpha", "api", "openai", "anthropic", "gemini", "google"})
_GOOGLES = ("v1beta", "v1alpha", "gemini", "google")


@dataclass(frozen=True, slots=True)
class Route:
    """`came` is what the path and the query say of the request."""

    dialect: Dialect
    came: Came = NOWHERE


@lru_cache(maxsize=4096)
def route(path: str, query: bytes) -> Route | None:
    """Where a POST goes: version prefixes and names of providers at the path's beginning do not matter."""
    rest = _without_base(path)
    if (dialect := DIALECTS.get(rest)) is not None:
        return Route(dialect)
    model, colon, method = rest.removeprefix("models/").rpartition(":")
    if not colon or not rest.startswith("models/") or method not in MODEL_METHODS:
        return None
    streamed = method == "streamGenerateContent"
    sse = parse_qs(query.decode("latin-1")).get("alt") == ["sse"]
    return Route(MODEL_METHODS[method], Came(model=model, stream=streamed, sse=sse))


def lists_models(path: str) -> bool:
    """Whether a GET asks for the models."""
    return _without_base(path) == "models"


def is_googles(path: str) -> bool:
    """Whether the path names Google's API."""
    return any(segment in _GOOGLES for segment in path.split("/"))


def _without_base(path: str) -> str:
    segments = path.strip("/").split("/")
    while segments and segments[0] in _IN_BASE_URLS:
        segments.pop(0)
    return "/".join(segments)
