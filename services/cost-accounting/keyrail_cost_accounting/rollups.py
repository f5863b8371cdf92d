"""Keeps the sums by minute, hour and day. What is to be done is planned purely; the rest blocks.

A sum is never added to. Buckets with rows that are new are computed again from the deduplicated rows, and the
newest computation stands. So it does not matter how often, by how many, or how far a refresh was done; only
that a watermark is written last, when all before it is in the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keyrail_cost_accounting import measures
from keyrail_cost_accounting.ledger import Ledger
from keyrail_cost_accounting.statement import Statement

SLACK_S: Final = 90
"""What an insert takes until all see it, clocks of replicas differ, and a refresh lasts: together less."""
MINUTE, HOUR, DAY = 60, 3_600, 86_400
MINUTES_FOR_S: Final = 7 * DAY
"""How long hours are computed from minutes. Those are kept for twice as long."""
RAW_FOR_S: Final = 395 * DAY
"""How long sums are computed again: attempts are kept for 400 days, and a bucket needs all of them."""

NEW_ROWS: Final = (
    "a.inserted_at >= (SELECT max(w.watermark) FROM rollups AS w WHERE w.scope = 'costs')"
    f" - INTERVAL {SLACK_S} SECOND"
)
"""Of `attempts` as `a`: rows that the sums may lack."""


@dataclass(frozen=True, slots=True)
class Level:
    """A rollup: its table, its buckets, and how many of them one statement computes."""

    table: str
    floor: str
    seconds: int
    at_once: int


MINUTES: Final = Level("costs_minute", "toStartOfMinute", MINUTE, 120)
HOURS: Final = Level("costs_hour", "toStartOfHour", HOUR, 480)
RAW_HOURS: Final = Level("costs_hour", "toStartOfHour", HOUR, 24)
DAYS: Final = Level("costs_day", "toStartOfDay", DAY, 400)


@dataclass(frozen=True, slots=True)
class Work:
    """Starts of buckets, in seconds since 1970, to compute in this order.

    `raw_hours` are too old for the table of minutes, which need not have them: they come from attempts.
    """

    minutes: tuple[int, ...]
    raw_hours: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]


def floor(at: int, seconds: int) -> int:
    """The start of the bucket that `at` is in."""
    return at - at % seconds


def plan(dirty: Iterable[int], now: int) -> Work:
    """What to compute again when these minutes have rows that are new."""
    recent = floor(now - MINUTES_FOR_S, HOUR)
    known = [minute for minute in dirty if minute >= floor(now - RAW_FOR_S, DAY)]
    minutes = {minute for minute in known if minute >= recent}
    raw_hours = {floor(minute, HOUR) for minute in known if minute < recent}
    hours = {floor(minute, HOUR) for minute in minutes}
    days = {floor(hour, DAY) for hour in hours | raw_hours}
    return Work(tuple(sorted(minutes)), tuple(sorted(raw_hours)), tuple(sorted(hours)), tuple(sorted(days)))


def statements(work: Work) -> Iterator[Statement]:
    """Each level from the one below it, which is complete before."""
    yield from _each(MINUTES, work.minutes, None)
    yield from _each(RAW_HOURS, work.raw_hours, None)
    yield from _each(HOURS, work.hours, MINUTES)
    yield from _each(DAYS, work.days, HOURS)


def _each(level: Level, buckets: Sequence[int], source: Level | None) -> Iterator[Statement]:
    for start in range(0, len(buckets), level.at_once):
        yield _computation(level, buckets[start : start + level.at_once], source)


def _computation(level: Level, buckets: Sequence[int], source: Level | None) -> Statement:
    """The engine reads its clock before it reads rows, so that of two the newer has seen more.

    Groups that a bucket has no more are in it with nothing: else what was computed of them before stood.
    """
    chosen = "(SELECT toDateTime(arrayJoin({buckets:Array(UInt32)}), 'UTC'))"

    def among(at: str) -> str:
        first, end = moment("first", at), moment("end", at)
        return f"{at} >= {first} AND {at} < {end} AND {level.floor}({at}) IN {chosen}"

    if source is None:
        sums = measures.over_attempts(level.floor, among("a.started_at"))
    else:
        sums = measures.over(f"{source.table} AS s FINAL WHERE {among('s.bucket')}", level.floor)
    columns = ", ".join(measures.COLUMNS)
    before = f"{level.table} AS s FINAL WHERE s.bucket IN {chosen}"
    nothing = ", ".join(
        f"NULL AS {name}" if name.endswith("_tokens") else f"s.{name} * 0 AS {name}"
        for name in measures.MEASURES
    )
    groups = ", ".join(f"s.{name} AS {name}" for name in ("tenant", "bucket", *measures.DIMENSIONS))
    union = f"SELECT {columns} FROM ({sums}) UNION ALL SELECT {groups}, {nothing} FROM {before}"
    outer = measures.over(f"({union}) AS s", level.floor)
    return Statement(
        f"INSERT INTO {level.table} ({columns}, computed_at)"
        " SETTINGS max_partitions_per_insert_block = 0"
        f" SELECT {columns}, now64(3) AS computed_at FROM ({outer})",
        {"buckets": list(buckets), "first": buckets[0], "end": buckets[-1] + level.seconds},
    )


def moment(name: str, column: str) -> str:
    """A parameter, in seconds since 1970, of the type of the column that it is compared with.

    A DateTime64 that is compared with a DateTime is wrong by a second: the engine skips parts all of whose
    rows are in the last second before it.
    """
    bucket = column.endswith("bucket")
    return f"toDateTime({{{name}:UInt32}}, 'UTC')" if bucket else f"toDateTime64({{{name}:UInt32}}, 3, 'UTC')"


def found_dirty() -> Statement:
    """Minutes with rows that are new, and the time before which all rows were looked at, in milliseconds."""
    return Statement(
        "SELECT toUnixTimestamp(toStartOfMinute(a.started_at)) AS minute,"
        " any(toUnixTimestamp64Milli(now64(3))) AS now_ms"
        f" FROM attempts AS a WHERE {NEW_ROWS} GROUP BY minute ORDER BY minute"
    )


def found_since(since_ms: int) -> Statement:
    """The same for all minutes with rows or sums, from the day of `since_ms` on."""
    since = "toStartOfDay(fromUnixTimestamp64Milli({since:Int64}, 'UTC'))"
    return Statement(
        "SELECT minute, any(toUnixTimestamp64Milli(now64(3))) AS now_ms FROM ("
        "SELECT toUnixTimestamp(toStartOfMinute(a.started_at)) AS minute FROM attempts AS a"
        f" WHERE a.started_at >= {since} UNION ALL"
        f" SELECT toUnixTimestamp(m.bucket) FROM costs_minute AS m WHERE m.bucket >= {since} UNION ALL"
        f" SELECT toUnixTimestamp(h.bucket) FROM costs_hour AS h WHERE h.bucket >= {since}"
        ") GROUP BY minute ORDER BY minute",
        {"since": since_ms},
    )


def reached(now_ms: int) -> Statement:
    """All rows that were inserted `SLACK_S` before this moment are in the sums."""
    return Statement(
        "INSERT INTO rollups (scope, watermark) SELECT 'costs', fromUnixTimestamp64Milli({now:Int64}, 'UTC')",
        {"now": now_ms},
    )


class Rollups:
    """The sums of a ledger. Several may do this at once, and be killed at any point."""

    def __init__(self, ledger: Ledger, stopping: Callable[[], bool] = lambda: False) -> None:
        """`stopping` is asked between statements: what is not done then is done the next time."""
        self._ledger = ledger
        self._stopping = stopping

    def refresh(self) -> int:
        """Compute again what has new rows. Returns how many minutes had. Raises LedgerUnavailable."""
        return self._compute(found_dirty(), advance=True)

    def rebuild(self, since_ms: int) -> int:
        """Compute everything again from that day on. Returns how many minutes. Raises LedgerUnavailable."""
        return self._compute(found_since(since_ms), advance=False)

    def _compute(self, found: Statement, *, advance: bool) -> int:
        rows = self._ledger.ask(found.sql, found.parameters)
        if not rows:
            return 0
        now_ms = int(str(rows[0]["now_ms"]))
        dirty = [int(str(row["minute"])) for row in rows]
        for statement in statements(plan(dirty, now_ms // 1000)):
            if self._stopping():
                return 0
            self._ledger.command(statement.sql, statement.parameters)
        if advance:
            done = reached(now_ms)
            self._ledger.command(done.sql, done.parameters)
        return len(dirty)
