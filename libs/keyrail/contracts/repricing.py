"""Questions to the ledger about prices: which there were, and what traffic costs at others.

Re-pricing and what-if go through attempts in slices, a question each: ask again with the answer's cursor
until it has none.
"""

from __future__ import annotations

from keyrail.contracts.base import Contract
from keyrail.contracts.config import ProviderConfig
from keyrail.contracts.slips import Target


class PricesQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="prices"):
    """The operator's prices that there were for a model, and for all others of its provider (`*`).

    Oldest first.
    """

    provider: str
    model: str
    cursor: str | None = None


class RepriceQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="reprice"):
    """What a slice of attempts costs at the prices that are in force now, and with `write` from now on.

    Of attempts that started at or after `since_ms` and before `until_ms`; after `cursor`, and with `to` (the
    cursor that the same slice had when it was looked at) not after that. One row: `revision`, `catalogue`,
    `digest` of what would change, and `models`, each with `provider`, `model`, `attempts` (looked at),
    `changed`, `old_usd`, `new_usd`, `newly_known`, `newly_unknown`, `stuck` (they can't be written again).
    With `write`: `written`, or `stale` where what would change is not what `digest` says.
    """

    since_ms: int
    until_ms: int
    provider: str | None = None
    model: str | None = None
    cursor: str | None = None
    to: str | None = None
    digest: str | None = None
    write: bool = False


class WhatIfQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="whatif"):
    """What a slice of attempts would have cost: at `model` instead of its own, under `terms` instead of
    those in force.

    At the attempt's own time, or all at `at_ms`. One row: `revision`, `catalogue`, `context` (tokens that the
    model takes, where known) and `models`, each with `provider`, `model`, `attempts`, `compared` (both costs
    known), `unknown_actual`, `unknown_what_if`, `estimated`, `input_tokens`, `output_tokens`, `actual_usd`,
    `what_if_usd`, `no_cache_usd` (of those compared), `searches` (attempts whose fee is left out),
    `too_long` (attempts).
    """

    since_ms: int
    until_ms: int
    model: Target | None = None
    terms: dict[str, ProviderConfig] | None = None
    at_ms: int | None = None
    route: str | None = None
    team: str | None = None
    feature: str | None = None
    cursor: str | None = None
