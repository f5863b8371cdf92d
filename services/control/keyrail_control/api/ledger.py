"""Routes that ask the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from keyrail.contracts.base import now_ms
from keyrail.contracts.decisions import DecisionsQuery
from keyrail.contracts.ledger import (
    AlertsQuery,
    AttemptsQuery,
    CostsQuery,
    Grouping,
    LedgerPage,
    LedgerQuery,
    RequestQuery,
)
from keyrail_control import texts
from keyrail_control.api.pages import Rows
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.errors import Invalid, Unknown
from keyrail_control.seeding import Ask

_SINCE: Final = {
    "since": "a span back from now (30m, 1h, 7d) or an RFC 3339 time; without it everything",
    "cursor": "from the page before",
}
_UNTIL: Final = {"until": "the same; without it now"}
_BY: Final = {"by": f"one row for each: {', '.join(get_args(Grouping))}; without it the total"}


@dataclass(frozen=True, slots=True)
class LedgerRoutes:
    """`ask` raises Unavailable and LedgerFailed."""

    ask: Ask

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route(
                "GET",
                "/v1/costs",
                "What was spent, on what",
                self._costs,
                answer=Rows,
                query=_BY | _SINCE | _UNTIL,
                errors=(502,),
            ),
            Route(
                "GET",
                "/v1/attempts",
                "Attempts, oldest first",
                self._attempts,
                answer=Rows,
                query=_SINCE,
                errors=(502,),
            ),
            Route(
                "GET",
                "/v1/requests/{id}",
                "One request with its attempts and how it was routed",
                self._request,
                answer=dict[str, Any],
                errors=(404, 502),
            ),
            Route(
                "GET",
                "/v1/decisions",
                "Decisions of routing, of each tenant oldest first",
                self._decisions,
                answer=Rows,
                query={"tenant": "of this tenant alone", "route": "of this route alone"} | _SINCE | _UNTIL,
                errors=(502,),
            ),
            Route(
                "GET",
                "/v1/alerts",
                "What somebody should look at, oldest first",
                self._alerts,
                answer=Rows,
                query=_SINCE,
                errors=(502,),
            ),
        )

    async def _costs(self, call: Call[None]) -> Rows:
        by = call.query.get("by")
        if by is not None and by not in get_args(Grouping):
            raise Invalid(f"by: one of {', '.join(get_args(Grouping))}")
        query = CostsQuery(
            by=cast("Grouping | None", by),
            since_ms=_since(call),
            until_ms=_since(call, "until"),
            cursor=_cursor(call),
        )
        return _rows(await self.ask(LedgerQuery(query=query)))

    async def _attempts(self, call: Call[None]) -> Rows:
        query = AttemptsQuery(since_ms=_since(call), cursor=_cursor(call))
        return _rows(await self.ask(LedgerQuery(query=query)))

    async def _request(self, call: Call[None]) -> dict[str, Any]:
        id = call.path["id"]
        page, decided = await asyncio.gather(
            self.ask(LedgerQuery(query=RequestQuery(request_id=id))),
            self.ask(LedgerQuery(query=DecisionsQuery(request_id=id))),
        )
        if not page.rows:
            raise Unknown("the ledger does not know this request")
        return page.rows[0] | {"decisions": decided.rows}

    async def _decisions(self, call: Call[None]) -> Rows:
        query = DecisionsQuery(
            tenant=call.query.get("tenant"),
            route=call.query.get("route"),
            since_ms=_since(call),
            until_ms=_since(call, "until"),
            cursor=_cursor(call),
        )
        return _rows(await self.ask(LedgerQuery(query=query)))

    async def _alerts(self, call: Call[None]) -> Rows:
        query = AlertsQuery(since_ms=_since(call), cursor=_cursor(call))
        return _rows(await self.ask(LedgerQuery(query=query)))


def _since(call: Call[None], name: str = "since") -> int | None:
    text = call.query.get(name)
    return None if text is None else texts.before(name, text, now_ms())


def _cursor(call: Call[None]) -> str | None:
    return call.query.get("cursor")


def _rows(page: LedgerPage) -> Rows:
    return Rows(rows=page.rows, cursor=page.cursor)
