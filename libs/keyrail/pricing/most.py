"""The most that an attempt can cost, known before it is made: what a budget sets aside for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache

from genai_prices.types import TieredPrices

from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.pricing import additions, catalogue
from keyrail.pricing.cost import SANDBOX
from keyrail.pricing.terms import adjustment, in_force, starts

_ZERO = Decimal(0)
_ONE = Decimal(1)
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
    "input_image_mtok",
    "cache_image_read_mtok",
    "input_video_mtok",
)
_OUTPUT = ("output_mtok", "output_audio_mtok", "output_image_mtok", "output_video_mtok")
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
    where nothing is asked, so the dearest of these counts; likewise the dearest region, and the dearest of
    today's and tomorrow's (UTC) prices, as the attempt may begin after midnight. Searches and the provider's
    own figure, where it reports one, have no such bound. Rounded up to what the ledger can hold.
    """
    if provider == SANDBOX:
        return _ZERO
    input_tokens, output_tokens = min(input_tokens, _PLENTY), min(output_tokens, _PLENTY)
    if terms is None or not terms.prices:
        return _listed(provider, model, input_tokens, output_tokens, at_ms, terms, tier)
    end_ms = (at_ms // catalogue.DAY_MS + 2) * catalogue.DAY_MS
    found = _ZERO
    for each_ms in (at_ms, *starts(terms, model, at_ms, end_ms)):
        if (given := in_force(terms, model, each_ms)) is not None:
            cost = _rounded(_configured(given, input_tokens, output_tokens))
        else:
            cost = _listed(provider, model, input_tokens, output_tokens, at_ms, terms, tier)
        if cost is None:
            return None
        found = max(found, cost)
    return found


def _listed(
    provider: str,
    model: str,
    input_tokens: int,
    output_tokens: int,
    at_ms: int,
    terms: ProviderConfig | None,
    tier: str | None,
) -> Decimal | None:
    asked = tier.lower() if tier else ""
    changes = None if terms is None else _Changes.of(terms)
    found: Decimal | None = None
    for bracket in _brackets(provider, model, asked, at_ms // catalogue.DAY_MS, changes):
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
    for rate in (given.cache_read, given.cache_write, given.cache_write_1h, given.audio_input):
        if rate is not None and rate > dearest:
            dearest = rate
    output = given.output if given.audio_output is None else max(given.output, given.audio_output)
    return (dearest * input_tokens + output * output_tokens) / catalogue.PER


@dataclass(frozen=True, slots=True)
class _Changes:
    """What the operator changes of list prices, as part of a key."""

    discount: Decimal | None
    multipliers: tuple[tuple[str, Decimal], ...]

    @classmethod
    def of(cls, terms: ProviderConfig) -> _Changes | None:
        if terms.discount is None and not terms.multipliers:
            return None
        return cls(terms.discount, tuple(sorted(terms.multipliers.items())))

    def names(self, kind: str) -> tuple[str, ...]:
        """The tiers, or regions, that have a multiplier."""
        start = f"{kind}:"
        return tuple(name.removeprefix(start) for name, _ in self.multipliers if name.startswith(start))

    def applied(self, tier: str | None, region: str | None) -> _Rate:
        return adjustment(self.discount, dict(self.multipliers), tier, region)


_Rate = tuple[Decimal, str | None, str | None]
"""A factor, and the tier and region whose list price it applies to."""


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
def _brackets(
    provider: str, model: str, asked: str, day: int, changes: _Changes | None
) -> tuple[_Bracket, ...]:
    """All that may apply to an attempt that was planned on this day; empty: the price is unknown."""
    first, *others = _rates(provider, asked, changes)
    found: dict[_Bracket, None] = {}
    for rate in (first, *others):
        for each in (day, day + 1):
            some = [
                bracket for one in _in_a_day(provider, model, rate, each) for bracket in _split(one, rate[0])
            ]
            if not some and rate == first and each == day:
                return ()
            found |= dict.fromkeys(some)
    return tuple(one for one in found if not any(_covers(other, one) for other in found))


def _rates(provider: str, asked: str, changes: _Changes | None) -> list[_Rate]:
    """Each tier and region that may be served; the first is what has to have a price."""
    if asked in _AUTO or asked in _STANDARD:
        tiers = (None, *(_UNASKED.get(provider, ()) if asked in _AUTO else ()))
    else:
        tiers = (asked, None, *filter(None, [_OTHER_NAME.get(asked)]))
    regions = (None, *additions.regions(provider))
    if changes is None:
        found = [(_ONE, tier, region) for tier in tiers for region in regions]
    else:
        tiers = (*tiers, *_STANDARD.intersection(changes.names("tier")))
        regions = dict.fromkeys((*regions, *changes.names("region")))
        found = [changes.applied(tier, region) for tier in tiers for region in regions]
    return list(dict.fromkeys(found))


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


def _in_a_day(provider: str, model: str, rate: _Rate, day: int) -> Iterator[catalogue.Calculated]:
    """What the catalogue says at midnight and whenever on this day another price begins."""
    _, tier, region = rate
    midnight = day * catalogue.DAY_MS
    result = catalogue.calculate(provider, model, tier, {}, midnight, region)
    if result is None:
        return
    yield result
    for offset_ms in catalogue.changes_on_a_day(result.model):
        later = catalogue.calculate(provider, model, tier, {}, midnight + offset_ms, region)
        if later is not None:
            yield later


def _split(result: catalogue.Calculated, factor: Decimal) -> Iterator[_Bracket]:
    prices = catalogue.rates_of(result)
    tiered = [price for price in prices.values() if isinstance(price, TieredPrices)]
    starts = [-1, *sorted({tier.start for price in tiered for tier in price.tiers})]
    for above, up_to in zip(starts, [*starts[1:], _PLENTY], strict=True):
        yield _Bracket(
            above,
            up_to,
            _dearest(prices, _INPUT, above, factor),
            _dearest(prices, _OUTPUT, above, factor),
            result.total_price * factor,
        )


def _dearest(
    prices: Mapping[str, object], keys: tuple[str, str, *tuple[str, ...]], above: int, factor: Decimal
) -> Decimal | None:
    """The highest of these rates, None where the first, which the others stand beside, is missing."""
    rates = [catalogue.rate(prices.get(key), above) for key in keys]
    return None if rates[0] is None else max(rate for rate in rates if rate is not None) * factor
