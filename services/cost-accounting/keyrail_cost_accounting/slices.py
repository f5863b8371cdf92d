"""Goes through attempts slice by slice: prices them anew, or elsewhere. Calls block."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from keyrail.contracts.base import Json
from keyrail.contracts.config import ConfigView
from keyrail.contracts.ledger import LedgerPage
from keyrail.contracts.repricing import RepriceQuery, WhatIfQuery
from keyrail.pricing import catalogue, listing
from keyrail_cost_accounting import repricing, vectors, what_if
from keyrail_cost_accounting.ledger import Ledger
from keyrail_cost_accounting.repricing import Plan
from keyrail_cost_accounting.statement import Statement
from keyrail_cost_accounting.vectors import SLICE, Attempt, Position

log = logging.getLogger(__name__)

Terms = Callable[[], ConfigView | None]
"""The configuration in force, None while that is not known yet."""
_NOT_YET = LedgerPage(error="the prices in force are not known yet: try again in a moment")


class Slices:
    """One slice a question. Writing takes turns: two who re-price at once do the work once."""

    def __init__(self, ledger: Ledger, terms: Terms) -> None:
        self._ledger = ledger
        self._terms = terms
        self._writing = threading.Lock()

    def reprice(self, query: RepriceQuery) -> LedgerPage:
        """As RepriceQuery says. Raises LedgerUnavailable and BadCursor."""
        if not query.write:
            return self._reprice(query)
        with self._writing:
            return self._reprice(query)

    def what_if(self, query: WhatIfQuery) -> LedgerPage:
        """As WhatIfQuery says. Raises LedgerUnavailable and BadCursor."""
        view = self._terms()
        if view is None:
            return _NOT_YET
        attempts, end = self._next(query, None)
        found = what_if.sums(attempts, what_if.elsewhere(query, view))
        target = query.model
        about: dict[str, Json] = {
            "context": None if target is None else listing.context_window(target.provider, target.model),
            "models": what_if.rows(found),
        }
        return _page(view, about, end)

    def _reprice(self, query: RepriceQuery) -> LedgerPage:
        view = self._terms()
        if view is None:
            return _NOT_YET
        to = None if query.to is None else vectors.position(query.to)
        attempts, end = self._next(query, to)
        plan = repricing.plan(attempts, view)
        about: dict[str, Json] = {"digest": plan.digest, "models": plan.rows()}
        if query.write:
            stale = bool(plan.changes) and plan.digest != query.digest
            about["stale"] = stale
            about["written"] = 0 if stale else self._write(plan)
        return _page(view, about, end)

    def _next(
        self, query: RepriceQuery | WhatIfQuery, to: Position | None
    ) -> tuple[list[Attempt], Position | None]:
        """The attempts of the slice after the query's cursor, and where it ends; None: there was nothing."""
        if to is None:
            (about,) = self._ask(vectors.horizon(query))
            if not about["count"]:
                return [], None
            last_ms = about["last_ms"]
            assert isinstance(last_ms, int)
        else:
            last_ms = to.at_ms
        rows = self._ask(vectors.attempts(query, last_ms, to))
        found = [vectors.attempt(row) for row in rows[:SLICE]]
        if to is None and len(rows) > SLICE:  # many began in one millisecond
            return found, Position(found[-1].started_ms, found[-1].attempt_id)
        return found, to or Position(last_ms)

    def _write(self, plan: Plan) -> int:
        for part in repricing.in_statements(plan.changes, vectors.MOST_AT_ONCE):
            statement = vectors.priced(part)
            self._ledger.command(statement.sql, statement.parameters)
        if plan.changes:
            log.info("attempts priced again", extra={"attempts": len(plan.changes)})
        return len(plan.changes)

    def _ask(self, statement: Statement) -> Sequence[dict[str, Json]]:
        return self._ledger.ask(statement.sql, statement.parameters)


def _page(view: ConfigView, about: dict[str, Json], end: Position | None) -> LedgerPage:
    row: dict[str, Json] = {"revision": view.revision, "catalogue": catalogue.VERSION, **about}
    return LedgerPage(rows=[row], cursor=None if end is None else str(end), error=None)
