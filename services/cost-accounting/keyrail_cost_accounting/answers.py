"""Answers questions to the ledger: bytes of a LedgerQuery in, bytes of a LedgerPage out, always."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from keyrail.contracts.ledger import AttemptsQuery, CostsQuery, LedgerPage, LedgerQuery, RequestQuery
from keyrail_cost_accounting import queries
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable

log = logging.getLogger(__name__)


class Answers:
    """Asks the ledger. Each question takes a thread for as long as its query runs."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

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

    def _page(self, query: CostsQuery | AttemptsQuery | RequestQuery) -> LedgerPage:
        if isinstance(query, RequestQuery):
            return self._request(query)
        statement = queries.costs(query) if isinstance(query, CostsQuery) else queries.attempts(query)
        return queries.page(query, self._ledger.ask(statement.sql, statement.parameters))

    def _request(self, query: RequestQuery) -> LedgerPage:
        statements = queries.request(query)
        if statements is None:
            return LedgerPage()
        own, its_attempts = (self._ledger.ask(each.sql, each.parameters) for each in statements)
        return queries.request_page(own, its_attempts, datetime.now(UTC))
