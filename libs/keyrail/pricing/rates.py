"""A model's rates on one day, ready to multiply: the library takes ten times as long for the same result."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from genai_prices.types import TieredPrices

from keyrail.pricing import catalogue

_PRICED = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")
_NEVER_COUNTED = frozenset(
    {
        # Usage that reports one of these is priced by the library.
        "web_searches_kcount",
        "storage_searches_kcount",
        "input_image_mtok",
        "cache_image_read_mtok",
        "output_image_mtok",
        "input_audio_mtok",
        "output_audio_mtok",
        "cache_audio_read_mtok",
    }
)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Bracket:
    """US dollars a token. None: not priced apart, so these tokens count as plain input."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates by size of the prompt: bracket i holds above `starts[i - 1]` input tokens. None: unknown."""

    starts: tuple[int, ...]
    brackets: tuple[_Bracket, ...]

    def cost(
        self, input_: int, output: int, cache_read: int, cache_write: int, cache_write_1h: int = 0
    ) -> Decimal | None:
        """US dollars, exact; None when the counts contradict each other or nothing is known.

        `input_` includes what was read from and written to a cache, `cache_write` what is kept for an hour.
        """
        if not self.brackets:
            return None
        bracket = self.brackets[bisect_left(self.starts, input_) if self.starts else 0]
        total = bracket.output * output
        plain = input_
        if cache_read and bracket.cache_read is not None:
            plain -= cache_read
            total += bracket.cache_read * cache_read
        if cache_write_1h and bracket.cache_write_1h is not None:
            plain -= cache_write_1h
            cache_write -= cache_write_1h
            total += bracket.cache_write_1h * cache_write_1h
        if cache_write and bracket.cache_write is not None:
            plain -= cache_write
            total += bracket.cache_write * cache_write
        return None if plain < 0 or cache_write < 0 else total + bracket.input * plain


_UNKNOWN = Rates((), ())


@lru_cache(maxsize=8_192)
def rates(provider: str, model: str, tier: str | None, day: int) -> Rates | None:
    """Rates of text tokens on a day (UTC, days since the epoch); None when only the library can tell."""
    result = catalogue.calculate(provider, model, tier, {}, day * catalogue.DAY_MS)
    if result is None:
        return _UNKNOWN  # remembered too: looking in vain takes the library longest
    if catalogue.changes_on_a_day(result.model):
        return None
    prices = catalogue.rates_of(result)
    if not ({"input_mtok", "output_mtok"} <= prices.keys() <= {*_PRICED, *_NEVER_COUNTED}):
        return None
    tiered = [price for price in prices.values() if isinstance(price, TieredPrices)]
    starts = tuple(sorted({tier.start for price in tiered for tier in price.tiers}))
    return Rates(starts, tuple(_bracket(prices, start) for start in (-1, *starts)))


def _bracket(prices: dict[str, object], above: int) -> _Bracket:
    input_, output, read, write, write_1h = (catalogue.rate(prices.get(key), above) for key in _PRICED)
    return _Bracket(input_ or _ZERO, output or _ZERO, read, write, write_1h)


def flat(
    input_: Decimal,
    output: Decimal,
    cache_read: Decimal | None,
    cache_write: Decimal | None,
    cache_write_1h: Decimal | None,
) -> Rates:
    """Rates that hold for prompts of any size, given in US dollars per million tokens."""
    read, write, write_1h = (
        None if rate is None else rate / catalogue.PER for rate in (cache_read, cache_write, cache_write_1h)
    )
    return Rates((), (_Bracket(input_ / catalogue.PER, output / catalogue.PER, read, write, write_1h),))
