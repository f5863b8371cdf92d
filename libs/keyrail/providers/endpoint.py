"""Where and with which headers a provider is asked."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urljoin

from keyrail.contracts.config import ProviderConfig
from keyrail.contracts.slips import Dialect, Operation

ANTHROPIC_VERSION: Final = "2023-06-01"
PASSED: Final = ("anthropic-version", "anthropic-beta")
"""Headers of a client that reach a provider of the client's own dialect as they came."""

_PATHS: Final[dict[Dialect, str]] = {
    "openai-chat": "/chat/completions",
    "openai-responses": "/responses",
    "openai-embeddings": "/embeddings",
    "anthropic-messages": "/v1/messages",
}
_GEMINI: Final = {
    ("generate", False): ":generateContent",
    ("generate", True): ":streamGenerateContent?alt=sse",
    ("count_tokens", False): ":countTokens",
}


def url(
    config: ProviderConfig,
    dialect: Dialect,
    model: str,
    *,
    stream: bool = False,
    operation: Operation = "generate",
) -> str:
    """The address for this model in this dialect. Only the configuration and the model decide on it."""
    if config.dialect == "gemini-generate":
        # A model's name can hold a slash (tunedModels/x), but must not become another path.
        name = quote(model.removeprefix("models/"), safe="")
        verb = ":batchEmbedContents" if dialect == "openai-embeddings" else _GEMINI[operation, stream]
        return f"{config.base_url}/models/{name}{verb}"
    path = _PATHS[dialect]
    if config.base_url.endswith("/v1"):
        path = path.removeprefix("/v1")
    return f"{config.base_url}{path}{'/count_tokens' if operation == 'count_tokens' else ''}"


def models(config: ProviderConfig) -> str:
    """Where a GET shows whether a key is good and costs nothing: the provider's list of models, mostly."""
    if config.key_path is not None:
        return urljoin(f"{config.base_url}/", config.key_path)
    path = "/v1/models" if config.dialect == "anthropic-messages" else "/models"
    return config.base_url + (path.removeprefix("/v1") if config.base_url.endswith("/v1") else path)


def spoken(config: ProviderConfig, client: Dialect) -> Dialect:
    """The dialect to ask in: the client's own where the provider takes it."""
    return client if client in config.speaks else config.dialect


def headers(config: ProviderConfig, dialect: Dialect, key: str | None) -> dict[str, str]:
    """Headers that carry the key, and what the dialect itself requires."""
    found = {} if key is None else {_header(config): f"Bearer {key}" if config.auth == "bearer" else key}
    if dialect == "anthropic-messages":
        found["anthropic-version"] = ANTHROPIC_VERSION
    return found


def _header(config: ProviderConfig) -> str:
    return "authorization" if config.auth == "bearer" else config.auth
