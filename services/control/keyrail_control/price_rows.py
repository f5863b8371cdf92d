"""Prices as the API lists them. Pure. Money is a string of US dollars per million tokens (searches: per
thousand)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from keyrail.contracts.base import Json
from keyrail.contracts.config import ConfigView
from keyrail.pricing import catalogue, listing
from keyrail.pricing.listing import RATES, Dated, Rates

Row = dict[str, Json]
Model = tuple[str, str]
"""Provider, and its own name of the model."""
ANY_MODEL = "*"


def named(view: ConfigView) -> list[Model]:
    """Models that the configuration names: what routes and aliases lead to, and what has a price."""
    found: dict[Model, None] = {}
    for route in view.routes.values():
        found |= {(each.target.provider, each.target.model): None for each in route.targets}
        if route.reference is not None:
            found[(route.reference.provider, route.reference.model)] = None
    for end in view.aliases.values():
        provider, slash, model = end.partition("/")
        if slash:
            found[(provider, model)] = None
    for provider in view.providers.values():
        found |= {(provider.name, model): None for model in provider.prices}
    return list(found)


def in_force(models: Iterable[Model], view: ConfigView, at_ms: int) -> list[Row]:
    """A row for each, by name; `source` null: nobody knows its price."""
    return [_listed(provider, model, view, at_ms) for provider, model in models]


def _listed(provider: str, model: str, view: ConfigView, at_ms: int) -> Row:
    found = listing.in_force(provider, model, at_ms, view.providers.get(provider), view.revision)
    row: Row = {"provider": provider, "model": model}
    if found is None:
        return row | {"source": None, "version": None, **dict.fromkeys(RATES), "tiers": []}
    tiers: list[Json] = [{"above_tokens": start, **_texts(rates)} for start, rates in found.tiers]
    known: Row = {"source": found.source, "version": found.version, **_texts(found.rates), "tiers": tiers}
    return row | known


def dated(provider: str, model: str) -> list[Row]:
    """What the catalogue knows of the model's prices by date."""
    return [_dated(each) for each in listing.dated(provider, model)]


def _dated(each: Dated) -> Row:
    return {
        "source": "catalogue",
        "version": catalogue.VERSION,
        "since": each.since,
        "hours": each.daily,
        **_texts(each.rates),
    }


def _texts(rates: Rates) -> Row:
    return {name: _text(rates.get(name)) for name in RATES}


def _text(rate: Decimal | None) -> str | None:
    return None if rate is None else format(rate, "f")
