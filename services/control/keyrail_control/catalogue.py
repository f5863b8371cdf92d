"""The complete configuration view: the file, the built-in providers and the models to list."""

from __future__ import annotations

from collections.abc import Collection

from keyrail.config import document
from keyrail.contracts.config import ConfigView
from keyrail.pricing import catalogue
from keyrail.providers import registry, sandbox


def view(text: str, filename: str, *, sandbox_url: str | None, with_key: Collection[str]) -> ConfigView:
    """Raises ConfigError with all problems of the file. `with_key`: providers that have a key stored."""
    builtins = registry.configs()
    builtins.pop(sandbox.PROVIDER.name, None)
    if sandbox_url is not None:
        builtins[sandbox.PROVIDER.name] = sandbox.PROVIDER.config(sandbox_url)
    parsed = document.parse(text, filename, builtins)
    return parsed.replace(models=_models(parsed, with_key))


def _models(view: ConfigView, with_key: Collection[str]) -> tuple[str, ...]:
    """Routes, aliases, what routes lead to, and what the catalogue knows of providers that can be called."""
    names: dict[str, None] = dict.fromkeys([*view.routes, *view.aliases])
    for route in view.routes.values():
        names.update(dict.fromkeys(f"{t.target.provider}/{t.target.model}" for t in route.targets))
    builtins = registry.load()
    for provider, config in view.providers.items():
        fixed = builtins[provider].models if provider in builtins else ()
        listed = catalogue.models(provider) if provider in with_key else []
        if provider in with_key or not config.needs_key:
            names.update(dict.fromkeys(f"{provider}/{model}" for model in (*fixed, *listed)))
    return tuple(names)
