"""All providers there are: a module of this package with a PROVIDER is one."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from keyrail import providers
from keyrail.contracts.config import ProviderConfig
from keyrail.providers.base import Provider


@cache
def load() -> dict[str, Provider]:
    """The built-in providers by name. Not to be changed."""
    found: dict[str, Provider] = {}
    for module in pkgutil.iter_modules(providers.__path__):
        provider = getattr(importlib.import_module(f"{providers.__name__}.{module.name}"), "PROVIDER", None)
        if isinstance(provider, Provider):
            found[provider.name] = provider
    return found


def configs() -> dict[str, ProviderConfig]:
    """The built-in providers as the configuration has them."""
    return {name: provider.config() for name, provider in load().items()}
