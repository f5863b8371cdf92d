"""A model's prices as people read them: US dollars per million tokens, of each size of prompt, and by date.

The rates are worked out from what `cost.price` makes of a call that uses one thing alone, so that they are
those that attempts are priced at, whatever discount or multiplier applies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from genai_prices.types import ConditionalPrice, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ProviderConfig
from keyrail.contracts.usage import Usage
from keyrail.pricing import catalogue, cost

RATES: Final = (
    "input", "output", "cache_read", "cache_write", "cache_write_1h", "audio_input", "audio_output",
    "searches",
)  # fmt: skip
_TOKENS: Final = 1_000
_PER: Final = Decimal(1_000_000)
_PER_SEARCHES: Final = Decimal(1_000)
_USED: Final[dict[str, Callable[[int], dict[str, int]]]] = {
    # what a call with a prompt of n tokens uses besides its plain input
    "cache_read": lambda n: {"cache_read_tokens": n},
    "cache_write": lambda n: {"cache_write_tokens": n},
    "cache_write_1h": lambda n: {"cache_write_tokens": n, "cache_write_1h_tokens": n},
    "audio_input": lambda n: {"audio_input_tokens": n},
}
_KEYS: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
Rates = dict[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class Listed:
    """What is in force. `tiers`: from how many tokens of prompt on which other rates hold."""

    source: str
    version: str | None
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...]


@dataclass(frozen=True, slots=True)
class Dated:
    """Rates of the catalogue from a date on, `since` None: from the beginning. `daily`: at these hours only
    (UTC)."""

    since: str | None
    daily: str | None
    rates: Rates


def in_force(
    provider: str, model: str, at_ms: int, terms: ProviderConfig | None = None, revision: int = 0
) -> Listed | None:
    """What attempts that begin at `at_ms` are priced at; None: nobody knows."""

    def paid(**used: int) -> Decimal | None:
        usage = Usage(input_tokens=0, output_tokens=0).replace(**used)
        return cost.price(provider, model, usage, at_ms, terms, revision).cost_usd

    first = cost.price(provider, model, Usage(input_tokens=_TOKENS, output_tokens=0), at_ms, terms, revision)
    if first.cost_usd is None or first.source is None:
        return None
    starts = _starts(provider, model, at_ms) if first.source == "catalogue" else ()
    tiers = tuple((start, _rates(paid, _above(start))) for start in starts)
    return Listed(first.source, first.version, _rates(paid, _TOKENS), tiers)


@lru_cache(maxsize=1_024)
def context_window(provider: str, model: str) -> int | None:
    """How many tokens of prompt the model takes, None where the catalogue does not say."""
    result = catalogue.calculate(provider, model, None, {}, now_ms())
    return None if result is None else result.model.context_window


def dated(provider: str, model: str) -> list[Dated]:
    """The catalogue's prices of a model by date, oldest first; empty where it does not know the model."""
    result = catalogue.calculate(provider, model, None, {}, now_ms())
    if result is None:
        return []
    prices = result.model.prices
    conditional: list[ConditionalPrice] = (
        prices if isinstance(prices, list) else [ConditionalPrice(None, prices=prices)]
    )
    return [
        Dated(
            constraint.start_date.isoformat() if isinstance(constraint, StartDateConstraint) else None,
            f"{constraint.start_time:%H:%M} to {constraint.end_time:%H:%M}"
            if isinstance(constraint, TimeOfDateConstraint)
            else None,
            _catalogued(vars(each.prices)),
        )
        for each in conditional
        for constraint in [each.constraint]
    ]


def _catalogued(prices: dict[str, Any]) -> Rates:
    """For prompts of the smallest size."""
    found: Rates = {}
    for key, name in _KEYS.items():
        rate = catalogue.rate(prices.get(key), -1)
        found[name] = None if rate is None else _plain(rate * _PER)
    return found


def _starts(provider: str, model: str, at_ms: int) -> tuple[int, ...]:
    result = catalogue.calculate(provider, model, None, {}, at_ms)
    if result is None:
        return ()
    tiered = [each for each in catalogue.rates_of(result).values() if isinstance(each, TieredPrices)]
    return tuple(sorted({tier.start for each in tiered for tier in each.tiers}))


def _above(start: int) -> int:
    """A round number of tokens in the bracket that begins there."""
    return (start // _TOKENS + 1) * _TOKENS


def _rates(paid: Callable[..., Decimal | None], size: int) -> Rates:
    plain = paid(input_tokens=size)
    found: Rates = {"input": _per(plain, size)}
    answered = paid(input_tokens=size, output_tokens=_TOKENS)
    found["output"] = None if answered is None or plain is None else _per(answered - plain, _TOKENS)
    for name, used in _USED.items():
        found[name] = _per(paid(input_tokens=size, **used(size)), size)
    spoken = paid(input_tokens=size, output_tokens=_TOKENS, audio_output_tokens=_TOKENS)
    found["audio_output"] = None if spoken is None or plain is None else _per(spoken - plain, _TOKENS)
    searched = paid(input_tokens=size, searches=_TOKENS)
    fee = None if searched is None or plain is None else (searched - plain) * _PER_SEARCHES / _TOKENS
    found["searches"] = _plain(fee) if fee else None  # none is known, or it is free: nobody says which
    return {name: found[name] for name in RATES}


def _per(amount: Decimal | None, tokens: int) -> Decimal | None:
    return None if amount is None else _plain(amount * _PER / tokens)


def _plain(amount: Decimal) -> Decimal:
    """Without trailing zeros or an exponent."""
    return Decimal(format(amount.normalize(), "f"))
