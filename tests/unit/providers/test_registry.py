"""Providers: one module each, found by themselves, and whose a bare model name is."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from keyrail import providers
from keyrail.contracts.config import ProviderConfig
from keyrail.contracts.slips import Dialect
from keyrail.pricing import catalogue
from keyrail.providers import endpoint, names, registry
from keyrail.providers.base import Provider

BUILT_IN = registry.load()
NOT_PROVIDERS = {"base", "endpoint", "names", "registry"}
NINE = {"openai", "anthropic", "gemini", "groq", "cerebras", "deepinfra", "mistral", "xai", "openrouter"}


def test_each_module_is_a_provider_of_its_own_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(providers.__path__)} - NOT_PROVIDERS
    assert modules == set(BUILT_IN) >= NINE | {"sandbox"}
    for name in modules:
        module = importlib.import_module(f"keyrail.providers.{name}")
        assert module.PROVIDER.name == name
        assert (module.__doc__ or "").strip()


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_provider_has_prices_or_fixed_models(name: str) -> None:
    provider = BUILT_IN[name]
    assert bool(provider.models) != bool(catalogue.models(name))
    assert provider.base_url.startswith("https://") or not provider.needs_key
    assert bool(provider.env) == provider.needs_key


@pytest.mark.parametrize("config", registry.configs().values(), ids=list(registry.configs()))
def test_the_key_travels_in_one_header_and_nowhere_else(config: ProviderConfig) -> None:
    sent = endpoint.headers(config, config.dialect, "the-key")
    assert [name for name, value in sent.items() if "the-key" in value] == [
        "authorization" if config.auth == "bearer" else config.auth
    ]
    assert "the-key" not in endpoint.url(config.replace(base_url="https://x"), config.dialect, "m")
    assert "the-key" not in str(endpoint.headers(config, config.dialect, None))


@pytest.mark.parametrize(
    ("provider", "client", "asked"),
    [
        ("openai", "openai-responses", "openai-responses"),
        ("openai", "anthropic-messages", "openai-chat"),
        ("anthropic", "openai-chat", "anthropic-messages"),
        ("openrouter", "anthropic-messages", "anthropic-messages"),
        ("gemini", "openai-responses", "gemini-generate"),
        ("mistral", "openai-responses", "openai-chat"),
    ],
)
def test_a_provider_is_asked_in_the_clients_dialect_where_it_takes_it(
    provider: str, client: Dialect, asked: Dialect
) -> None:
    assert endpoint.spoken(registry.configs()[provider], client) == asked


@pytest.mark.parametrize(
    ("base_url", "dialect", "url"),
    [
        ("https://api.openai.com/v1", "openai-chat", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1", "openai-embeddings", "https://api.openai.com/v1/embeddings"),
        ("https://api.anthropic.com", "anthropic-messages", "https://api.anthropic.com/v1/messages"),
        ("https://openrouter.ai/api/v1", "anthropic-messages", "https://openrouter.ai/api/v1/messages"),
        ("https://x/openai", "openai-responses", "https://x/openai/responses"),
    ],
)
def test_where_a_dialect_is_asked(base_url: str, dialect: Dialect, url: str) -> None:
    config = ProviderConfig(name="p", base_url=base_url, dialect=dialect)
    assert endpoint.url(config, dialect, "m") == url


def test_where_gemini_is_asked() -> None:
    config = registry.configs()["gemini"]
    at = config.base_url + "/models/"
    assert endpoint.url(config, "gemini-generate", "gemini-4-argon") == at + "gemini-4-argon:generateContent"
    assert (
        endpoint.url(config, "gemini-generate", "models/g", stream=True)
        == at + "g:streamGenerateContent?alt=sse"
    )
    assert endpoint.url(config, "openai-embeddings", "e") == at + "e:batchEmbedContents"
    assert endpoint.url(config, "gemini-generate", "g", operation="count_tokens") == at + "g:countTokens"


def test_a_models_name_is_no_path() -> None:
    config = registry.configs()["gemini"]
    wicked = endpoint.url(config, "gemini-generate", "../../x?key=1#")
    assert wicked == config.base_url + "/models/..%2F..%2Fx%3Fkey%3D1%23:generateContent"


def test_tokens_are_counted_where_messages_are_made() -> None:
    config = registry.configs()["anthropic"]
    url = endpoint.url(config, "anthropic-messages", "m", operation="count_tokens")
    assert url == "https://api.anthropic.com/v1/messages/count_tokens"


@pytest.mark.parametrize(
    ("name", "url"),
    [("My", "https://x"), ("a.b", "https://x"), ("", "https://x"), ("a", "ftp://x"), ("a", "x")],
)
def test_a_name_or_url_that_cannot_be_used_is_refused(name: str, url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Provider(name=name, base_url=url)


@pytest.mark.parametrize(
    ("model", "owner"),
    [
        ("gpt-5.4-mini", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("o4-mini-2025-04-16", "openai"),
        ("ft:gpt-4o:acme::x", "openai"),
        ("claude-sonnet-5-5", "anthropic"),
        ("gemini-4-argon", "gemini"),
        ("gemma-3-27b-it", "gemini"),
        ("mistral-large-4", "mistral"),
        ("open-mixtral-8x7b", "mistral"),
        ("codestral-latest", "mistral"),
        ("ministral-8b", "mistral"),
        ("magistral-small", "mistral"),
        ("pixtral-12b", "mistral"),
        ("grok-4.7", "xai"),
        ("gpt-oss-120b", None),
        ("o10", None),
        ("ollama", None),
        ("llama-3.3-70b-versatile", None),
        ("openai/gpt-5.4", None),
        ("echo", None),
        ("", None),
    ],
)
def test_a_bare_model_name_belongs_to_its_maker(model: str, owner: str | None) -> None:
    assert names.owner(model) == owner


def test_no_owner_is_stated_twice() -> None:
    assert not names.NOT_BUILT_IN.keys() & BUILT_IN.keys()
