"""What a model's name means: a route, an alias, `provider/model`, or a bare name that one provider owns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Target
from keyrail.routing.refusals import missing

MAX_ALIASES = 8


@dataclass(frozen=True, slots=True)
class Direct:
    """One target, asked for by its name or by an alias."""

    target: Target
    strategy: Literal["direct", "alias"]
    reason: str


def meaning(
    view: ConfigView, asked: str, owner: Callable[[str], str | None]
) -> RouteConfig | Direct | Failure:
    """In the order above. `owner` knows who owns a bare name."""
    name, strategy = asked, "direct"
    for _ in range(MAX_ALIASES):
        if name in view.routes or name not in view.aliases:
            break
        name, strategy = view.aliases[name], "alias"
    if (route := view.routes.get(name)) is not None:
        return route
    provider, slash, model = name.partition("/")
    if not slash:
        return _owned(view, name, asked, owner)
    if provider not in view.providers:
        return missing(asked, f"there is no provider {provider!r}")
    if not model:
        return missing(asked, "the name ends after the provider")
    target = Target(provider=provider, model=model)
    return Direct(target, "alias" if strategy == "alias" else "direct", f"{provider}/{model} was asked for")


def _owned(view: ConfigView, name: str, asked: str, owner: Callable[[str], str | None]) -> Direct | Failure:
    provider = owner(name)
    if provider is None:
        return missing(asked, "no route, alias or provider has this name; use 'provider/model'")
    if provider not in view.providers:
        return missing(asked, f"it belongs to {provider!r}, which is not configured here")
    target = Target(provider=provider, model=name)
    return Direct(target, "direct", f"the name {name} belongs to {provider}")
