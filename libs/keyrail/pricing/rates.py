"""A model's rates on one day, ready to multiply: the library takes ten times as long for the same result."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from genai_prices.types import TieredPrices

from keyrail.contracts.config import ModelPrice
from keyrail.pricing import catalogue

_PRICED = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")
_SEARCHES = "web_searches_kcount"
_MEDIA = frozenset(
    {
        # Usage that reports one of these is priced by the library.
        "input_image_mtok",
        "cache_image_read_mtok",
        "output_image_mtok",
        "input_audio_mtok",
        "output_audio_mtok",
        "cache_audio_read_mtok",
        "input_video_mtok",
        "output_video_mtok",
    }
)
_KNOWN = frozenset({*_PRICED, *_MEDIA, _SEARCHES, "storage_searches_kcount"})
_ZERO = Decimal(0)
_THOUSAND = Decimal(1_000)
_PLACES = 12  # of what the ledger can hold


@dataclass(frozen=True, slots=True)
class _Bracket:
    """US dollars a token. None for input and output: no such tokens are priced; for a cache: these tokens
    count as plain input, or as written for the usual time."""

    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None

    def all(self) -> tuple[Decimal | None, ...]:
        """Each of them."""
        return self.input, self.output, self.cache_read, self.cache_write, self.cache_write_1h


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates by size of the prompt: bracket i holds above `starts[i - 1]` input tokens. None: unknown.

    `search`: US dollars for one. `media`: whether other tokens than text's have rates of their own, which
    `cost` does not know. `exact`: what it costs never has more places than the ledger.
    """

    starts: tuple[int, ...]
    brackets: tuple[_Bracket, ...]
    search: Decimal | None = None
    media: bool = False
    version: str = catalogue.VERSION
    version_of_long_writes: str = catalogue.VERSION
    exact: bool = False

    def cost(
        self, input_: int, output: int, cache_read: int, cache_write: int, cache_write_1h: int = 0
    ) -> Decimal | None:
        """US dollars, exact; None when the counts contradict each other or nothing is known.

        `input_` includes what was read from and written to a cache, `cache_write` what is kept for long.
        """
        if not self.brackets:
            return None
        bracket = self.brackets[bisect_left(self.starts, input_) if self.starts else 0]
        if (bracket.input is None and input_) or (bracket.output is None and output):
            return None
        total = bracket.output * output if bracket.output is not None else _ZERO
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
        if plain < 0 or cache_write < 0:
            return None
        return total + bracket.input * plain if bracket.input is not None else total


_UNKNOWN = Rates((), ())


@lru_cache(maxsize=8_192)
def rates(provider: str, model: str, tier: str | None, day: int, region: str | None = None) -> Rates | None:
    """Rates of text tokens on a day (UTC, days since the epoch); None when only the library can tell."""
    known = catalogue.find(provider, model, tier, day * catalogue.DAY_MS, region)
    if known is None:
        return _UNKNOWN  # remembered too: looking in vain takes the library longest
    if catalogue.changes_on_a_day(known.model):
        return None
    prices = catalogue.rates_of(known)
    if not prices.keys() <= _KNOWN or not prices:
        return None
    tiered = [price for price in prices.values() if isinstance(price, TieredPrices)]
    starts = tuple(sorted({tier.start for price in tiered for tier in price.tiers}))
    search = prices.get(_SEARCHES)
    if isinstance(search, TieredPrices):
        return None
    brackets = tuple(_bracket(prices, start) for start in (-1, *starts))
    each = None if search is None else search / _THOUSAND
    return Rates(
        starts,
        brackets,
        search=each,
        media=not _MEDIA.isdisjoint(prices.keys()),
        version=catalogue.version(ours=known.ours, approximate=known.approximate),
        version_of_long_writes=catalogue.version(
            ours=known.ours or known.our_long_writes, approximate=known.approximate
        ),
        exact=all(_exact(rate) for bracket in brackets for rate in bracket.all()) and _exact(each),
    )


def _exact(rate: Decimal | None) -> bool:
    exponent = 0 if rate is None else rate.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_PLACES


def _bracket(prices: dict[str, Decimal | TieredPrices], above: int) -> _Bracket:
    return _Bracket(*(catalogue.rate(prices.get(key), above) for key in _PRICED))


@lru_cache(maxsize=1_024)
def flat(given: ModelPrice) -> Rates:
    """The operator's rates, which hold for prompts of any size. Those of sound are not in it."""
    each = (given.input, given.output, given.cache_read, given.cache_write, given.cache_write_1h)
    bracket = _Bracket(*(None if rate is None else rate / catalogue.PER for rate in each))
    return Rates((), (bracket,), search=None if given.searches is None else given.searches / _THOUSAND)
