"""What was spent before a budget was set counts towards it: the ledger knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import (
    Budget,
    Period,
    SpendDocument,
    document_key,
    period_bounds,
    team_scope,
    tenant_scope,
)
from keyrail.contracts.config import ConfigView
from keyrail.contracts.ledger import LedgerPage, LedgerQuery, SpendQuery
from keyrail_control.buckets import Bucket
from keyrail_control.errors import LedgerFailed

Ask = Callable[[LedgerQuery], Awaitable[LedgerPage]]


@dataclass(frozen=True, slots=True)
class Counted:
    """Whose spend in which period a budget counts."""

    tenant: str
    team: str | None
    per: Period

    @property
    def scope(self) -> str:
        """As in the documents' keys."""
        return tenant_scope(self.tenant) if self.team is None else team_scope(self.tenant, self.team)


def budgets(view: ConfigView) -> Iterator[tuple[str, str | None, Budget]]:
    """All budgets of the configuration, with their tenant and team."""
    for tenant, config in view.tenants.items():
        yield from ((tenant, None, budget) for budget in config.budgets)
        for team, its in config.teams.items():
            yield from ((tenant, team, budget) for budget in its.budgets)


def added(before: ConfigView | None, after: ConfigView) -> list[Counted]:
    """What `after` counts and `before` did not."""
    known = {Counted(tenant, team, budget.per) for tenant, team, budget in budgets(before or ConfigView())}
    wanted = dict.fromkeys(Counted(tenant, team, budget.per) for tenant, team, budget in budgets(after))
    return [each for each in wanted if each not in known]


class Seeder:
    """Makes the documents of budgets that are new. A document that is there stays as it is."""

    def __init__(self, bucket: Bucket, ask: Ask) -> None:
        self._bucket = bucket
        self._ask = ask

    async def seed(self, wanted: list[Counted]) -> None:
        """Raises Unavailable, LedgerFailed and BusError; what was made until then stays."""
        now = now_ms()
        for each in wanted:
            key = document_key(each.scope, each.per, now)
            if await self._bucket.get(key) is not None:
                continue
            since, _ = period_bounds(each.per, now)
            query = SpendQuery(tenant=each.tenant, team=each.team, since_ms=since, until_ms=now)
            spent = _cost(await self._ask(LedgerQuery(query=query)))
            await self._bucket.write(key, SpendDocument(closed_usd=spent, seeded_ms=now).encode(), None)


def _cost(page: LedgerPage) -> Decimal:
    try:
        (row,) = page.rows
        cost = Decimal(str(row["cost_usd"]))
    except (ValueError, KeyError, InvalidOperation):
        cost = Decimal("NaN")
    if not cost.is_finite():
        raise LedgerFailed("the ledger did not say what was spent")
    return cost
