"""What attempts would have cost at another model, or under other terms, from what they used alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from keyrail.contracts.base import Json
from keyrail.contracts.config import ConfigView, ProviderConfig
from keyrail.contracts.repricing import WhatIfQuery
from keyrail.contracts.slips import Target
from keyrail.contracts.usage import Usage
from keyrail.pricing import cost, listing
from keyrail_cost_accounting.vectors import Attempt

_ZERO = Decimal(0)


@dataclass(slots=True)
class Sums:
    """Of one model that did answer. Money is of attempts whose costs are all known: the `compared` ones."""

    attempts: int = 0
    compared: int = 0
    unknown_actual: int = 0
    unknown_what_if: int = 0
    estimated: int = 0
    searches: int = 0
    too_long: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    actual_usd: Decimal = _ZERO
    what_if_usd: Decimal = _ZERO
    no_cache_usd: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where the traffic goes: `model` None, each to its own. `providers` has the terms."""

    model: Target | None
    providers: dict[str, ProviderConfig]
    revision: int
    at_ms: int | None = None

    def costs(self, attempt: Attempt) -> tuple[Decimal | None, Decimal | None]:
        """With the cache as it was, and without any."""
        target = self.model or Target(provider=attempt.provider, model=attempt.model)
        usage = carried(attempt, target)
        return self._cost(attempt, target, usage), self._cost(attempt, target, uncached(usage))

    def _cost(self, attempt: Attempt, target: Target, usage: Usage) -> Decimal | None:
        at_ms = attempt.started_ms if self.at_ms is None else self.at_ms
        terms = self.providers.get(target.provider)
        return cost.price(target.provider, target.model, usage, at_ms, terms, self.revision).cost_usd


def elsewhere(query: WhatIfQuery, view: ConfigView) -> Elsewhere:
    """What is asked for, under `view` where the question brings no terms of its own."""
    providers = view.providers if query.terms is None else query.terms
    return Elsewhere(query.model, providers, view.revision, query.at_ms)


def carried(attempt: Attempt, target: Target) -> Usage:
    """What an attempt's usage means at another model.

    A figure that the provider reported is of its own model, tiers and regions are its own words, and what
    it takes for a search another one does not.
    """
    usage = attempt.usage
    if target.provider != attempt.provider:
        return usage.replace(raw=None, served_tier=None, region=None, searches=None)
    return usage if target.model == attempt.model else usage.replace(raw=None)


def uncached(usage: Usage) -> Usage:
    """The same tokens, nothing read from a cache and nothing written to one."""
    return usage.replace(
        cache_read_tokens=None, cache_write_tokens=None, cache_write_1h_tokens=None, raw=None
    )


def sums(attempts: Iterable[Attempt], to: Elsewhere) -> dict[tuple[str, str], Sums]:
    """By provider and model that did answer."""
    found: dict[tuple[str, str], Sums] = {}
    for attempt in attempts:
        its = found.setdefault((attempt.provider, attempt.model), Sums())
        _count(its, attempt, to)
        actual, (what_if, no_cache) = attempt.price.cost_usd, to.costs(attempt)
        its.unknown_actual += actual is None
        its.unknown_what_if += what_if is None or no_cache is None
        if actual is not None and what_if is not None and no_cache is not None:
            its.compared += 1
            its.actual_usd += actual
            its.what_if_usd += what_if
            its.no_cache_usd += no_cache
    return found


def _count(its: Sums, attempt: Attempt, to: Elsewhere) -> None:
    usage = attempt.usage
    its.attempts += 1
    its.estimated += usage.estimated
    its.input_tokens += usage.input_tokens or 0
    its.output_tokens += usage.output_tokens or 0
    if to.model is not None:
        its.searches += bool(usage.searches) and to.model.provider != attempt.provider
        window = listing.context_window(to.model.provider, to.model.model)
        its.too_long += window is not None and (usage.input_tokens or 0) > window


def rows(found: dict[tuple[str, str], Sums]) -> list[dict[str, Json]]:
    """As WhatIfQuery says."""
    return [
        {
            "provider": provider,
            "model": model,
            "attempts": its.attempts,
            "compared": its.compared,
            "unknown_actual": its.unknown_actual,
            "unknown_what_if": its.unknown_what_if,
            "estimated": its.estimated,
            "input_tokens": its.input_tokens,
            "output_tokens": its.output_tokens,
            "actual_usd": format(its.actual_usd, "f"),
            "what_if_usd": format(its.what_if_usd, "f"),
            "no_cache_usd": format(its.no_cache_usd, "f"),
            "searches": its.searches,
            "too_long": its.too_long,
        }
        for (provider, model), its in found.items()
    ]
