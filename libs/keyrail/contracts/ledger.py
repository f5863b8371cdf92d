"""Questions to the ledger and its answers, over the bus (control asks, cost-accounting answers)."""

from __future__ import annotations

from typing import Literal

from keyrail.contracts.base import Contract, Json

Grouping = Literal["model", "provider", "team", "feature", "day"]
PAGE = 2_000
"""Most rows in one answer; ask again with the cursor for the rest."""


class CostsQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="costs"):
    """Sums over attempts that started at or after `since_ms`. Without `by`: one row, the total."""

    tenant: str | None = None
    by: Grouping | None = None
    since_ms: int | None = None
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


class HoldQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="hold"):
    """What the attempts of a request that `router` held money for did cost, all its dispatches together.

    One row: `attempts` and how many of them are `running`; `cost_usd`, the sum of what is known;
    `unknown`, for each ended attempt of unknown cost what was held for it, null where nothing was.
    """

    request_id: str
    router: str


class LedgerQuery(Contract, frozen=True, kw_only=True):
    """One question."""

    query: CostsQuery | AttemptsQuery | RequestQuery | HoldQuery


class LedgerPage(Contract, frozen=True, kw_only=True):
    """A page of rows, as JSON objects; money is a string. `error` is a sentence when the question failed."""

    rows: list[dict[str, Json]] = []
    cursor: str | None = None
    error: str | None = None
