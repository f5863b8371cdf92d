"""Routes of providers' reports: what is kept of them, and what the ledger has beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

import msgspec

from keyrail.contracts.base import now_ms
from keyrail.contracts.ledger import LedgerQuery
from keyrail.contracts.reports import MOST_LINES, KeySumsQuery, ReportLine, ReportLinesQuery, StoreReport
from keyrail.keys.base import check_name
from keyrail_control.api.bodies import Body
from keyrail_control.api.pages import Rows
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.errors import Invalid
from keyrail_control.seeding import Ask

LONGEST_DAYS: Final = 400
AHEAD_MS: Final = 300_000
_DAYS: Final = {
    "from": "the first day (UTC), YYYY-MM-DD",
    "to": "the last day, included",
    "cursor": "from the page before",
}


class StoreLines(Body, frozen=True, kw_only=True):
    """A page of an import. All pages have its id (a UUID) and its time; of a day the newest import counts."""

    import_id: str
    imported_ms: int
    lines: list[ReportLine]


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """How many lines were kept."""

    stored: int


@dataclass(frozen=True, slots=True)
class ReportRoutes:
    """`ask` raises Unavailable and LedgerFailed."""

    ask: Ask

    def routes(self) -> Routes:
        """This part of the table."""
        path, failed = "/v1/reports/{provider}", (502,)
        return (
            Route(
                "POST",
                path,
                "Keep lines of a provider's report",
                self._store,
                StoreLines,
                Stored,
                errors=failed,
            ),
            Route(
                "GET",
                path,
                "What a provider's newest reports say of these days",
                self._lines,
                answer=Rows,
                query=_DAYS,
                errors=failed,
            ),
            Route(
                "GET",
                f"{path}/ledger",
                "What the ledger has at a provider by day, key and model",
                self._sums,
                answer=Rows,
                query=_DAYS,
                errors=failed,
            ),
        )

    async def _store(self, call: Call[StoreLines]) -> Stored:
        body = call.body
        if len(body.lines) > MOST_LINES:
            raise Invalid(f"lines: at most {MOST_LINES} at a time")
        if not 0 < body.imported_ms < now_ms() + AHEAD_MS:
            raise Invalid("imported_ms: is not a time, or lies ahead")
        try:
            import_id = str(UUID(body.import_id))
        except ValueError:
            raise Invalid("import_id: must be a UUID") from None
        for line in body.lines:
            _date("lines.day", line.day)
        report = StoreReport(
            provider=_provider(call.path),
            import_id=import_id,
            imported_ms=body.imported_ms,
            lines=body.lines,
        )
        await self.ask(LedgerQuery(query=report))
        return Stored(stored=len(body.lines))

    async def _lines(self, call: Call[None]) -> Rows:
        since, until = _days(call)
        query = ReportLinesQuery(
            provider=_provider(call.path), since_day=since, until_day=until, cursor=call.query.get("cursor")
        )
        page = await self.ask(LedgerQuery(query=query))
        return Rows(rows=page.rows, cursor=page.cursor)

    async def _sums(self, call: Call[None]) -> Rows:
        since, until = _days(call)
        query = KeySumsQuery(
            provider=_provider(call.path), since_day=since, until_day=until, cursor=call.query.get("cursor")
        )
        page = await self.ask(LedgerQuery(query=query))
        return Rows(rows=page.rows, cursor=page.cursor)


def _provider(path: Mapping[str, str]) -> str:

    name = path["provider"]
    check_name("provider", name)
    return name


def _days(call: Call[None]) -> tuple[str, str]:
    if "from" not in call.query or "to" not in call.query:
        raise Invalid("from and to are needed")
    since, until = _date("from", call.query["from"]), _date("to", call.query["to"])
    if not 0 <= (until - since).days <= LONGEST_DAYS:
        raise Invalid(f"from and to: the days must be in order, {LONGEST_DAYS} at most")
    return since.isoformat(), until.isoformat()


def _date(name: str, text: str) -> date:
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Invalid(f"{name}: must be a day, YYYY-MM-DD")
