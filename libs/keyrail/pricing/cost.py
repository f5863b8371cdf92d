"""What an attempt cost.

First the provider's own figure counts, then the operator's prices, then the catalogue; else it is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.contracts.usage import Price, Usage
from keyrail.pricing import catalogue
from keyrail.pricing.rates import flat, rates

SANDBOX = "sandbox"
UNKNOWN = Price()

_NONE: Mapping[str, ModelPrice] = MappingProxyType({})
_STEP = Decimal("0.000000000001")  # what the ledger can hold
_TICK = Decimal("0.0000000001")
_MOST = Decimal(1_000_000)  # a million dollars a call is nonsense, and the ledger could not hold it
_AUDIO_APART = frozenset({"openai"})  # audio tokens always have a rate of their own


def price(
    provider: str,
    model: str,
    usage: Usage,
    at_ms: int,
    terms: ProviderConfig | None = None,
    revision: int = 0,
) -> Price:
    """The price of one attempt that began at `at_ms`; `model` is the provider's own name for it.

    `terms`: where the operator's prices are, from this `revision` of the configuration.
    `usage.served_tier` chooses the tier. All None when the model, the tier or the token counts are unknown.
    """
    if usage.raw is not None and (reported := _reported(usage.raw)) is not None:
        return Price(cost_usd=_held(reported), source="provider")
    if provider == SANDBOX:
        return Price(cost_usd=Decimal(0), source="sandbox")
    if usage.input_tokens is None or usage.output_tokens is None:
        return UNKNOWN
    own = terms.prices if terms is not None else _NONE
    if own and (given := own.get(model) or own.get("*")) is not None:
        return _configured(given, usage, revision)
    tier = usage.served_tier.lower() if usage.served_tier else None
    if usage.searches or usage.audio_input_tokens or usage.audio_output_tokens:
        cost = _by_library(provider, model, tier, usage, at_ms)
    else:
        known = rates(provider, model, tier, at_ms // catalogue.DAY_MS)
        if known is None:
            cost = _by_library(provider, model, tier, usage, at_ms)
        else:
            cost = known.cost(
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_tokens or 0,
                usage.cache_write_tokens or 0,
                usage.cache_write_1h_tokens or 0,
            )
    if cost is None:
        return UNKNOWN
    return Price(cost_usd=_held(cost), source="catalogue", version=catalogue.VERSION)


def _configured(given: ModelPrice, usage: Usage, revision: int) -> Price:
    cost = flat(given.input, given.output, given.cache_read, given.cache_write, given.cache_write_1h).cost(
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        usage.cache_read_tokens or 0,
        usage.cache_write_tokens or 0,
        usage.cache_write_1h_tokens or 0,
    )
    return (
        UNKNOWN if cost is None else Price(cost_usd=_held(cost), source="configured", version=str(revision))
    )


def _held(cost: Decimal) -> Decimal:
    exponent = cost.as_tuple().exponent
    return cost.quantize(_STEP) if isinstance(exponent, int) and exponent < -12 else cost


def _reported(raw: dict[str, Any]) -> Decimal | None:
    """US dollars as the provider states them (OpenRouter, DeepInfra, xAI), None when it does not."""
    cost = _amount(raw.get("cost"))
    if cost is not None and raw.get("is_byok") is True:
        # With the caller's own key `cost` is the fee alone; the provider's bill stands beside it.
        details: object = raw.get("cost_details")
        bill = _amount(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
        return None if bill is None else cost + bill
    if cost is None:
        cost = _amount(raw.get("estimated_cost"))
    if cost is None and (ticks := _amount(raw.get("cost_in_usd_ticks"), _MOST / _TICK)) is not None:
        cost = ticks * _TICK
    return cost


def _amount(value: object, most: Decimal = _MOST) -> Decimal | None:
    if type(value) is not int and type(value) is not float:
        return None
    amount = Decimal(repr(value))
    return amount if 0 <= amount <= most else None


def _by_library(provider: str, model: str, tier: str | None, usage: Usage, at_ms: int) -> Decimal | None:
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "input_audio_tokens": usage.audio_input_tokens,
        "output_audio_tokens": usage.audio_output_tokens,
        "web_searches": usage.searches,
    }
    result = catalogue.calculate(provider, model, tier, {key: n for key, n in counts.items() if n}, at_ms)
    if result is None:
        return None
    # A count without a rate would silently cost nothing.
    needed = {"input_mtok" if usage.input_tokens else None, "output_mtok" if usage.output_tokens else None}
    if provider in _AUDIO_APART:
        needed.add("input_audio_mtok" if usage.audio_input_tokens else None)
        needed.add("output_audio_mtok" if usage.audio_output_tokens else None)
    return result.total_price if needed - {None} <= catalogue.rates_of(result).keys() else None
