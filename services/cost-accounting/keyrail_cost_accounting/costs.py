"""The question what was spent, as one statement over sums and, where these lack something, attempts. Pure.

Of each stretch of time exactly one table is read: days, where a whole day is asked for and has no new rows;
else its hours; else their minutes; else attempts. Which minutes have new rows is found once, before all that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyrail.contracts.ledger import PAGE, CostsQuery, Grouping
from keyrail_cost_accounting import measures
from keyrail_cost_accounting.rollups import (
    DAY,
    HOUR,
    MINUTE,
    MINUTES_FOR_S,
    NEW_ROWS,
    RAW_FOR_S,
    floor,
    moment,
)
from keyrail_cost_accounting.statement import Parameters, Statement

GROUP_KEY: Final = "group_key"
LAST: Final = floor(2**32 - 1, DAY)
"""The end of time, for a DateTime."""


def _optional(column: str) -> tuple[str, str]:
    return f"u.{column} AS {column}", f"if(isNull(u.{column}), '', concat('=', u.{column}))"


def _moment(column: str, floor: str) -> tuple[str, str]:
    text = f"concat(replaceOne(toString({floor}(u.bucket)), ' ', 'T'), 'Z')"
    return f"{text} AS {column}", text


GROUPS: Final[dict[Grouping, tuple[str, str]]] = {
    # the columns of a group, and one text that orders groups and tells them apart
    "model": ("u.provider AS provider, u.model AS model", "concat(u.model, '\\n', u.provider)"),
    "provider": ("u.provider AS provider", "toString(u.provider)"),
    "team": _optional("team"),
    "feature": _optional("feature"),
    "route": _optional("route"),
    "key": ("u.key_id AS key_id", "u.key_id"),
    "provider_key": (
        "u.provider AS provider, u.provider_key_id AS provider_key_id",
        "concat(u.provider, '\\n', if(isNull(u.provider_key_id), '', concat('=', u.provider_key_id)))",
    ),
    "day": ("toString(toDate(u.bucket)) AS day", "toString(toDate(u.bucket))"),
    "hour": _moment("hour", "toStartOfHour"),
    "minute": _moment("minute", "toStartOfMinute"),
}

_AMOUNTS: Final = tuple(name for name in measures.MEASURES if name.endswith("_usd") and name != "cost_usd")
SUMS: Final = ", ".join(
    [f"sum(u.{name}) AS {name}" for name in measures.MEASURES if not name.endswith("_usd")]
    + [
        "if(sum(u.attempts) > 0 AND sum(u.unknown_cost_attempts) = sum(u.attempts), NULL,"
        " toString(sum(u.cost_usd))) AS cost_usd"
    ]
    + [f"toString(sum(u.{name})) AS {name}" for name in _AMOUNTS]
)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Which part of a range is whole minutes, hours and days: [start, end) in seconds since 1970.

    What is before and after the whole minutes is part of a minute; of what is before and after the hours,
    whole minutes; and so on. A part that is not there is empty, at the end of the part around it.
    """

    minutes: tuple[int, int]
    hours: tuple[int, int]
    days: tuple[int, int]


