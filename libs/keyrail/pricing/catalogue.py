"""What genai-prices knows: which providers, which models, and what each counts for at a given time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    PriceCalculation,
    TieredPrices,
    TimeOfDateConstraint,
)

VERSION = genai_prices.__version__
DAY_MS = 86_400_000

_THEIR_NAME = {"gemini": "google", "xai": "x-ai"}
_NO_CONTEXT: frozenset[str] = frozenset({"default", "standard", "auto", "on_demand"})
_SAME_RATE: dict[str, frozenset[str]] = {"groq": frozenset({"flex"})}  # on-demand rates, other limits


def load() -> None:
    """Read the price data now: the first use would otherwise hold everything up for 0.2 to 2 s."""
    _snapshot_models()


def catalogue_id(provider: str) -> str | None:
    """The catalogue's name of a provider, None when it has none. Never a look-alike."""
    name = _THEIR_NAME.get(provider, provider)
    return name if name in _snapshot_models() else None


def models(provider: str) -> list[str]:
    """Names of the provider's models, sorted; empty for a provider that the catalogue does not have."""
    name = catalogue_id(provider)
    return [] if name is None else sorted(_snapshot_models()[name])


@cache
def _snapshot_models() -> dict[str, tuple[str, ...]]:
    return {entry.id: tuple(model.id for model in entry.models) for entry in get_snapshot().providers}


def calculate(
    provider: str, model: str, tier: str | None, counts: dict[str, int], at_ms: int
) -> PriceCalculation | None:
    """The library's own answer; None when it does not know the model or tier, or the counts conflict."""
    name = catalogue_id(provider)
    if name is None:
        return None
    context = None
    if tier is not None and tier not in _NO_CONTEXT and tier not in _SAME_RATE.get(provider, ()):
        context = {"service_tier": tier}
    try:
        result = genai_prices.calc_price(
            genai_prices.Usage(**counts),
            model,
            provider_id=name,
            genai_request_timestamp=datetime.fromtimestamp(at_ms / 1000, UTC),
            price_context=context,
        )
    except (LookupError, ValueError):
        return None
    # The library falls back to the standard rate for a tier that it has no rate for.
    return None if context is not None and not _has_variant(result.model, context) else result


def _has_variant(model: ModelInfo, context: dict[str, str]) -> bool:
    return any(variant.when == context for variant in model.price_variants or ())


def changes_on_a_day(model: ModelInfo) -> tuple[int, ...]:
    """When another price may begin, in milliseconds since midnight UTC; empty: it changes at midnight at
    most."""
    conditional: list[ConditionalPrice] = model.prices if isinstance(model.prices, list) else []
    constraints = [price.constraint for price in conditional]
    constraints += [variant.constraint for variant in model.price_variants or ()]
    daily = [each for each in constraints if isinstance(each, TimeOfDateConstraint)]
    return tuple(sorted({_offset_ms(at) for each in daily for at in (each.start_time, each.end_time)}))


def _offset_ms(at: time) -> int:
    utc = datetime.combine(date(2000, 1, 2), at, at.tzinfo or UTC).astimezone(UTC)
    return (utc.hour * 3_600 + utc.minute * 60 + utc.second) * 1_000 + utc.microsecond // 1_000


def rates_of(result: PriceCalculation) -> dict[str, object]:
    """Price key to Decimal or TieredPrices, as the catalogue names them, per `PER` units each."""
    return {key: value for key, value in vars(result.model_price).items() if value is not None}


def rate(price: object, above: int) -> Decimal | None:
    """What a token costs in a prompt of more than `above` tokens, before the next bracket."""
    if isinstance(price, TieredPrices):
        reached = [tier.price for tier in price.tiers if tier.start <= above]
        price = reached[-1] if reached else price.base
    return price / PER if isinstance(price, Decimal) else None


PER = Decimal(1_000_000)
