"""Answers questions to the ledger: bytes of a LedgerQuery in, bytes of a LedgerPage out, always."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from nats.errors import Error as NatsError

from keyrail.contracts.base import Json, now_ms
from keyrail.contracts.contents import ContentQuery, ContentsQuery, DeleteContents
from keyrail.contracts.decisions import DecisionsQuery, VerdictsQuery
from keyrail.contracts.ledger import (
    AlertsQuery,
    AttemptsQuery,
    CostsQuery,
    HoldQuery,
    Immediate,
    LedgerPage,
    LedgerQuery,
    RequestQuery,
    SpendQuery,
)
from keyrail.contracts.reports import KeySumsQuery, ReportLinesQuery, StoreReport
from keyrail.contracts.repricing import PricesQuery, RepriceQuery, WhatIfQuery
from keyrail_cost_accounting import (
    content_queries,
    costs,
    decision_queries,
    price_queries,
    queries,
    reports,
    spending,
)
from keyrail_cost_accounting.content_deletion import Deletions
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.slices import Slices, Terms
from keyrail_cost_accounting.statement import Statement

log = logging.getLogger(__name__)

PATIENCE_S = 9.0
"""Those who ask wait for ten seconds: a ledger that hangs is an answer too."""
LookUp = (
    CostsQuery
    | AttemptsQuery
    | AlertsQuery
    | DecisionsQuery
    | VerdictsQuery
    | SpendQuery
    | HoldQuery
    | ContentQuery
    | ReportLinesQuery
    | KeySumsQuery
    | PricesQuery
)
THREADS = 4
"""As many as there are questions at a time."""


class Answers:
    """Asks the ledger. Each question takes a thread for as long as its query runs."""

    def __init__(
        self,
        ledger: Ledger,
        deletions: Deletions,
        terms: Terms,
        caught_up: Callable[[], bool] = lambda: True,
    ) -> None:
        """`caught_up`: whether all events that have come are in the ledger."""
        self._ledger = ledger
        self._caught_up = caught_up
        self._threads = ThreadPoolExecutor(THREADS, "question")
        self._deletions = deletions
        self._slices = Slices(ledger, terms)

    async def answer(self, data: bytes) -> bytes:
        """Whatever goes wrong is in the page's `error`."""
        try:
            query = LedgerQuery.decode(data).query
            if isinstance(query, DeleteContents):
                page = await self._deletions.answer(query)
            else:
                asked = asyncio.get_running_loop().run_in_executor(self._threads, self._page, query)
                page = await asyncio.wait_for(asked, PATIENCE_S)
        except queries.BadCursor as error:
            page = LedgerPage(error=str(error))
        except ValueError:
            page = LedgerPage(error="the question cannot be read")
        except TimeoutError:
            log.warning("question not answered", extra={"error": f"nothing within {PATIENCE_S:.0f} s"})
            page = LedgerPage(error="the ledger does not answer at the moment")
        except NatsError as error:
            log.warning("question not answered", extra={"error": type(error).__name__})
            page = LedgerPage(error="the bus does not answer at the moment")
        except LedgerUnavailable as error:
            log.warning("question not answered", extra={"error": str(error)})
            page = LedgerPage(error="the ledger does not answer at the moment")
        except Exception:  # an asker without an answer would wait for its whole timeout
            log.exception("question not answered")
            page = LedgerPage(error="internal error")
        return page.encode()

    def _page(self, query: Immediate) -> LedgerPage:
        if isinstance(query, HoldQuery) and not self._caught_up():
            # what it asks for may be among the events that wait: an answer now would forget what was spent
            return LedgerPage(error="the ledger has not all events yet")
        match query:
            case RequestQuery():
                return self._request(query)
            case ContentsQuery():
                return content_queries.page(self._rows(content_queries.listed(query)))
            case StoreReport():
                return reports.store(self._ledger, query)
            case RepriceQuery():
                return self._slices.reprice(query)
            case WhatIfQuery():
                return self._slices.what_if(query)
            case _:
                return self._looked_up(query)

    def _looked_up(self, query: LookUp) -> LedgerPage:
        """What one statement answers."""
        match query:
            case CostsQuery():
                return queries.page(query, self._rows(costs.costs(query, now_ms())))
            case AttemptsQuery():
                return queries.page(query, self._rows(queries.attempts(query)))
            case AlertsQuery():
                return queries.page(query, self._rows(queries.alerts(query)))
            case DecisionsQuery():
                return decision_queries.decisions_page(query, self._rows(decision_queries.decisions(query)))
            case VerdictsQuery():
                return decision_queries.verdicts_page(self._rows(decision_queries.verdicts(query)))
            case SpendQuery():
                return LedgerPage(rows=self._rows(spending.spend(query)))
            case HoldQuery():
                return LedgerPage(rows=self._rows(spending.hold(query)))
            case ContentQuery():
                return LedgerPage(rows=self._rows(content_queries.piece(query)))
            case ReportLinesQuery():
                return reports.page(self._rows(reports.lines(query)))
            case KeySumsQuery():
                return reports.page(self._rows(reports.sums(query)))
            case PricesQuery():
                return price_queries.page(query, self._rows(price_queries.history(query)))

    def _rows(self, statement: Statement | None) -> list[dict[str, Json]]:
        """None: there can be none."""
        if statement is None:
            return []
        return self._ledger.ask(statement.sql, statement.parameters)

    def _request(self, query: RequestQuery) -> LedgerPage:
        statements = queries.request(query)
        if statements is None:
            return LedgerPage()
        own, its_attempts = (self._rows(each) for each in statements)
        return queries.request_page(own, its_attempts, datetime.now(UTC))
