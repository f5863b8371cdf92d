"""Questions to the ledger and its answers, over the bus (control asks, cost-accounting answers)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from keyrail.contracts.base import Contract

Grouping = Literal["model", "provider", "team", "feature", "day"]
PAGE = 2_000
"""Most rows in one answer; ask again with the cursor for the rest."""


class CostsQuery(Contract):
    """Sums over attempts that started at or after `since_ms`. Without `by`: one row, the total."""

    kind: Literal["costs"] = "costs"
    tenant: str | None = None
    by: Grouping | None = None
    since_ms: int | None = None
    cursor: str | None = None


class AttemptsQuery(Contract):
    """Attempts, oldest first."""

    kind: Literal["attempts"] = "attempts"
    tenant: str | None = None
    since_ms: int | None = None
    cursor: str | None = None


class RequestQuery(Contract):
    """One request with its attempts; `rows` is empty when the ledger does not know it."""

    kind: Literal["request"] = "request"
    tenant: str | None = None
    request_id: str


class LedgerQuery(Contract):
    """One question."""

    query: CostsQuery | AttemptsQuery | RequestQuery = Field(discriminator="kind")


class LedgerPage(Contract):
    """A page of rows, as JSON objects; money is a string. `error` is a sentence when the question failed."""

    rows: list[dict[str, JsonValue]] = []
    cursor: str | None = None
    error: str | None = None
