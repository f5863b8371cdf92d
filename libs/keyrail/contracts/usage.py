"""Token usage, normalised over all dialects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from keyrail.contracts.base import Contract

Basis = Literal["exact", "estimated", "assumed_full"]


class Usage(Contract, frozen=True, kw_only=True):
    """Tokens of one attempt. None is unknown, never zero.

    `input_tokens` is the whole prompt, cached parts included; the cache counts are parts of it, and
    `cache_write_1h_tokens` is the part of `cache_write_tokens` that is kept long (an hour at Anthropic,
    twelve
    at OpenAI). `region`: where it was processed, as the provider says, where that has a price.
    `output_tokens` includes `reasoning_tokens`. `searches`: web searches that the provider bills. `raw` is
    the provider's own object. `estimated` marks counts
    that this gateway worked out because the provider sent none.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    searches: int | None = None
    served_tier: str | None = None
    region: str | None = None
    estimated: bool = False
    raw: dict[str, Any] | None = None  # was JSON before, so that checking it again would be in vain


class Price(Contract, frozen=True, kw_only=True):
    """What an attempt cost and who says so. All None: the price is unknown.

    `source` is `provider` (reported in the answer), `configured` (keyrail.yaml),
    `catalogue` (genai-prices), `sandbox` or `not-billed`. `uncached_usd`: the same tokens with nothing read
    from
    or written to a cache. `reference_usd`: the same tokens at the reference of the route. Both None where
    that
    is unknown, or there is no reference. An answer out of this gateway's own cache has the source `cache`,
    costs 0, and what it cost when it was made is `uncached_usd`. `basis`: of what usage the cost was worked
    out, `exact` as the provider counted, `estimated` by this gateway, `assumed_full` where the provider bills
    an answer to its end that nobody heard to its end; None where the cost is unknown.
    """

    cost_usd: Decimal | None = None
    source: str | None = None
    version: str | None = None
    uncached_usd: Decimal | None = None
    reference_usd: Decimal | None = None
    basis: Basis | None = None
