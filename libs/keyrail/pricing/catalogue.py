"""What is known of list prices: genai-prices, with what it lacks and a provider documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    TieredPrices,
    TimeOfDateConstraint,
)

from keyrail.pricing import additions

VERSION = genai_prices.__version__
DAY_MS = 86_400_000
PER = Decimal(1_000_000)
APPROXIMATE = "~"

_THEIR_NAME = {"gemini": "google", "xai": "x-ai"}
_NO_CONTEXT: frozenset[str] = frozenset({"default", "standard", "standard_only", "auto", "on_demand"})
_SAME_RATE: dict[str, frozenset[str]] = {
    "groq": frozenset({"flex"}),  # on-demand rates, other limits
    "openrouter": frozenset({"provisioned"}),  # how some of those it resells name what they bill as usual
}
# OpenRouter's suffixes that say how to route, or add a search; others (`free`, `batch`) are another price.
_SAME_MODEL = frozenset({"nitro", "floor", "online", "exacto", "beta", "thinking"})


@dataclass(frozen=True, slots=True)
class Known:
    """A model's prices at a time, for a tier and region.

    `ours`: all of it rests on our own multipliers; `our_long_writes`, `our_audio`: these rates are our own.
    """

    model: ModelInfo
    prices: ModelPrice
    ours: bool = False
    our_long_writes: bool = False
    our_audio: bool = False
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class Calculated:
    """What certain counts cost. `model_price`: the prices that made it."""

    total_price: Decimal
    model: ModelInfo
    model_price: ModelPrice


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


def find(provider: str, model: str, tier: str | None, at_ms: int, region: str | None = None) -> Known | None:
    """The prices then, tier and region in small letters; None where the model or the tier has none."""
    found = _model(provider, model)
    if found is None:
        return None
    holder, entry, stripped = found
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    context = _context(provider, tier)
    own = any(entry is each for each in holder.models)  # else another provider's, resold
    multiplier = None
    if context is not None and not (own and _has_variant(entry, context, at)):
        # The library would fall back to the standard rate.
        multiplier = additions.of_tier(provider, tier) if own and tier is not None else None
        if multiplier is None:
            return None
        context = None
    prices = entry.get_prices(at, context)
    if multiplier is not None:
        prices = additions.times(prices, multiplier.factor)
    factor = additions.of_region(provider, entry.id, region) if own and region is not None else None
    if factor is not None:
        prices = additions.times(prices, factor)
    audio = additions.audio(provider, entry.id, model) if own else {}
    long_write = additions.long_write(provider, prices) if own else {}
    if audio or long_write:
        prices = ModelPrice(**(vars(prices) | audio | long_write))
    return Known(
        model=entry,
        prices=prices,
        ours=multiplier is not None or factor is not None,
        our_long_writes=bool(long_write),
        our_audio=bool(audio),
        approximate=stripped or (multiplier is not None and multiplier.approximate),
    )


def _model(provider: str, model: str) -> tuple[Provider, ModelInfo, bool] | None:
    """Whose it is, what it is, and whether a suffix that only says how to route had to be left out."""
    name = catalogue_id(provider)
    if name is None:
        return None
    snapshot = get_snapshot()
    try:
        return *snapshot.find_provider_model(model, None, name, None), False
    except LookupError:
        base, _, suffix = model.rpartition(":")
        if provider != "openrouter" or not base or suffix.lower() not in _SAME_MODEL:
            return None
    try:
        return *snapshot.find_provider_model(base, None, name, None), True
    except LookupError:
        return None


def _context(provider: str, tier: str | None) -> dict[str, str] | None:
    if tier is None or tier in _NO_CONTEXT or tier in _SAME_RATE.get(provider, ()):
        return None
    if tier == "batch":
        return {"processing": tier}
    if tier == "fast" and provider == "anthropic":
        return {"speed": tier}
    return {"service_tier": tier}


def _has_variant(model: ModelInfo, context: dict[str, str], at: datetime) -> bool:
    return any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )


def total(known: Known, counts: dict[str, int]) -> Decimal | None:
    """What these counts cost, by the library's names and reckoning; None when they contradict each other."""
    try:
        return known.prices.calc_price(genai_prices.Usage(**counts))["total_price"]
    except ValueError:
        return None


def calculate(
    provider: str, model: str, tier: str | None, counts: dict[str, int], at_ms: int, region: str | None = None
) -> Calculated | None:
    """What counts cost; None when model or tier is not known, or the counts contradict each other."""
    known = find(provider, model, tier, at_ms, region)
    cost = None if known is None else total(known, counts)
    return None if known is None or cost is None else Calculated(cost, known.model, known.prices)


def version(*, ours: bool, approximate: bool) -> str:
    """What a price says that it was made of: the list, our additions to it, and whether it is only near."""
    return f"{VERSION}{f'+{additions.VERSION}' if ours else ''}{APPROXIMATE if approximate else ''}"


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


def rates_of(result: Calculated | Known) -> dict[str, Decimal | TieredPrices]:
    """Price key to rate, as the catalogue names them, per million units each (searches: per thousand)."""
    prices = result.prices if isinstance(result, Known) else result.model_price
    return {key: value for key, value in vars(prices).items() if value is not None}


def rate(price: object, above: int) -> Decimal | None:
    """What a token costs in a prompt of more than `above` tokens, before the next bracket."""
    if isinstance(price, TieredPrices):
        reached = [tier.price for tier in price.tiers if tier.start <= above]
        price = reached[-1] if reached else price.base
    return price / PER if isinstance(price, Decimal) else None