def pieces(since_ms: int, until_ms: int, coarsest: int = DAY) -> Pieces:
    """Cut [since, until). Of buckets longer than `coarsest` seconds there are none."""

    def within(outer: tuple[int, int], seconds: int) -> tuple[int, int]:
        start, end = -(-outer[0] // seconds) * seconds, floor(outer[1], seconds)
        return (start, end) if start < end and seconds <= coarsest else (outer[1], outer[1])

    minutes = within((-(-since_ms // 1000), until_ms // 1000), MINUTE)
    hours = within(minutes, HOUR)
    return Pieces(minutes, hours, within(hours, DAY))


def costs(query: CostsQuery, now_ms: int) -> Statement:
    """Sums, exact whatever was delivered twice, late, or just now."""
    since_ms = min(max(query.since_ms or 0, 0), LAST * 1000)
    until_ms = LAST * 1000 if query.until_ms is None else min(max(query.until_ms, since_ms), LAST * 1000)
    coarsest = {"minute": MINUTE, "hour": HOUR}.get(query.by or "", DAY)
    cut = pieces(since_ms, until_ms, coarsest)
    parameters: Parameters = {
        "since": since_ms,
        "until": until_ms,
        # a day less than hours are computed from minutes for: clocks differ
        "recent": floor(now_ms // 1000 - MINUTES_FOR_S + DAY, HOUR),
        "oldest": max(0, floor(now_ms // 1000 - RAW_FOR_S, DAY)),
    }
    for name, (start, end) in (("m", cut.minutes), ("h", cut.hours), ("d", cut.days)):
        parameters |= {f"{name}0": start, f"{name}1": end}
    if query.tenant is not None:
        parameters["tenant"] = query.tenant
    columns, key = GROUPS[query.by] if query.by is not None else ("", "")
    after = ""
    if query.cursor is not None and query.by is not None:
        after = f" WHERE {key} > {{after:String}}"
        parameters["after"] = query.cursor
    source = f"({_sources(query.tenant is not None)}) AS u"
    dirty = _dirty(query.tenant is not None)
    if query.by is None:
        return Statement(f"{dirty} SELECT {SUMS} FROM {source}", parameters)
    return Statement(
        f"{dirty} SELECT {columns}, {SUMS}, {key} AS {GROUP_KEY} FROM {source}{after}"
        f" GROUP BY ALL HAVING attempts > 0 ORDER BY {GROUP_KEY} LIMIT {PAGE + 1}",
        parameters,
    )


def _started(tenant: bool) -> str:
    """Attempts of the range."""
    of_tenant = " AND a.tenant = {tenant:String}" if tenant else ""
    return (
        "a.started_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        " AND a.started_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')" + of_tenant
    )


def _dirty(tenant: bool) -> str:
    """Found once for the whole statement: else a minute could be in two parts of it, or in none."""
    return (
        "WITH (SELECT groupUniqArray(toStartOfMinute(a.started_at)) FROM attempts AS a"
        f" WHERE {NEW_ROWS} AND {_started(tenant)} AND a.started_at >= {moment('oldest', 'started_at')})"
        " AS dirty_minutes,"
        " arrayDistinct(arrayMap(x -> toStartOfHour(x), dirty_minutes)) AS dirty_hours,"
        " arrayDistinct(arrayMap(x -> toStartOfDay(x), dirty_minutes)) AS dirty_days"
    )


def _sources(tenant: bool) -> str:
    of_tenant = " AND s.tenant = {tenant:String}" if tenant else ""
    names = ", ".join(f"s.{name} AS {name}" for name in measures.COLUMNS)

    def rollup(table: str, where: str) -> str:
        return f"SELECT {names} FROM {table} AS s FINAL WHERE {where}{of_tenant}"

    def clean(floor: str, dirty: str) -> str:
        return f"{floor} NOT IN (SELECT arrayJoin({dirty}))"

    def outside(at: str, part: str) -> str:
        return f"{at} < {moment(part + '0', at)} OR {at} >= {moment(part + '1', at)}"

    def inside(part: str) -> str:
        return f"s.bucket >= {moment(part + '0', 'bucket')} AND s.bucket < {moment(part + '1', 'bucket')}"

    of_dirty_day = "toStartOfDay(s.bucket) IN (SELECT arrayJoin(dirty_days))"
    of_dirty_hour = "toStartOfHour(s.bucket) IN (SELECT arrayJoin(dirty_hours))"
    attempts = (
        f"{_started(tenant)} AND ({outside('a.started_at', 'm')}"
        " OR toStartOfMinute(a.started_at) IN (SELECT arrayJoin(dirty_minutes))"
        f" OR (a.started_at < {moment('recent', 'started_at')} AND ({outside('a.started_at', 'h')}"
        " OR toStartOfHour(a.started_at) IN (SELECT arrayJoin(dirty_hours)))))"
    )
    raw = measures.over_attempts("toStartOfMinute", attempts)
    return " UNION ALL ".join(
        (
            rollup("costs_day", f"{inside('d')} AND {clean('s.bucket', 'dirty_days')}"),
            rollup(
                "costs_hour",
                f"{inside('h')} AND ({outside('s.bucket', 'd')} OR {of_dirty_day})"
                f" AND {clean('s.bucket', 'dirty_hours')}",
            ),
            rollup(
                "costs_minute",
                f"{inside('m')} AND s.bucket >= {moment('recent', 'bucket')}"
                f" AND ({outside('s.bucket', 'h')} OR {of_dirty_hour})"
                f" AND {clean('s.bucket', 'dirty_minutes')}",
            ),
            f"SELECT {', '.join(measures.COLUMNS)} FROM ({raw})",
        )
    )
