"""What closes a target to a request. Gates come before any strategy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Final

from keyrail.contracts.config import Abilities, ConfigView
from keyrail.contracts.routing import Gate
from keyrail.contracts.slips import Facts, Target
from keyrail.pricing import listing
from keyrail.routing import costs
from keyrail.routing.choice import Scored
from keyrail.routing.prediction import Prediction
from keyrail.routing.world import Asked, KeysOut, World, name_of

PASSING: Final[frozenset[Gate]] = frozenset({"breaker", "limits", "keys"})
"""Those that open again by themselves."""
SURE: Final = 2
"""A prompt has at least one token for each so many that are estimated: only then is a window surely too
small."""
_WINDOWLESS: Final = frozenset({"openai-embeddings"})  # many texts, each with a window of its own


@dataclass(slots=True, eq=False)
class Option:
    """A target of a route as one decision sees it. `until_ms`: when its gate opens, None: nobody knows."""

    target: Target
    weight: int = 1
    abilities: Abilities = field(default_factory=Abilities)
    name: str = ""
    gate: Gate | None = None
    until_ms: int | None = None
    keys: KeysOut | None = None
    share: float = 1.0
    cost: Decimal | None = None
    latency: Prediction | None = None
    scored: Scored | None = None

    @property
    def open(self) -> bool:
        """Whether no gate is closed."""
        return self.gate is None


def option(target: Target, weight: int = 1, declared: Abilities | None = None) -> Option:
    """With what the catalogue knows where nothing is declared."""
    return Option(target, weight, abilities(target, declared), name_of(target))


def abilities(target: Target, declared: Abilities | None) -> Abilities:
    """What is known of a target."""
    if declared is not None and declared.window is not None:
        return declared
    return _listed(target.provider, target.model, declared or Abilities())


@lru_cache(maxsize=4_096)
def _listed(provider: str, model: str, declared: Abilities) -> Abilities:
    window = listing.context_window(provider, model)
    return declared.replace(window=window) if window is not None else declared


def close(options: Sequence[Option], view: ConfigView, asked: Asked, world: World, now_ms: int) -> None:
    """Set the gate of each: the first that is closed, lasting ones before those that pass."""
    tenant = view.tenants.get(asked.tenant)
    providers = tenant.providers if tenant is not None else ()
    for each in options:
        if each.target.provider not in view.providers:
            each.gate = "unconfigured"
        elif providers and each.target.provider not in providers:
            each.gate = "residency"
        else:
            each.gate = unable(each.abilities, asked.facts)
        if each.gate is None and asked.below_usd is not None:
            usd = costs.most(each.target, asked.facts, now_ms, view)
            each.gate = "budget" if usd is not None and usd >= asked.below_usd else None
        if each.gate is None:
            _passing(each, asked, world, now_ms)


def unable(known: Abilities, facts: Facts) -> Gate | None:
    """What the target can't do that the request needs."""
    if facts.tools and known.tools is False:
        return "tools"
    if facts.images and known.vision is False:
        return "vision"
    if facts.json_schema and known.json_schema is False:
        return "json_schema"
    if known.window is not None and needed(facts) > known.window:
        return "window"
    return None


def needed(facts: Facts) -> int:
    """Tokens of prompt and answer, as estimated. Where the answer has no limit, of the prompt alone."""
    if facts.dialect in _WINDOWLESS or facts.operation != "generate":
        return 0
    return facts.input_tokens_estimate + (facts.max_output_tokens or 0)


def surely_too_small(window: int, facts: Facts) -> bool:
    """Whether the prompt does not fit, however it is counted."""
    return facts.input_tokens_estimate // SURE > window


def _passing(each: Option, asked: Asked, world: World, now_ms: int) -> None:
    target = each.target
    each.share = world.share(target, now_ms)
    if (keys := world.keys_out(asked.tenant, target, now_ms)) is not None:
        each.gate, each.until_ms, each.keys = "keys", keys.until_ms, keys
    elif each.share <= 0:
        each.gate, each.until_ms = "breaker", world.until_ms(target, now_ms)
    elif (until := world.limited_until_ms(asked.tenant, target, asked.facts, now_ms)) is not None:
        each.gate, each.until_ms = "limits", until
