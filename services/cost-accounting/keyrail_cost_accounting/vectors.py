"""Slices of settled attempts with what they used, oldest first, and their rows priced anew. Pure.

A slice ends where the cursor of its answer says. What an attempt was is a function of its events, so that
duplicates don't matter to where a slice ends; what it costs is read from deduplicated rows.
"""

from __future__ import annotations

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
from keyrail_cost_accounting.rows import ATTEMPT_COLUMNS, Row, Value
from keyrail_cost_accounting.statement import Parameters, Statement

SLICE = 1_000
"""Attempts that one question looks at: pricing them takes well below a second."""
SOON_MS = (600_000, 6 * 3_600_000, 7 * 86_400_000, None)
"""How far ahead a slice's end is looked for."""
RANK_REPRICED = 3
"""At least; one more each time."""

_COUNTS = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "searches",
)  # fmt: skip
_IDS = frozenset({"attempt_id", "request_id"})
_MONEY = ("cost_usd", "uncached_usd", "reference_usd")
_OTHER_MONEY = frozenset({"held_usd"})
_TIMES = frozenset({"started_at", "received_at", "settled_at"})
_NEEDED = (
    "attempt_id", "started_at", "provider", "model", "reference", "estimated", "rank", "served_tier",
    "region", "usage_raw", "price_source", "price_version", *_COUNTS, *_MONEY,
)  # fmt: skip
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


def horizon(query: Query, within_ms: int | None) -> Statement:
    """One row: `count`, and `last_ms`, when the last of the next rows (each version counts) started.

    With `within_ms` only of those that started so soon: the table need not be read to its end.
    """
    where, parameters = _range(query)
    if within_ms is not None:
        begin = query.since_ms if query.cursor is None else position(query.cursor).at_ms
        where += " AND a.started_at <= fromUnixTimestamp64Milli({soon:Int64}, 'UTC')"
        parameters["soon"] = begin + within_ms
    return Statement(
        "SELECT count() AS count, toUnixTimestamp64Milli(max(at)) AS last_ms FROM"
        f" (SELECT a.started_at AS at FROM attempts AS a WHERE {where} ORDER BY at LIMIT {SLICE})",
        parameters,
    )


def attempts(query: Query, last_ms: int, to: Position | None) -> Statement:
    """The attempts of a slice that ends at `to`, or when `last_ms` ends: one more than a slice holds at most.

    Whole rows where they are to be written.
    """
    where, parameters = _range(query)
    where += " AND a.started_at <= fromUnixTimestamp64Milli({last:Int64}, 'UTC')"
    parameters["last"] = last_ms
    if to is not None and to.attempt_id is not None:
        where += (
            " AND (a.started_at, a.attempt_id) <= (fromUnixTimestamp64Milli({last:Int64}, 'UTC'), {to:UUID})"
        )
        parameters["to"] = to.attempt_id
    which = _OURS_TO_PRICE if isinstance(query, RepriceQuery) else _BILLED
    whole = isinstance(query, RepriceQuery) and query.write
    columns = ", ".join(map(_column, ATTEMPT_COLUMNS if whole else _NEEDED))
    return Statement(
        f"SELECT {columns} FROM attempts AS a FINAL WHERE {where} AND {_WITH_USAGE}{which}"
        f" ORDER BY a.started_at, a.attempt_id LIMIT {SLICE + 1}",
        parameters,
    )


def _column(name: str) -> str:
    if name in _IDS or name in _MONEY or name in _OTHER_MONEY:
        return f"toString(a.{name}) AS {name}"
    return f"toUnixTimestamp64Milli(a.{name}) AS {name}" if name in _TIMES else f"a.{name} AS {name}"


def attempt(row: dict[str, Json]) -> Attempt:
    """An attempt from its row."""
    get = cast("dict[str, Any]", row)
    raw = get["usage_raw"]
    return Attempt(
        attempt_id=get["attempt_id"],
        started_ms=get["started_at"],
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
            cost_usd=_decimal(get["cost_usd"]),
            uncached_usd=_decimal(get["uncached_usd"]),
            reference_usd=_decimal(get["reference_usd"]),
        ),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def priced(record: dict[str, Json], price: Price) -> Row:
    """The next version of a whole row: all else in it stays."""
    changed: dict[str, Value] = {
        "rank": max(cast("int", record["rank"]) + 1, RANK_REPRICED),
        "cost_usd": price.cost_usd,
        "price_source": price.source,
        "price_version": price.version,
        "uncached_usd": price.uncached_usd,
        "reference_usd": price.reference_usd,
    }
    return tuple(changed[name] if name in changed else _value(name, record[name]) for name in ATTEMPT_COLUMNS)


def _value(name: str, value: Json) -> Value:
    """As rows have it that are made from events."""
    if name in _IDS:
        return UUID(str(value)).bytes
    if name in _OTHER_MONEY and value is not None:
        return Decimal(str(value))
    return cast("Value", value)


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
