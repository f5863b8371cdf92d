"""Providers: one module each, found by themselves, and whose a bare model name is."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from keyrail import providers
from keyrail.pricing import catalogue
from keyrail.providers import names, registry
from keyrail.providers.base import Provider, Quirks

BUILT_IN = registry.load()
NOT_PROVIDERS = {"base", "names", "registry"}


def test_each_module_is_a_provider_of_its_own_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(providers.__path__)} - NOT_PROVIDERS
    assert modules == set(BUILT_IN) == {"openai", "groq", "sandbox"}
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


def test_the_key_travels_in_one_header() -> None:
    assert BUILT_IN["openai"].headers("sk-1") == {"authorization": "Bearer sk-1"}
    assert BUILT_IN["sandbox"].headers(None) == {}


def test_a_declared_provider_is_like_a_built_in_one() -> None:
    mine = registry.declared("my-vllm", "http://10.0.0.5:8000/v1/", needs_key=False)
    assert mine == Provider(name="my-vllm", base_url="http://10.0.0.5:8000/v1", needs_key=False)


def test_declaring_a_built_in_provider_keeps_what_is_known_of_it() -> None:
    moved = registry.declared("groq", "https://proxy.example/groq")
    assert (moved.base_url, moved.quirks) == ("https://proxy.example/groq", Quirks(drop_message_nulls=True))
    assert moved.env == ("GROQ_API_KEY",)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("My", "https://x"),
        ("a.b", "https://x"),
        ("", "https://x"),
        ("a", ""),
        ("a", "ftp://x"),
        ("a", "x"),
        ("a", "http://"),
    ],
)
def test_a_name_or_url_that_cannot_be_used_is_refused(name: str, url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        registry.declared(name, url)


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


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ValueError, match="klingon"):
        registry.declared("a", "https://x", "klingon")


def test_no_owner_is_stated_twice() -> None:
    assert not names.NOT_BUILT_IN.keys() & BUILT_IN.keys()
