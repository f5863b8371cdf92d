"""Routes of budgets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import SpendDocument
from keyrail.contracts.config import ConfigView, TokenRecord
from keyrail_control import spending
from keyrail_control.api.pages import Page
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.buckets import Bucket
from keyrail_control.spending import BudgetRow

AT_ONCE: Final = 64
"""How many documents are asked for at the same time."""


@dataclass(frozen=True, slots=True)
class BudgetRoutes:
    """`documents` say what was spent."""

    view: Callable[[], Awaitable[ConfigView]]
    tokens: Callable[[], Awaitable[list[TokenRecord]]]
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
        wanted = spending.counted(await self.view(), await self.tokens(), now)
        keys = list(dict.fromkeys(each.document for each in wanted))
        found: dict[str, SpendDocument] = {}
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            found |= zip(some, await asyncio.gather(*map(self._document, some)), strict=True)
        return Page(rows=[spending.row(each, found[each.document], now) for each in wanted])

    async def _document(self, key: str) -> SpendDocument:
        entry = await self.documents.get(key)
        return SpendDocument.decode(entry.value) if entry else SpendDocument()
