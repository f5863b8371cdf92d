"""Questions to the table of prices, to SQL. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keyrail.contracts.base import Json
from keyrail.contracts.ledger import PAGE, LedgerPage
from keyrail.contracts.repricing import PricesQuery
from keyrail_cost_accounting.queries import BadCursor
from keyrail_cost_accounting.statement import Parameters, Statement
from keyrail_cost_accounting.versions import ANY_MODEL, RATES

_PAGE: Final = min(PAGE, 1_000)  # some 600 bytes each
_MONEY = ", ".join(f"toString(p.{name}) AS {name}" for name in (*RATES, "discount"))
_VERSION = (
    "p.provider AS provider, p.model AS model, toUnixTimestamp64Milli(p.since) AS since_ms,"
    " p.revision AS revision, toUnixTimestamp64Milli(p.recorded_at) AS recorded_ms, p.removed AS removed,"
    f" {_MONEY}, mapApply((k, v) -> (k, toString(v)), p.multipliers) AS multipliers"
)

RECORDED: Final = Statement(
    f"SELECT {_VERSION} FROM prices AS p FINAL ORDER BY p.recorded_at DESC, p.revision DESC"
    " LIMIT 1 BY p.provider, p.model, p.since"
)
"""The newest version of each price, removed ones included."""


def history(query: PricesQuery) -> Statement:
    """Versions of a model's price, oldest first. Raises BadCursor."""
    parameters: Parameters = {
        "provider": query.provider,
        "models": [query.model, ANY_MODEL],
    }
    where = "p.provider = {provider:String} AND p.model IN {models:Array(String)}"
    if query.cursor is not None:
        if not (query.cursor.isascii() and query.cursor.isdecimal()):
            raise BadCursor("the cursor is not one that an earlier page gave")
        parameters["from"] = int(query.cursor)
    skip = " OFFSET {from:UInt64}" if query.cursor is not None else ""
    return Statement(
        f"SELECT {_VERSION} FROM prices AS p FINAL WHERE {where}"
        f" ORDER BY p.recorded_at, p.revision, p.model, p.since LIMIT {_PAGE + 1}{skip}",
        parameters,
    )


def page(query: PricesQuery, rows: Sequence[dict[str, Json]]) -> LedgerPage:
    """Rows that fit one message, with a cursor when there are more."""
    more = len(rows) > _PAGE
    cursor = str(int(query.cursor or 0) + _PAGE) if more else None
    return LedgerPage(rows=list(rows[:_PAGE]), cursor=cursor, error=None)
