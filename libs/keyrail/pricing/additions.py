"""What providers document and the catalogue has no rate for: a small table of our own, with its own version.

From the providers' public price pages as known on 2026-11-23. A price that rests on it says so
(`+k1` in its version); the next change of the table is k2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from genai_prices.types import ModelPrice, Tier, TieredPrices

VERSION: Final = "k1"


@dataclass(frozen=True, slots=True)
class Multiplier:
    """Of all rates for tokens; searches cost the same."""

    factor: Decimal
    approximate: bool = False


_HALF = Multiplier(Decimal("0.5"))
_TIERS: Final[Mapping[tuple[str, str], Multiplier]] = {
    ("openai", "batch"): _HALF,
    ("openai", "flex"): _HALF,
    ("openai", "ultrafast"): Multiplier(Decimal(6)),
    ("anthropic", "batch"): _HALF,
    ("gemini", "batch"): _HALF,
    ("gemini", "flex"): _HALF,
    ("gemini", "priority"): Multiplier(Decimal("1.8"), approximate=True),
    ("mistral", "batch"): _HALF,
    ("xai", "batch"): Multiplier(Decimal("0.8")),
}
_REGIONS: Final[Mapping[tuple[str, str], Decimal]] = {("anthropic", "us"): Decimal("1.1")}
_CLAUDE = re.compile(r"claude-[a-z]+-(\d+)(?:-(\d{1,2}))?(?:-|$)")
_REGIONAL_SINCE: Final = (4, 6)

_LONG_WRITE: Final = Decimal(2)  # OpenAI keeps a prefix for twelve hours for twice the price of input
_AUDIO: Final[Mapping[tuple[str, str], tuple[Decimal, Decimal]]] = {
    ("openai", "gpt-4o-audio-preview"): (Decimal(40), Decimal(80)),
    ("openai", "gpt-4o-mini-audio-preview"): (Decimal(10), Decimal(20)),
}
_DEARER_AUDIO: Final = "gpt-4o-audio-preview-2024-10-01"  # had other rates, and is gone


def regions(provider: str) -> tuple[str, ...]:
    """Where processing costs more at this provider, as its answers name it."""
    return tuple(name for owner, name in _REGIONS if owner == provider)


def of_tier(provider: str, tier: str) -> Multiplier | None:
    """What the provider multiplies its standard rates by for this tier; None: nothing is documented."""
    return _TIERS.get((provider, tier))


def of_region(provider: str, model: str, region: str) -> Decimal | None:
    """What it multiplies by where the call was processed; None: the same price. `model` as catalogued."""
    factor = _REGIONS.get((provider, region))
    found = _CLAUDE.match(model)
    if factor is None or found is None:
        return None
    return factor if (int(found[1]), int(found[2] or 0)) >= _REGIONAL_SINCE else None


def audio(provider: str, model: str, asked: str) -> dict[str, Decimal]:
    """Rates of sound, US dollars per million tokens; `model` as catalogued, `asked` as it was asked for."""
    if asked.startswith(_DEARER_AUDIO) or (rates := _AUDIO.get((provider, model))) is None:
        return {}
    return {"input_audio_mtok": rates[0], "output_audio_mtok": rates[1]}


def long_write(provider: str, prices: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    """The rate of what is written to a cache for long, where the model's writes have a price at all."""
    own = vars(prices)
    if provider != "openai" or own.get("cache_write_mtok") is None or own.get("cache_write_1h_mtok"):
        return {}
    return {"cache_write_1h_mtok": _times(own["input_mtok"], _LONG_WRITE)} if own.get("input_mtok") else {}


def times(prices: ModelPrice, factor: Decimal) -> ModelPrice:
    """The same prices with the rates of tokens multiplied."""
    return ModelPrice(
        **{
            key: _times(value, factor) if value is not None and key.endswith("_mtok") else value
            for key, value in vars(prices).items()
        }
    )


def _times(price: Decimal | TieredPrices, factor: Decimal) -> Decimal | TieredPrices:
    if isinstance(price, Decimal):
        return price * factor
    return TieredPrices(
        base=price.base * factor,
        tiers=[Tier(start=each.start, price=each.price * factor) for each in price.tiers],
    )
