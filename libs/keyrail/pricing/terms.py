"""What the operator agreed with a provider: prices of its own, or changes to the catalogue's."""

from __future__ import annotations

from decimal import Decimal

from keyrail.contracts.config import ModelPrice, ProviderConfig

_ONE = Decimal(1)


def in_force(terms: ProviderConfig | None, model: str, at_ms: int) -> ModelPrice | None:
    """The operator's price of the model at that time; None: the catalogue's counts."""
    if terms is None or not terms.prices:
        return None
    prices = terms.prices
    for name in (model, "*"):
        given = prices.get(name)
        if given is not None and (price := _at(given, at_ms)) is not None:
            return price
    return None


def _at(given: ModelPrice, at_ms: int) -> ModelPrice | None:
    for later in reversed(given.later):
        if later.since_ms <= at_ms:
            return later
    return given if given.since_ms <= at_ms else None


def starts(terms: ProviderConfig | None, model: str, after_ms: int, before_ms: int) -> tuple[int, ...]:
    """When, between these times, another price of the operator's comes into force for the model."""
    if terms is None or not terms.prices:
        return ()
    given = [terms.prices[name] for name in (model, "*") if name in terms.prices]
    since = {each.since_ms for first in given for each in (first, *first.later)}
    return tuple(sorted(at for at in since if after_ms < at < before_ms))


def adjustment(
    discount: Decimal | None, multipliers: dict[str, Decimal], tier: str | None, region: str | None
) -> tuple[Decimal, str | None, str | None]:
    """What a list price is multiplied by, and the tier and region whose list price that is.

    A multiplier for the tier or region stands in place of the list's own, so it applies to the standard rate.
    """
    factor = _ONE if discount is None else _ONE - discount
    if tier is not None and (given := multipliers.get(f"tier:{tier}")) is not None:
        factor, tier = factor * given, None
    if region is not None and (given := multipliers.get(f"region:{region}")) is not None:
        factor, region = factor * given, None
    if (given := multipliers.get("*")) is not None:
        factor *= given
    return factor, tier, region
