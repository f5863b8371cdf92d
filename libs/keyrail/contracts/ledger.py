"""Questions to the ledger and its answers, over the bus (control asks, cost-accounting answers)."""

from __future__ import annotations

from typing import Literal

from keyrail.contracts.base import Contract, Json
from keyrail.contracts.contents import ContentQuery, ContentsQuery, DeleteContents
from keyrail.contracts.decisions import DecisionsQuery, VerdictsQuery
from keyrail.contracts.reports import KeySumsQuery, ReportLinesQuery, StoreReport
from keyrail.contracts.repricing import PricesQuery, RepriceQuery, WhatIfQuery

Grouping = Literal[
    "model", "provider", "team", "feature", "route", "key", "provider_key", "day", "hour", "minute"
]
PAGE = 2_000
"""Most rows in one answer; ask again with the cursor for the rest."""


class CostsQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="costs"):
    """Sums over attempts that started at or after `since_ms` and before `until_ms`. Without `by`: one row.

    A row says whose it is (`key`: `key_id`; `provider_key`: `provider` and `provider_key_id`; the others by
    their own name, `model` with its `provider`), and counts attempts. `requests` are those that were the
    first of their request, so that rows add up. Amounts are of attempts whose cost is known.
    """

    tenant: str | None = None
    by: Grouping | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    cursor: str | None = None


class AttemptsQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="attempts"):
    """Attempts, oldest first."""

    tenant: str | None = None
    since_ms: int | None = None
    cursor: str | None = None


class RequestQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="request"):
    """One request with its attempts; `rows` is empty when the ledger does not know it."""

    tenant: str | None = None
    request_id: str


class AlertsQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="alerts"):
    """Alerts, oldest first. One that was raised several times is there once, as it was raised first."""

    tenant: str | None = None
    since_ms: int | None = None
    cursor: str | None = None


class SpendQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="spend"):
    """What counts towards the budgets of a tenant, or of one team or key of it.

    Of requests that came in at or after `since_ms` and before `until_ms`. One row, `{"cost_usd": "1.5"}`: the
    known costs, and what was held (`held_usd`) for each attempt whose cost is unknown, as while it runs.
    """

    tenant: str
    team: str | None = None
    key_id: str | None = None
    since_ms: int
    until_ms: int | None = None


class HoldQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="hold"):
    """What became of the attempts that this router holds money of one request for.

    One row, `{"attempts": 2, "running": 0, "cost_usd": "0.1", "unknown": ["0.25"]}`: `cost_usd` is the sum of
    what is known; `unknown` has the `held_usd` (null where there is none) of each that ended at unknown cost.
    """

    request_id: str
    router: str


Immediate = (
    CostsQuery
    | AttemptsQuery
    | RequestQuery
    | AlertsQuery
    | DecisionsQuery
    | VerdictsQuery
    | SpendQuery
    | HoldQuery
    | ContentsQuery
    | ContentQuery
    | StoreReport
    | ReportLinesQuery
    | KeySumsQuery
    | PricesQuery
    | RepriceQuery
    | WhatIfQuery
)
"""Answered as soon as the ledger has; deleting contents waits for what is under way."""
Question = Immediate | DeleteContents


class LedgerQuery(Contract, frozen=True, kw_only=True):
    """One question."""

    query: Question


class LedgerPage(Contract, frozen=True, kw_only=True):
    """A page of rows, as JSON objects; money is a string. `error` is a sentence when the question failed."""

    rows: list[dict[str, Json]] = []
    cursor: str | None = None
    error: str | None = None
