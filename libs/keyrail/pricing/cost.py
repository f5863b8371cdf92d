"""What an attempt cost.

First the provider's own figure counts, then the operator's prices, then the catalogue; else it is unknown.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig
from keyrail.contracts.usage import Basis, Price, Usage
from keyrail.pricing import catalogue, media
from keyrail.pricing.rates import Rates, flat, rates
from keyrail.pricing.reported import reported
from keyrail.pricing.terms import adjustment, in_force

SANDBOX = "sandbox"
UNKNOWN = Price()

_ZERO = Decimal(0)
_STEP = Decimal("0.000000000001")  # what the ledger can hold
_AUDIO_APART = frozenset({"openai"})  # audio tokens always have a rate of their own
_CACHE = ("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", *media.CACHED)


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
    `usage.served_tier` and `usage.region` choose the rates. All None when the model, the tier or the token
    counts are unknown. `reference_usd` is left out: that is another call of `listed`.
    """
    if usage.raw is not None and (stated := reported(usage.raw)) is not None:
        held = _held(stated)
        return Price(
            cost_usd=held, source="provider", uncached_usd=_beside(held, provider, model, usage, at_ms, terms)
        )
    found = listed(provider, model, usage, at_ms, terms, revision)
    if found is None:
        return UNKNOWN
    return Price(cost_usd=found.cost, source=found.source, version=found.version, uncached_usd=found.uncached)


def compared(
    provider: str,
    model: str,
    usage: Usage,
    at_ms: int,
    view: ConfigView,
    reference: str | None,
    basis: Basis | None = None,
) -> Price:
    """As `price` under a configuration, with `reference_usd`. `reference`: "provider/model", None: none.

    `basis`: of these counts, where the cost is known.
    """
    paid = price(provider, model, usage, at_ms, view.providers.get(provider), view.revision)
    if paid.cost_usd is None:
        basis = None
    if reference is None:
        return paid if basis is None else _on(paid, None, basis)
    other, _, there = reference.partition("/")
    if other == provider and there == model:
        reference_usd = paid.cost_usd
    else:
        reference_usd = elsewhere(reference, provider, usage, at_ms, view.providers.get(other))
    return _on(paid, reference_usd, basis)


def _on(paid: Price, reference_usd: Decimal | None, basis: Basis | None) -> Price:
    # Not `replace`, which takes three times as long.
    return Price(
        cost_usd=paid.cost_usd,
        source=paid.source,
        version=paid.version,
        uncached_usd=paid.uncached_usd,
        reference_usd=reference_usd,
        basis=basis,
    )


class Listed(NamedTuple):
    """A price by somebody's list. `uncached`: the same tokens, nothing read from or written to a cache."""

    cost: Decimal
    uncached: Decimal
    source: str
    version: str | None


_SANDBOX = Listed(_ZERO, _ZERO, "sandbox", None)


def listed(
    provider: str, model: str, usage: Usage, at_ms: int, terms: ProviderConfig | None, revision: int = 0
) -> Listed | None:
    """What these counts cost by the operator's prices or the catalogue's, whatever the provider says.

    None: unknown.
    """
    return _listed(provider, model, usage, at_ms, terms, revision, (usage.served_tier, usage.region))


def _listed(
    provider: str,
    model: str,
    usage: Usage,
    at_ms: int,
    terms: ProviderConfig | None,
    revision: int,
    served: tuple[str | None, str | None],
) -> Listed | None:
    if provider == SANDBOX:
        return _SANDBOX
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    if terms is not None and terms.prices and (given := in_force(terms, model, at_ms)) is not None:
        return _configured(given, usage, revision)
    tier, region = served
    if tier is not None or region is not None:
        tier, region = tier and tier.lower(), region and region.lower()
    if terms is None or (terms.discount is None and not terms.multipliers):
        return _catalogue(provider, model, usage, at_ms, (tier, region))
    factor, tier, region = adjustment(terms.discount, terms.multipliers, tier, region)
    found = _catalogue(provider, model, usage, at_ms, (tier, region))
    if found is None:
        return None
    version = found.version or ""
    plain = version.removesuffix(catalogue.APPROXIMATE)
    return Listed(
        _held(found.cost * factor),
        _held(found.uncached * factor),
        found.source,
        f"{plain}+r{revision}{version[len(plain) :]}",
    )


def elsewhere(
    reference: str, provider: str, usage: Usage, at_ms: int, terms: ProviderConfig | None
) -> Decimal | None:
    """What the same tokens, cached ones included, would have cost at `reference` ("provider/model").

    Never what a provider reported: by the lists, with `terms` those of the reference's provider. A tier and
    region that another provider served mean nothing there, so its standard rates count. None: unknown.
    """
    other, _, model = reference.partition("/")
    served = (usage.served_tier, usage.region) if other == provider else (None, None)
    found = _listed(other, model, usage, at_ms, terms, 0, served)
    return None if found is None else found.cost


