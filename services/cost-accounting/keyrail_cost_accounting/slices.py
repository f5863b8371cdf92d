"""Goes through attempts slice by slice: prices them anew, or elsewhere. Calls block."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from keyrail.contracts.base import Json
from keyrail.contracts.config import ConfigView
from keyrail.contracts.ledger import LedgerPage
from keyrail.contracts.repricing import RepriceQuery, WhatIfQuery
from keyrail.pricing import catalogue, listing
from keyrail_cost_accounting import repricing, vectors, what_if
from keyrail_cost_accounting.blocks import encode
from keyrail_cost_accounting.ledger import COLUMNS, Ledger, LedgerUnavailable
from keyrail_cost_accounting.queries import Record
from keyrail_cost_accounting.repricing import Plan
from keyrail_cost_accounting.rows import ATTEMPT_COLUMNS
from keyrail_cost_accounting.statement import Statement
from keyrail_cost_accounting.vectors import SLICE, Position

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
        records, end = self._next(query, None)
        attempts = map(vectors.attempt, records)
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
        records, end = self._next(query, to)
        plan = repricing.plan(map(vectors.attempt, records), view)
        about: dict[str, Json] = {"digest": plan.digest, "models": plan.rows()}
        if query.write:
            stale = bool(plan.changes) and plan.digest != query.digest
            about["stale"] = stale
            about["written"] = 0 if stale else self._write(plan, records)
        return _page(view, about, end)

    def _next(
        self, query: RepriceQuery | WhatIfQuery, to: Position | None
    ) -> tuple[list[Record], Position | None]:
        """The rows of the slice after the query's cursor, and where it ends; None: there was nothing."""
        last_ms = self._horizon(query) if to is None else to.at_ms
        if last_ms is None:
            return [], None
        found = self._ask(vectors.attempts(query, last_ms, to))
        if to is None and len(found) > SLICE:  # many began in one millisecond
            last = vectors.attempt(found[SLICE - 1])
            return found[:SLICE], Position(last.started_ms, last.attempt_id)
        return found, to or Position(last_ms)

    def _horizon(self, query: RepriceQuery | WhatIfQuery) -> int | None:
        for within_ms in vectors.SOON_MS:
            (about,) = self._ask(vectors.horizon(query, within_ms))
            count, last_ms = about["count"], about["last_ms"]
            assert isinstance(count, int)
            if count >= SLICE or (within_ms is None and count):
                assert isinstance(last_ms, int)
                return last_ms
        return None

    def _write(self, plan: Plan, records: list[Record]) -> int:
        """All of a slice's changes, in one block."""
        if not plan.changes:
            return 0
        known = self._ledger.ask(COLUMNS, {"table": "attempts"})
        if {str(row["name"]) for row in known} != set(ATTEMPT_COLUMNS):
            raise LedgerUnavailable(
                "another release has changed the table, and this one would lose what it added"
            )
        whole = {record["attempt_id"]: record for record in records}
        rows = [vectors.priced(whole[attempt.attempt_id], price) for attempt, price in plan.changes]
        self._ledger.insert("attempts", ATTEMPT_COLUMNS, encode("attempts", rows), f"reprice-{plan.digest}")
        log.info("attempts priced again", extra={"attempts": len(rows)})
        return len(rows)

    def _ask(self, statement: Statement) -> list[Record]:
        return self._ledger.ask(statement.sql, statement.parameters)


def _page(view: ConfigView, about: dict[str, Json], end: Position | None) -> LedgerPage:
    row: dict[str, Json] = {"revision": view.revision, "catalogue": catalogue.VERSION, **about}
    return LedgerPage(rows=[row], cursor=None if end is None else str(end), error=None)
