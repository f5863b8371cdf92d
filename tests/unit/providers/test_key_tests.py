"""Where a provider is asked whether a key is good."""

from __future__ import annotations

import pytest

from keyrail.contracts.config import ProviderConfig
from keyrail.providers import endpoint, registry

WHERE = {
    "openai": "https://api.openai.com/v1/models",
    "anthropic": "https://api.anthropic.com/v1/models",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/models",
    "groq": "https://api.groq.com/openai/v1/models",
    "cerebras": "https://api.cerebras.ai/v1/models",
    "deepinfra": "https://api.deepinfra.com/v1/me/rate_limit",
    "mistral": "https://api.mistral.ai/v1/models",
    "xai": "https://api.x.ai/v1/models",
    "openrouter": "https://openrouter.ai/api/v1/key",
}


@pytest.mark.parametrize(("name", "where"), WHERE.items())
def test_every_provider_has_a_place_where_a_key_is_shown_to_be_good(name: str, where: str) -> None:
    assert endpoint.models(registry.configs()[name]) == where


def test_no_provider_was_forgotten() -> None:
    assert WHERE.keys() | {"sandbox"} == registry.load().keys()


def test_a_declared_provider_of_anthropics_dialect_may_have_its_version_in_the_url() -> None:
    config = ProviderConfig(name="x", dialect="anthropic-messages", base_url="http://127.0.0.1:1/v1")
    assert endpoint.models(config) == "http://127.0.0.1:1/v1/models"