def _beside(
    cost: Decimal, provider: str, model: str, usage: Usage, at_ms: int, terms: ProviderConfig | None
) -> Decimal | None:
    """What a call would have cost without a cache whose provider says what it did cost with one.

    The difference is that of the lists: whatever else the provider billed stays.
    """
    if not usage.cache_read_tokens and not usage.cache_write_tokens:
        return cost
    found = listed(provider, model, usage, at_ms, terms)
    return None if found is None else max(cost + found.uncached - found.cost, _ZERO)


def _configured(given: ModelPrice, usage: Usage, revision: int) -> Listed | None:
    known = flat(given)
    found = _quick(known, usage)
    if found is None:
        return None
    cost, uncached = found
    version = str(revision)
    if usage.audio_output_tokens and given.audio_output is not None and usage.output_tokens is not None:
        more = (given.audio_output - given.output) * min(usage.audio_output_tokens, usage.output_tokens)
        cost, uncached = cost + more / catalogue.PER, uncached + more / catalogue.PER
    if usage.audio_input_tokens and given.audio_input is not None and usage.input_tokens is not None:
        cached = media.counts(usage).get("cache_audio_read_tokens") if usage.cache_read_tokens else 0
        if cached is None:
            version += (
                catalogue.APPROXIMATE
            )  # nobody knows how much of the sound was cached: it counts as text
        else:
            read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
            most = max(usage.input_tokens - read - written, 0)
            extra = given.audio_input - given.input
            sound = min(usage.audio_input_tokens, usage.input_tokens)
            cost += extra * min(max(sound - cached, 0), most) / catalogue.PER
            uncached += extra * sound / catalogue.PER
    return Listed(_held(cost), _held(uncached), "configured", version)


def _quick(known: Rates, usage: Usage) -> tuple[Decimal, Decimal] | None:
    """The cost by rates of text, and the cost without a cache; None: unknown."""
    input_, output = usage.input_tokens or 0, usage.output_tokens or 0
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    cost = known.cost(input_, output, read, written, usage.cache_write_1h_tokens or 0)
    if cost is None:
        return None
    uncached = cost
    if read or written:
        uncached = known.cost(input_, output, 0, 0)
        if uncached is None:
            return None
    if usage.searches:
        if known.search is None:
            return None
        more = known.search * usage.searches
        cost, uncached = cost + more, uncached + more
    return cost, uncached


def _catalogue(
    provider: str, model: str, usage: Usage, at_ms: int, served: tuple[str | None, str | None]
) -> Listed | None:
    tier, region = served
    known = rates(provider, model, tier, at_ms // catalogue.DAY_MS, region)
    if known is None or (known.media and media.counts(usage)):
        return _by_library(provider, model, usage, at_ms, served)
    if provider in _AUDIO_APART and (usage.audio_input_tokens or usage.audio_output_tokens):
        return None
    found = _quick(known, usage)
    if found is None:
        return None
    cost, uncached = found
    version = known.version_of_long_writes if usage.cache_write_1h_tokens else known.version
    if not known.exact:
        cost, uncached = _held(cost), _held(uncached)
    return Listed(cost, uncached, "catalogue", version)


def _held(cost: Decimal) -> Decimal:
    exponent = cost.as_tuple().exponent
    return cost.quantize(_STEP) if isinstance(exponent, int) and exponent < -12 else cost


def _by_library(
    provider: str, model: str, usage: Usage, at_ms: int, served: tuple[str | None, str | None]
) -> Listed | None:
    known = catalogue.find(provider, model, served[0], at_ms, served[1])
    if known is None:
        return None
    text = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "web_searches": usage.searches,
    }
    counts = {key: n for key, n in text.items() if n}
    if not _priced(provider, usage, known):
        return None
    cost = catalogue.total(known, counts | media.counts(usage))
    approximate = known.approximate
    if cost is None and provider not in _AUDIO_APART:
        # How much of the sound was cached is not said: all of it counts as text.
        cost, approximate = catalogue.total(known, counts), True
    elif cost is not None:
        counts |= media.counts(usage)
    if cost is None:
        return None
    uncached = cost
    if usage.cache_read_tokens or usage.cache_write_tokens:
        uncached = catalogue.total(known, {key: n for key, n in counts.items() if key not in _CACHE})
    if uncached is None:
        return None
    sound = usage.audio_input_tokens or usage.audio_output_tokens
    ours = known.ours or bool(
        (known.our_long_writes and usage.cache_write_1h_tokens) or (known.our_audio and sound)
    )
    return Listed(
        _held(cost), _held(uncached), "catalogue", catalogue.version(ours=ours, approximate=approximate)
    )


def _priced(provider: str, usage: Usage, known: catalogue.Known) -> bool:
    """Whether all that was counted has a rate: without one it would silently cost nothing."""
    needed = {
        "input_mtok" if usage.input_tokens else None,
        "output_mtok" if usage.output_tokens else None,
        "web_searches_kcount" if usage.searches else None,
    }
    if provider in _AUDIO_APART:
        needed.add("input_audio_mtok" if usage.audio_input_tokens else None)
        needed.add("output_audio_mtok" if usage.audio_output_tokens else None)
    return needed - {None} <= catalogue.rates_of(known).keys()
