"""Routes of budgets."""

from __future__ import annotations

from dataclasses import dataclass

from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import SpendDocument
from keyrail_control import spending
from keyrail_control.api.pages import Page
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.buckets import Bucket
from keyrail_control.configuration import Configuration
from keyrail_control.spending import BudgetRow
from keyrail_control.virtual_keys import VirtualKeys


@dataclass(frozen=True, slots=True)
class BudgetRoutes:
    """`documents` say what was spent."""

    configuration: Configuration
    tokens: VirtualKeys
    documents: Bucket

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route(
                "GET",
                "/v1/budgets",
                "Budgets of tenants, teams and virtual keys, and what is left of them",
                self._list,
                answer=Page[BudgetRow],
            ),
        )

    async def _list(self, call: Call[None]) -> Page[BudgetRow]:
        now = now_ms()
        wanted = spending.counted(await self.configuration.view(), await self.tokens.records(), now)
        found = await self.documents.some([*dict.fromkeys(each.document for each in wanted)])
        rows: list[BudgetRow] = []
        for each in wanted:
            entry = found[each.document]
            document = SpendDocument.decode(entry.value) if entry else SpendDocument()
            rows.append(spending.row(each, document, now))
        return Page(rows=rows)
