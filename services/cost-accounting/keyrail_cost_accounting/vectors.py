"""Slices of settled attempts with what they used, oldest first, and a statement that prices some anew. Pure.

A slice ends where the cursor of its answer says. What an attempt was is a function of its events, so that
duplicates don't matter to where a slice ends; what it costs is read from deduplicated rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import msgspec

from keyrail.contracts.base import Json
from keyrail.contracts.events import RANK_SETTLED
from keyrail.contracts.repricing import RepriceQuery, WhatIfQuery
from keyrail.contracts.usage import Price, Usage
from keyrail_cost_accounting.queries import BadCursor
from keyrail_cost_accounting.statement import Parameters, Statement

SLICE = 2_000
"""Attempts that one question looks at: pricing them takes well below a second."""
MOST_AT_ONCE = 250
"""Rows written by one statement: their values travel in its URL."""

_COUNTS = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "searches",
)  # fmt: skip
_AS_IS = ("provider", "model", "reference", "estimated", "price_source", "price_version", "rank")
_MONEY = ("cost_usd", "uncached_usd", "reference_usd")
_COLUMNS = ", ".join(
    [
        "toString(a.attempt_id) AS attempt_id",
        "toUnixTimestamp64Milli(a.started_at) AS started_ms",
        *(f"a.{name} AS {name}" for name in (*_COUNTS, *_AS_IS, "served_tier", "region", "usage_raw")),
        *(f"toString(a.{name}) AS {name}" for name in _MONEY),
    ]
)
_WITH_USAGE = (
    f"a.rank >= {RANK_SETTLED} AND a.status IN ('ok', 'failed', 'cancelled')"
    " AND (isNotNull(a.input_tokens) OR isNotNull(a.output_tokens))"
)
_OURS_TO_PRICE = " AND ifNull(a.price_source, '') NOT IN ('provider', 'sandbox', 'not-billed')"
_BILLED = " AND ifNull(a.price_source, '') != 'not-billed'"
_OBJECT = msgspec.json.Decoder(dict[str, Any])

Query = RepriceQuery | WhatIfQuery


@dataclass(frozen=True, slots=True)
class Attempt:
    """What of an attempt counts for its price."""

    attempt_id: str
    started_ms: int
    rank: int
    provider: str
    model: str
    reference: str | None
    usage: Usage
    price: Price


@dataclass(frozen=True, slots=True)
class Position:
    """Everything that started before `at_ms` is behind; of what started then, up to `attempt_id` (None:
    all)."""

    at_ms: int
    attempt_id: str | None = None

    def __str__(self) -> str:
        return f"{self.at_ms} {self.attempt_id or ''}"


def position(cursor: str) -> Position:
    """Where a slice ended. Raises BadCursor."""
    at, _, id = cursor.partition(" ")
    try:
        return Position(int(at), str(UUID(id)) if id else None)
    except ValueError:
        raise BadCursor("the cursor is not one that an earlier page gave") from None


def horizon(query: Query) -> Statement:
    """One row: `count`, and `last_ms`, when the last of the next rows (each version counts) started."""
    where, parameters = _range(query)
    return Statement(
        "SELECT count() AS count, toUnixTimestamp64Milli(max(at)) AS last_ms FROM"
        f" (SELECT a.started_at AS at FROM attempts AS a WHERE {where} ORDER BY at LIMIT {SLICE})",
        parameters,
    )


def attempts(query: Query, last_ms: int, to: Position | None) -> Statement:
    """The attempts of a slice that ends at `to`, or when `last_ms` ends: one more than a slice holds at
    most."""
    where, parameters = _range(query)
    where += " AND a.started_at <= fromUnixTimestamp64Milli({last:Int64}, 'UTC')"
    parameters["last"] = last_ms
    if to is not None and to.attempt_id is not None:
        where += (
            " AND (a.started_at, a.attempt_id) <= (fromUnixTimestamp64Milli({last:Int64}, 'UTC'), {to:UUID})"
        )
        parameters["to"] = to.attempt_id
    which = _OURS_TO_PRICE if isinstance(query, RepriceQuery) else _BILLED
    return Statement(
        f"SELECT {_COLUMNS} FROM attempts AS a FINAL WHERE {where} AND {_WITH_USAGE}{which}"
        f" ORDER BY a.started_at, a.attempt_id LIMIT {SLICE + 1}",
        parameters,
    )


def attempt(row: dict[str, Json]) -> Attempt:
    """An attempt from its row."""
    get = cast("dict[str, Any]", row)
    raw = get["usage_raw"]
    return Attempt(
        attempt_id=get["attempt_id"],
        started_ms=get["started_ms"],
        rank=get["rank"],
        provider=get["provider"],
        model=get["model"],
        reference=get["reference"],
        usage=Usage(
            **{name: get[name] for name in _COUNTS},
            served_tier=get["served_tier"],
            region=get["region"],
            estimated=get["estimated"],
            raw=None if raw is None else _object(raw),
        ),
        price=Price(
            source=get["price_source"],
            version=get["price_version"],
            **{name: None if get[name] is None else Decimal(get[name]) for name in _MONEY},
        ),
    )


def priced(repriced: Sequence[tuple[Attempt, Price]]) -> Statement:
    """New versions of these rows, of which there is at least one, where they are still the version that was
    read.

    All else in them stays, columns that this release does not know included.
    """
    first = min(each.started_ms for each, _ in repriced)
    last = max(each.started_ms for each, _ in repriced)
    lists = {
        "cost_usd": [_text(price.cost_usd) for _, price in repriced],
        "uncached_usd": [_text(price.uncached_usd) for _, price in repriced],
        "reference_usd": [_text(price.reference_usd) for _, price in repriced],
        "price_source": [price.source or "" for _, price in repriced],
        "price_version": [price.version or "" for _, price in repriced],
    }
    new = ", ".join(
        f"toDecimal64OrNull({{{name}:Array(String)}}[nth], 12) AS {name}"
        if name in _MONEY
        else f"nullIf({{{name}:Array(String)}}[nth], '') AS {name}"
        for name in lists
    )
    parameters: Parameters = {
        "ids": [each.attempt_id for each, _ in repriced],
        "ranks": [str(each.rank) for each, _ in repriced],
        "first": first,
        "last": last,
        **lists,
    }
    return Statement(
        f"INSERT INTO attempts SELECT * EXCEPT (nth) REPLACE (toUInt8(greatest(rank + 1, 3)) AS rank, {new})"
        " FROM (SELECT *, indexOf({ids:Array(UUID)}, attempt_id) AS nth FROM attempts FINAL"
        " WHERE started_at >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')"
        " AND started_at <= fromUnixTimestamp64Milli({last:Int64}, 'UTC')"
        " AND attempt_id IN {ids:Array(UUID)} AND toString(rank) = {ranks:Array(String)}[nth])",
        parameters,
    )


def _range(query: Query) -> tuple[str, Parameters]:
    conditions = [
        "a.started_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')",
        "a.started_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')",
    ]
    parameters: Parameters = {"since": query.since_ms, "until": query.until_ms}
    if isinstance(query, RepriceQuery):
        names = {"provider": query.provider, "model": query.model}
    else:
        names = {"route": query.route, "team": query.team, "feature": query.feature}
    for column, value in names.items():
        if value is not None:
            conditions.append(f"a.{column} = {{{column}:String}}")
            parameters[column] = value
    if query.cursor is not None:
        after = position(query.cursor)
        begin = "fromUnixTimestamp64Milli({after:Int64}, 'UTC')"
        parameters["after"] = after.at_ms
        if after.attempt_id is None:
            conditions.append(f"a.started_at > {begin}")
        else:
            conditions += [
                f"a.started_at >= {begin}",
                f"(a.started_at, a.attempt_id) > ({begin}, {{after_id:UUID}})",
            ]
            parameters["after_id"] = after.attempt_id
    return " AND ".join(conditions), parameters


def _object(text: str) -> dict[str, Any] | None:
    try:
        return _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None  # a provider's own object, kept as it came


def _text(amount: Decimal | None) -> str:
    return "" if amount is None else format(amount, "f")
