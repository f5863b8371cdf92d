"""What `GET /v1/budgets` says: each budget, and what of it is spent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from keyrail.contracts.budgets import (
    Budget,
    Period,
    SpendDocument,
    document_key,
    key_scope,
    period_bounds,
    team_scope,
    tenant_scope,
)
from keyrail.contracts.config import ConfigView, TokenRecord
from keyrail_control import seeding


class BudgetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A budget in the period that runs now, until `until_ms`.

    `committed_usd` is what is spent, and what routers may spend without asking again; `left_usd`, what none
    of them has yet: below 0 where more was spent than a soft budget, or one that was lowered, allows.
    """

    scope: str
    period: Period
    usd: Decimal
    soft: bool
    spent_usd: Decimal
    committed_usd: Decimal
    left_usd: Decimal
    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Counted:
    """A budget and the key of the document that says what of it is spent."""

    scope: str
    budget: Budget
    document: str


def counted(view: ConfigView, tokens: Iterable[TokenRecord], now_ms: int) -> list[Counted]:
    """All budgets: of tenants, teams, and keys that are good for something."""
    return [
        Counted(scope, budget, document_key(scope, budget.per, now_ms))
        for scope, budget in _scoped(view, tokens, now_ms)
    ]


def row(counted: Counted, document: SpendDocument, now_ms: int) -> BudgetRow:
    """One row."""
    budget, committed = counted.budget, document.committed_usd
    since, until = period_bounds(budget.per, now_ms)
    return BudgetRow(
        scope=counted.scope,
        period=budget.per,
        usd=budget.usd,
        soft=budget.soft,
        spent_usd=document.closed_usd,
        committed_usd=committed,
        left_usd=budget.usd - committed,
        since_ms=since,
        until_ms=until,
    )


def _scoped(view: ConfigView, tokens: Iterable[TokenRecord], now_ms: int) -> Iterator[tuple[str, Budget]]:
    for tenant, team, budget in seeding.budgets(view):
        yield (tenant_scope(tenant) if team is None else team_scope(tenant, team)), budget
    for token in sorted(tokens, key=lambda each: each.id):
        if not token.revoked and (token.expires_ms is None or token.expires_ms > now_ms):
            yield from ((key_scope(token.id), budget) for budget in token.budgets)
