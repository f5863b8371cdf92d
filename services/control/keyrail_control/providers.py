"""What `keyrail providers` lists: each provider, whether it can be called, and what it supports. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from keyrail.contracts.config import ConfigView, ProviderConfig
from keyrail.keys.base import KeyName
from keyrail.pricing import catalogue
from keyrail.providers.base import Provider

FACES: Final = ("chat", "responses", "messages", "count_tokens")
"""What any provider can be asked through: what it does not speak itself is translated."""

Row = dict[str, object]


def rows(
    view: ConfigView, builtins: Mapping[str, Provider], stored: Collection[KeyName], tenant: str
) -> list[Row]:
    """One row for each provider of the configuration, by name."""
    return [
        _row(
            config,
            builtins.get(name),
            sorted(k.id for k in stored if (k.tenant, k.provider) == (tenant, name)),
        )
        for name, config in sorted(view.providers.items())
    ]


def _row(config: ProviderConfig, builtin: Provider | None, keys: list[str]) -> Row:
    embeds = config.dialect == "gemini-generate" or "openai-embeddings" in config.speaks
    return {
        "provider": config.name,
        "key": "yes" if keys else "missing" if config.needs_key else "not needed",
        "keys": keys,
        "dialect": config.dialect,
        "native": [config.dialect, *config.speaks],
        "faces": [*FACES, "embeddings"] if embeds else [*FACES],
        "prices": _prices(config, builtin),
        "cancelled_stream": builtin.cancelled if builtin else "unknown",
        "base_url": config.base_url,
        "built_in": builtin is not None,
    }


def _prices(config: ProviderConfig, builtin: Provider | None) -> list[str]:
    """Where prices come from, in the order in which they count; empty: they are unknown."""
    found: list[str] = []
    if builtin is not None and builtin.reports_cost:
        found.append("provider")
    if config.prices:
        found.append("configured")
    if catalogue.catalogue_id(config.name) is not None:
        found.append("catalogue")
    return found or (["sandbox"] if builtin is not None and not builtin.needs_key else [])
