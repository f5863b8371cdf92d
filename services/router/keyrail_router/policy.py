"""Which targets serve a request, and in which order. Pure: no I/O, no clock; the draw is an argument."""

from __future__ import annotations

from collections.abc import Callable

from keyrail.config.allowed import allows, allows_targets
from keyrail.contracts.config import ConfigView, RouteConfig, WeightedTarget
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts, Plan, Slip, Strategy, Target
from keyrail_router import racing

MAX_ALIASES = 8
FIXED: frozenset[Strategy] = frozenset({"direct", "alias", "fallback"})
"""Strategies whose plan follows from the configuration and the model's name, whatever is drawn."""

Owner = Callable[[str], str | None]


def decide(view: ConfigView, facts: Facts, owner: Owner, draw: float) -> Plan | Failure:
    """The plan for what the client asked. `draw` is uniform in [0, 1); `owner` knows who owns a bare name.

    Order of meaning: a route's name, an alias, `provider/model`, a bare name that some provider owns.
    """
    asked, name, strategy = facts.model, facts.model, "direct"
    for _ in range(MAX_ALIASES):
        if name in view.routes or name not in view.aliases:
            break
        name, strategy = view.aliases[name], "alias"
    if (route := view.routes.get(name)) is not None:
        return _route(view, route, asked, draw)
    provider, slash, model = name.partition("/")
    if not slash:
        return _owned(view, name, asked, owner)
    if provider not in view.providers:
        return _missing(asked, f"there is no provider {provider!r}")
    if not model:
        return _missing(asked, "the name ends after the provider")
    return _direct(view, Target(provider=provider, model=model), "alias" if strategy == "alias" else "direct")


def allowed(plan: Plan, slip: Slip) -> Plan | Failure:
    """The plan, where the virtual key may ask for this: by its name, its route's, or all it leads to."""
    name = slip.facts.model
    names = (name,) if plan.route in (None, name) else (name, plan.route)
    if any(allows(slip.models, each) for each in names) or allows_targets(slip.models, plan.targets):
        return plan
    return Failure(
        kind="denied",
        message=f"This key may not ask for the model {name!r}.",
        status=403,
        code="model_not_allowed",
        param="model",
    )


def _direct(view: ConfigView, target: Target, strategy: Strategy, reason: str = "") -> Plan:
    return Plan(
        strategy=strategy,
        targets=(target,),
        reason=reason or f"{target.provider}/{target.model} was asked for",
        revision=view.revision,
    )


def _owned(view: ConfigView, name: str, asked: str, owner: Owner) -> Plan | Failure:
    provider = owner(name)
    if provider is None:
        return _missing(asked, "no route, alias or provider has this name; use 'provider/model'")
    if provider not in view.providers:
        return _missing(asked, f"it belongs to {provider!r}, which is not configured here")
    reason = f"the name {name} belongs to {provider}"
    return _direct(view, Target(provider=provider, model=name), "direct", reason)


def _route(view: ConfigView, route: RouteConfig, asked: str, draw: float) -> Plan | Failure:
    targets = route.targets if route.strategy != "weighted" else _drawn(route.targets, draw)
    known = tuple(t.target for t in targets if t.target.provider in view.providers)
    if not known:
        return _missing(asked, "no target of this route has a configured provider")
    return Plan(
        strategy=route.strategy,
        targets=known,
        route=route.name,
        reason=f"route {route.name}: {route.strategy}",
        revision=view.revision,
        timeouts=route.timeouts,
        reference=route.reference or route.targets[0].target,
        race=racing.of(route),
    )


def _drawn(targets: tuple[WeightedTarget, ...], draw: float) -> tuple[WeightedTarget, ...]:
    """The drawn target first, then the others by falling weight, as its fallbacks; weight 0 never serves."""
    live = [t for t in targets if t.weight > 0]
    left = draw * sum(t.weight for t in live)
    chosen = live[-1]
    for target in live:
        left -= target.weight
        if left < 0:
            chosen = target
            break
    rest = sorted((t for t in live if t is not chosen), key=lambda t: -t.weight)
    return (chosen, *rest)


def _missing(asked: str, why: str) -> Failure:
    return Failure(
        kind="model_missing",
        message=f"The model {asked!r} is not known here: {why}.",
        status=404,
        code="model_not_found",
        param="model",
    )
