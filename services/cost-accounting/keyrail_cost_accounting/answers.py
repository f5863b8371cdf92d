"""Answers questions to the ledger: bytes of a LedgerQuery in, bytes of a LedgerPage out, always."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from keyrail.contracts.base import Json
from keyrail.contracts.ledger import (
    AlertsQuery,
    AttemptsQuery,
    CostsQuery,
    HoldQuery,
    LedgerPage,
    LedgerQuery,
    Question,
    RequestQuery,
    SpendQuery,
)
from keyrail.contracts.repricing import PricesQuery, RepriceQuery, WhatIfQuery
from keyrail_cost_accounting import price_queries, queries, spending
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.slices import Slices, Terms
from keyrail_cost_accounting.statement import Statement

log = logging.getLogger(__name__)


class Answers:
    """Asks the ledger. Each question takes a thread for as long as its query runs."""

    def __init__(self, ledger: Ledger, terms: Terms) -> None:
        self._ledger = ledger
        self._slices = Slices(ledger, terms)

    async def answer(self, data: bytes) -> bytes:
        """Whatever goes wrong is in the page's `error`."""
        try:
            query = LedgerQuery.decode(data).query
            page = await asyncio.to_thread(self._page, query)
        except queries.BadCursor as error:
            page = LedgerPage(error=str(error))
        except ValueError:
            page = LedgerPage(error="the question cannot be read")
        except LedgerUnavailable as error:
            log.warning("question not answered", extra={"error": str(error)[:500]})
            page = LedgerPage(error="the ledger does not answer at the moment")
        except Exception:  # an asker without an answer would wait for its whole timeout
            log.exception("question not answered")
            page = LedgerPage(error="internal error")
        return page.encode()

    def _page(self, query: Question) -> LedgerPage:
        match query:
            case RequestQuery():
                return self._request(query)
            case CostsQuery():
                return queries.page(query, self._rows(queries.costs(query)))
            case AttemptsQuery():
                return queries.page(query, self._rows(queries.attempts(query)))
            case AlertsQuery():
                return queries.page(query, self._rows(queries.alerts(query)))
            case SpendQuery():
                return LedgerPage(rows=self._rows(spending.spend(query)))
            case HoldQuery():
                return LedgerPage(rows=self._rows(spending.hold(query)))
            case PricesQuery():
                return price_queries.page(query, self._rows(price_queries.history(query)))
            case RepriceQuery():
                return self._slices.reprice(query)
            case WhatIfQuery():
                return self._slices.what_if(query)

    def _rows(self, statement: Statement) -> list[dict[str, Json]]:
        return self._ledger.ask(statement.sql, statement.parameters)

    def _request(self, query: RequestQuery) -> LedgerPage:
        statements = queries.request(query)
        if statements is None:
            return LedgerPage()
        own, its_attempts = (self._rows(each) for each in statements)
        return queries.request_page(own, its_attempts, datetime.now(UTC))
