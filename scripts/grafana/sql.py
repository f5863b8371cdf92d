"""What the panels' queries are put together from. Text with Grafana's macros and variables; pure.

Costs come from the rollups. Which of them follows from the range: minutes while there are any and the range
is short, days when it is long. Unknown costs are never taken as zero: where nothing is known, a sum is NULL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNTAGGED: Final = "(untagged)"
OTHERS: Final = "(others)"
REFUSED: Final = "(refused)"
SHORT_S: Final = 2 * 86_400
"""Up to this long a range is read by minutes, unless it began longer ago than they are kept up to date."""
LONG_S: Final = 92 * 86_400
"""Beyond this a range is read by days."""
MINUTES_KEPT_DAYS: Final = 6
SERIES: Final = 10
"""Most series of a chart; the rest is one more."""

DIMENSIONS: Final = ("tenant", "team", "feature", "provider", "model")
"""What there is a variable for."""
_NULLABLE: Final = frozenset({"team", "feature", "route", "provider_key_id", "failure"})
_NAMES: Final = {"key_id": "key", "provider_key_id": "provider_key"}

SHOWN_S: Final = "(toUnixTimestamp($__toTime) - toUnixTimestamp($__fromTime))"
DAY_START: Final = "toDateTime(toStartOfDay($__toTime, 'UTC'), 'UTC')"
MONTH_START: Final = "toDateTime(toStartOfMonth($__toTime, 'UTC'), 'UTC')"
MONTH_END: Final = "toDateTime(toStartOfMonth($__toTime, 'UTC') + INTERVAL 1 MONTH, 'UTC')"
BEFORE_START: Final = f"($__fromTime - toIntervalSecond{SHOWN_S})"
"""Where the period of the same length before the range begins."""


def known(amount: str, condition: str = "1") -> str:
    """The sum of an amount, NULL where the cost of no attempt is known."""
    unknown, all_of_them = f"sumIf(c.unknown_cost_attempts, {condition})", f"sumIf(c.attempts, {condition})"
    return f"if({unknown} > 0 AND {unknown} = {all_of_them}, NULL, sumIf(c.{amount}, {condition}))"


SPEND: Final = known("cost_usd")
TOKENS: Final = "(sum(c.input_tokens) + sum(c.output_tokens))"


def ratio(part: str, whole: str) -> str:
    """A quotient, NULL where there is nothing to divide by."""
    return f"({part}) / nullIf({whole}, 0)"


def tag(column: str, source: str = "c.") -> str:
    """A column that may be NULL, as a name that can be shown and chosen."""
    full = f"{source}{column}"
    return f"ifNull({full}, '{UNTAGGED}')" if column in _NULLABLE else full


def alias(column: str) -> str:
    """What a column is called where it is shown."""
    return _NAMES.get(column, column)


def named(column: str) -> str:
    """A column with the name under which it is shown."""
    return f"{tag(column)} AS {alias(column)}"


def chosen(columns: tuple[str, ...] = DIMENSIONS) -> str:
    """What the variables let through: everything, where all or nothing is chosen."""
    return " AND ".join(
        f"$__conditionalAll({tag(column, '')} IN (${{{column}:singlequote}}), ${column})"
        for column in columns
    )


def costs(start: str = "$__fromTime", end: str = "$__toTime") -> str:
    """The rollup rows between two times that the variables let through, as table `c`.

    The grain follows from the range that is shown; of a bucket counts where it begins.
    """
    kept = f"{start} >= now() - INTERVAL {MINUTES_KEPT_DAYS} DAY"
    grains = {
        "minute": f"{SHOWN_S} <= {SHORT_S} AND {kept}",
        "hour": f"{SHOWN_S} <= {LONG_S} AND NOT ({SHOWN_S} <= {SHORT_S} AND {kept})",
        "day": f"{SHOWN_S} > {LONG_S}",
    }
    within = f"bucket >= {start} AND bucket <= {end} AND {chosen()}"
    parts = "\n  UNION ALL ".join(
        f"SELECT * FROM costs_{grain} FINAL WHERE {condition} AND {within}"
        for grain, condition in grains.items()
    )
    return f"(\n  {parts}\n) AS c"


def attempts() -> str:
    """The upstream calls of the range that the variables let through, as table `c`."""
    return f"(SELECT * FROM attempts FINAL WHERE $__timeFilter_ms(started_at) AND {chosen()}) AS c"


def requests() -> str:
    """The requests of the range, as table `c`. Their model may be a route, and no provider is theirs."""
    columns = chosen(("tenant", "team", "feature"))
    return f"(SELECT * FROM requests FINAL WHERE $__timeFilter_ms(received_at) AND {columns}) AS c"


def decisions() -> str:
    """The decisions of the range, as table `c`, with the target that was `chosen`."""
    columns = chosen(("tenant", "team", "feature"))
    first = f"if(empty(targets), '{REFUSED}', targets[1]) AS chosen"
    return f"(SELECT *, {first} FROM decisions FINAL WHERE $__timeFilter_ms(routed_at) AND {columns}) AS c"


def gates() -> str:
    """The gates that were closed in decisions of the range, one row each, as table `c`."""
    columns = chosen(("tenant", "team", "feature"))
    each = "JSONExtractString(arrayJoin(JSONExtractArrayRaw(candidates)), 'gate')"
    found = (
        f"SELECT routed_at, {each} AS gate FROM decisions FINAL"
        f" WHERE $__timeFilter_ms(routed_at) AND {columns}"
    )
    return f"(SELECT * FROM ({found}) WHERE gate != '') AS c"


def some_attempts(condition: str) -> str:
    """Those of `attempts` of which something holds, as table `c`."""
    return f"(SELECT * FROM {attempts()} WHERE {condition}) AS c"


def alerts() -> str:
    """The alerts of the range, as table `c`."""
    return f"(SELECT * FROM alerts FINAL WHERE $__timeFilter_ms(raised_at) AND {chosen(('tenant',))}) AS c"


def total(measures: str, source: str | None = None) -> str:
    """One row."""
    return f"SELECT {measures}\nFROM {source or costs()}"


def over_time(measures: str, source: str | None = None, at: str = "bucket") -> str:
    """A series for each measure."""
    return (
        f"SELECT $__timeInterval(c.{at}) AS time, {measures}\nFROM {source or costs()}\n"
        "GROUP BY time ORDER BY time"
    )


@dataclass(frozen=True, slots=True)
class Split:
    """A query for a chart with series for each value of the column `name`."""

    text: str
    name: str


def by_name(name: str, measures: str, source: str, at: str) -> Split:
    """Series for each name of something that has few."""
    text = (
        f"SELECT $__timeInterval(c.{at}) AS time, {named(name)}, {measures}\nFROM {source}\n"
        f"GROUP BY time, {alias(name)} ORDER BY time, {alias(name)}"
    )
    return Split(text, alias(name))


def dearest(name: str, measures: str, order: str = "sum(c.cost_usd)") -> Split:
    """A series for each of the dearest names, and one for all others together."""
    largest = f"SELECT {tag(name)} FROM {costs()} GROUP BY 1 ORDER BY {order} DESC, 1 LIMIT {SERIES}"
    text = (
        f"SELECT $__timeInterval(c.bucket) AS time,"
        f" if({tag(name)} IN ({largest}), {tag(name)}, '{OTHERS}') AS {alias(name)}, {measures}\n"
        f"FROM {costs()}\nGROUP BY time, {alias(name)} ORDER BY time, {alias(name)}"
    )
    return Split(text, alias(name))


def values(column: str) -> str:
    """What there is to choose from, in the range."""
    return (
        f"SELECT DISTINCT {named(column)} FROM costs_hour AS c FINAL WHERE $__timeFilter(c.bucket) ORDER BY 1"
    )


def ranking(names: tuple[str, ...], measures: str, limit: int, source: str | None = None) -> str:
    """A table: the largest of the first measure at the top."""
    keys = ", ".join(alias(name) for name in names)
    return (
        f"SELECT {', '.join(map(named, names))}, {measures}\nFROM {source or costs()}\n"
        f"GROUP BY {keys} ORDER BY {len(names) + 1} DESC NULLS LAST, {keys} LIMIT {limit}"
    )
