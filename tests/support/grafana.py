"""What Grafana and its ClickHouse plugin make of a query before it is sent: variables and macros expanded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/grafana"
ALL = "$__all"
Json = dict[str, Any]


class Unexpanded(ValueError):
    """A macro or a variable that Grafana would not know."""


@dataclass(frozen=True, slots=True)
class View:
    """What somebody looks at. Variables that are not there have all of their values chosen."""

    start_ms: int
    end_ms: int
    interval_ms: int
    variables: Mapping[str, list[str] | str] = field(default_factory=dict[str, "list[str] | str"])


def boards() -> dict[str, Json]:
    """The committed dashboards by uid."""
    found = [json.loads(file.read_text()) for file in sorted((FOLDER / "dashboards").glob("*.json"))]
    return {board["uid"]: board for board in found}


def panels(board: Json) -> Iterator[Json]:
    """All panels that show something."""
    yield from (panel for panel in board["panels"] if panel["type"] != "row")


def expand(sql: str, view: View, known: tuple[str, ...] = ()) -> str:
    """The SQL that reaches the database. `known`: the dashboard's variables. Raises Unexpanded."""
    text = _macros(_variables(_conditions(sql, view, known), view, known), view)
    if left := re.search(r"\$(__|\{)?\w+", text):
        raise Unexpanded(left[0])
    return text


def _conditions(sql: str, view: View, known: tuple[str, ...]) -> str:
    """`$__conditionalAll(condition, $variable)`, in the browser: before the variables' values."""
    opening = "$__conditionalAll("
    while (at := sql.rfind(opening)) >= 0:
        arguments, end = _arguments(sql, at + len(opening))
        if len(arguments) != 2:
            raise Unexpanded(sql[at:end])
        condition, variable = arguments[0], arguments[1].strip().removeprefix("$").strip("{}")
        if variable not in known:
            raise Unexpanded(variable)
        value = view.variables.get(variable, ALL)
        everything = value in ("", ALL, [], [ALL])
        sql = sql[:at] + ("1=1" if everything else condition) + sql[end:]
    return sql


def _variables(sql: str, view: View, known: tuple[str, ...]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in known:
            raise Unexpanded(found[0])
        chosen = view.variables.get(name, ALL)
        items = [chosen] if isinstance(chosen, str) else chosen
        return ",".join("'" + item.replace("'", "\\'") + "'" for item in items)

    return re.sub(r"\$\{(\w+):singlequote\}", value, sql)


def _table_of_macros(view: View) -> dict[str, Callable[..., str]]:
    start, end, seconds = view.start_ms // 1000, view.end_ms // 1000, max(view.interval_ms // 1000, 1)
    first, last = (datetime.fromtimestamp(at, UTC).date().isoformat() for at in (start, end))
    from_ms, to_ms = (f"fromUnixTimestamp64Milli({at})" for at in (view.start_ms, view.end_ms))

    def time_filter(column: str) -> str:
        return f"{column} >= toDateTime({start}) AND {column} <= toDateTime({end})"

    def time_filter_ms(column: str) -> str:
        return f"{column} >= {from_ms} AND {column} <= {to_ms}"

    def time_interval(column: str) -> str:
        return f"toStartOfInterval(toDateTime({column}), INTERVAL {seconds} second)"

    def time_interval_ms(column: str) -> str:
        return f"toStartOfInterval(toDateTime64({column}, 3), INTERVAL {millis} millisecond)"

    def date_filter(column: str) -> str:
        return f"{column} >= toDate('{first}') AND {column} <= toDate('{last}')"

    def both(date: str, time: str) -> str:
        return f"({date_filter(date)}) AND ({time_filter(time)})"

    millis = max(view.interval_ms, 1)
    return {
        "fromTime": lambda: f"toDateTime({start})",
        "toTime": lambda: f"toDateTime({end})",
        "fromTime_ms": lambda: from_ms,
        "toTime_ms": lambda: to_ms,
        "timeFilter": time_filter,
        "timeFilter_ms": time_filter_ms,
        "dateFilter": date_filter,
        "dateTimeFilter": both,
        "dt": both,
        "timeInterval": time_interval,
        "timeInterval_ms": time_interval_ms,
        "interval_s": lambda: str(seconds),
    }


def _macros(sql: str, view: View) -> str:
    macros = _table_of_macros(view)
    while found := re.search(r"\$__(\w+)", sql):
        macro = macros.get(found[1])
        if macro is None:
            raise Unexpanded(found[0])
        end_of_macro, arguments = found.end(), list[str]()
        if sql[end_of_macro : end_of_macro + 1] == "(":
            arguments, end_of_macro = _arguments(sql, end_of_macro + 1)
        try:
            expanded = macro(*(each.strip() for each in arguments))
        except TypeError as error:
            raise Unexpanded(f"{found[0]} with {len(arguments)} arguments") from error
        sql = sql[: found.start()] + expanded + sql[end_of_macro:]
    return sql


def _arguments(sql: str, start: int) -> tuple[list[str], int]:
    """The arguments from `start`, just inside a parenthesis, and where the macro ends."""
    arguments, depth, begun, quoted = list[str](), 1, start, False
    for at in range(start, len(sql)):
        character = sql[at]
        if character == "'" and sql[at - 1] != "\\":
            quoted = not quoted
        elif quoted:
            continue
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return [*arguments, sql[begun:at]], at + 1
        elif character == "," and depth == 1:
            arguments.append(sql[begun:at])
            begun = at + 1
    raise Unexpanded(sql[start - 20 : start + 20])
