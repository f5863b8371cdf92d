"""What a request is expected to cost at a target, and the most that it can cost there. Pure."""

from __future__ import annotations

from decimal import Decimal

from keyrail.contracts.config import ConfigView, ModelPrice
from keyrail.contracts.slips import Facts, Target
from keyrail.contracts.usage import Usage
from keyrail.pricing import cost
from keyrail.pricing.catalogue import DAY_MS
from keyrail.pricing.most import most as most_of_tokens
from keyrail.pricing.rates import Rates, flat, rates
from keyrail.pricing.terms import in_force

ANSWER_TOKENS = 400
"""What an answer is taken to have where nothing was measured and the request has no lower limit."""
_ZERO = Decimal(0)


def answer_tokens(facts: Facts, measured: float | None) -> int:
    """How many tokens to expect: as measured, never more than the request allows."""
    expected = ANSWER_TOKENS if measured is None else round(measured)
    if facts.max_output_tokens is not None:
        expected = min(expected, facts.max_output_tokens)
    return expected * facts.choices


def predicted(
    view: ConfigView, target: Target, facts: Facts, measured: float | None, at_ms: int
) -> Decimal | None:
    """US dollars, nothing read from a cache; None where the price is unknown. `measured`: tokens of its
    answers lately, None: nobody knows."""
    if facts.operation != "generate" or target.provider == cost.SANDBOX:
        return _ZERO
    output = 0 if facts.dialect == "openai-embeddings" else answer_tokens(facts, measured)
    terms = view.providers.get(target.provider)
    plain = terms is None or not (terms.prices or terms.multipliers or terms.discount is not None)
    if plain or terms is None:
        known: Rates | None = rates(target.provider, target.model, _tier(facts), at_ms // DAY_MS)
    else:
        given: ModelPrice | None = in_force(terms, target.model, at_ms)
        known = flat(given) if given is not None else None
    if known is not None:
        return known.cost(facts.input_tokens_estimate, output, 0, 0)
    usage = Usage(
        input_tokens=facts.input_tokens_estimate, output_tokens=output, served_tier=facts.service_tier
    )
    found = cost.listed(target.provider, target.model, usage, at_ms, terms)
    return None if found is None else found.cost


def _tier(facts: Facts) -> str | None:
    return facts.service_tier.lower() if facts.service_tier else None


def most(target: Target, facts: Facts, at_ms: int, view: ConfigView) -> Decimal | None:
    """The most that an attempt can cost; None where nobody can tell, or nobody counted."""
    if facts.operation != "generate":
        return _ZERO
    if facts.input_tokens_most is None:
        return None
    output = 0
    if facts.dialect != "openai-embeddings":
        if facts.max_output_tokens is None:
            return None
        output = facts.max_output_tokens * facts.choices
    terms = view.providers.get(target.provider)
    tier = facts.service_tier
    return most_of_tokens(target.provider, target.model, facts.input_tokens_most, output, at_ms, terms, tier)
