"""The most that an attempt can cost, known before it is made: what a budget sets aside for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache
from types import MappingProxyType

from genai_prices.types import PriceCalculation, TieredPrices

from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.pricing import catalogue
from keyrail.pricing.cost import SANDBOX

_NONE: Mapping[str, ModelPrice] = MappingProxyType({})
_ZERO = Decimal(0)
_STEP = Decimal("0.000000000001")  # what the ledger can hold
_UP = Context(prec=60, rounding=ROUND_CEILING)
_PLENTY = 10**15  # tokens that no attempt has, so that a nonsensical limit does not make nonsensical figures
_INPUT = (
    "input_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "input_audio_mtok",
    "cache_audio_read_mtok",
)
_OUTPUT = ("output_mtok", "output_audio_mtok")
_STANDARD = frozenset({"default", "standard", "standard_only", "on_demand"})
_AUTO = frozenset({"", "auto"})
_UNASKED: Mapping[str, tuple[str, ...]] = {
    # The settings of a project at OpenAI say what it serves where nothing or `auto` is asked for. The others
    # serve what is dearer only when they are asked, or under a contract whose prices no catalogue has.
    "openai": ("priority",)
}
_OTHER_NAME: Mapping[str, str] = {"fast": "priority"}  # how the tier is called in the answer


def most(
    provider: str,
    model: str,
    input_tokens: int,
    output_tokens: int,
    at_ms: int,
    terms: ProviderConfig | None = None,
    tier: str | None = None,
) -> Decimal | None:
    """The most that `cost.price` can say of an attempt with at most so many tokens; None: nobody can tell.

    `tier` as the request asks for it. A provider may serve less than that, and what its account is set to
    where nothing is asked, so the dearest of these counts; likewise the dearest of today's and tomorrow's
    (UTC) prices, as the attempt may begin after midnight. Searches and the provider's own figure, where it
    reports one, have no such bound. Rounded up to what the ledger can hold.
    """
    if provider == SANDBOX:
        return _ZERO
    input_tokens, output_tokens = min(input_tokens, _PLENTY), min(output_tokens, _PLENTY)
    own = terms.prices if terms is not None else _NONE
    if own and (given := own.get(model) or own.get("*")) is not None:
        return _rounded(_configured(given, input_tokens, output_tokens))
    asked = tier.lower() if tier else ""
    brackets = _brackets(provider, model, asked, at_ms // catalogue.DAY_MS)
    found: Decimal | None = None
    for bracket in brackets:
        cost = bracket.cost(input_tokens, output_tokens)
        if cost is None:
            return None
        if found is None or cost > found:
            found = cost
    return None if found is None else _rounded(found)


def _rounded(cost: Decimal) -> Decimal:
    exponent = cost.as_tuple().exponent
    return cost.quantize(_STEP, context=_UP) if isinstance(exponent, int) and exponent < -12 else cost


def _configured(given: ModelPrice, input_tokens: int, output_tokens: int) -> Decimal:
    dearest = given.input
    for rate in (given.cache_read, given.cache_write, given.cache_write_1h):
        if rate is not None and rate > dearest:
            dearest = rate
    return (dearest * input_tokens + given.output * output_tokens) / catalogue.PER


@dataclass(frozen=True, slots=True)
class _Bracket:
    """US dollars a token for prompts of more than `above` and at most `up_to` tokens. None: no rate.

    `fixed` is for the attempt itself.
    """

    above: int
    up_to: int
    input: Decimal | None
    output: Decimal | None
    fixed: Decimal

    def cost(self, input_tokens: int, output_tokens: int) -> Decimal | None:
        """The most with a prompt of this size and not more than `input_tokens`."""
        if input_tokens <= self.above:
            return self.fixed
        total = self.fixed
        if input_tokens:
            if self.input is None:
                return None
            total += self.input * min(input_tokens, self.up_to)
        if output_tokens:
            if self.output is None:
                return None
            total += self.output * output_tokens
        return total


@lru_cache(maxsize=8_192)
def _brackets(provider: str, model: str, asked: str, day: int) -> tuple[_Bracket, ...]:
    """All that may apply to an attempt that was planned on this day; empty: the price is unknown."""
    if asked in _AUTO or asked in _STANDARD:
        first, *others = (None, *(_UNASKED.get(provider, ()) if asked in _AUTO else ()))
    else:
        first, *others = (asked, None, *filter(None, [_OTHER_NAME.get(asked)]))
    found: dict[_Bracket, None] = {}
    for tier in (first, *others):
        for each in (day, day + 1):
            some = [bracket for one in _in_a_day(provider, model, tier, each) for bracket in _split(one)]
            if not some and tier == first and each == day:
                return ()
            found |= dict.fromkeys(some)
    return tuple(one for one in found if not any(_covers(other, one) for other in found))


def _covers(other: _Bracket, one: _Bracket) -> bool:
    """Whether `one` never costs more than `other`, which is another one."""
    return (
        other != one
        and (other.above, other.up_to) == (one.above, one.up_to)
        and (other.input is None) == (one.input is None)
        and (other.output is None) == (one.output is None)
        and (other.input or _ZERO) >= (one.input or _ZERO)
        and (other.output or _ZERO) >= (one.output or _ZERO)
        and other.fixed >= one.fixed
    )


def _in_a_day(provider: str, model: str, tier: str | None, day: int) -> Iterator[PriceCalculation]:
    """What the catalogue says at midnight and whenever on this day another price begins."""
    midnight = day * catalogue.DAY_MS
    result = catalogue.calculate(provider, model, tier, {}, midnight)
    if result is None:
        return
    yield result
    for offset_ms in catalogue.changes_on_a_day(result.model):
        later = catalogue.calculate(provider, model, tier, {}, midnight + offset_ms)
        if later is not None:
            yield later


def _split(result: PriceCalculation) -> Iterator[_Bracket]:
    prices = catalogue.rates_of(result)
    tiered = [price for price in prices.values() if isinstance(price, TieredPrices)]
    starts = [-1, *sorted({tier.start for price in tiered for tier in price.tiers})]
    for above, up_to in zip(starts, [*starts[1:], _PLENTY], strict=True):
        yield _Bracket(
            above,
            up_to,
            _dearest(prices, _INPUT, above),
            _dearest(prices, _OUTPUT, above),
            result.total_price,
        )


def _dearest(
    prices: Mapping[str, object], keys: tuple[str, str, *tuple[str, ...]], above: int
) -> Decimal | None:
    """The highest of these rates, None where the first, which the others stand beside, is missing."""
    rates = [catalogue.rate(prices.get(key), above) for key in keys]
    return None if rates[0] is None else max(rate for rate in rates if rate is not None)
