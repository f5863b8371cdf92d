"""All providers there are: a module of this package with a PROVIDER is one."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from typing import cast, get_args

from keyrail import providers
from keyrail.contracts.slips import Dialect
from keyrail.providers.base import Provider


def load() -> dict[str, Provider]:
    """The built-in providers by name."""
    found: dict[str, Provider] = {}
    for module in pkgutil.iter_modules(providers.__path__):
        provider = getattr(importlib.import_module(f"{providers.__name__}.{module.name}"), "PROVIDER", None)
        if isinstance(provider, Provider):
            found[provider.name] = provider
    return found


def declared(name: str, base_url: str, dialect: str = "openai-chat", *, needs_key: bool = True) -> Provider:
    """A provider that the configuration declares. One that is built in keeps its quirks, env and models.

    Raises ValueError for a name, URL or dialect that can't be used.
    """
    if dialect not in get_args(Dialect):
        raise ValueError(
            f"the provider {name} speaks {dialect!r}, which is none of {', '.join(get_args(Dialect))}"
        )
    spoken = cast(Dialect, dialect)
    if not base_url:
        raise ValueError(f"the provider {name} needs a base URL")
    base_url = base_url.rstrip("/")
    built_in = load().get(name)
    if built_in is None:
        return Provider(name=name, base_url=base_url, dialect=spoken, needs_key=needs_key)
    return replace(built_in, base_url=base_url, dialect=spoken, needs_key=needs_key)
