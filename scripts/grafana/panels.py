"""Dashboards and panels as Grafana's classic JSON. Plain dicts; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from scripts.grafana import sql

Json = dict[str, Any]

SCHEMA_VERSION: Final = 39
SOURCE: Final = {"type": "grafana-clickhouse-datasource", "uid": "${DS_CLICKHOUSE}"}
USD: Final = "currencyUSD"
COLUMNS: Final = 24
_FIELDS: Final = {
    "usd": USD,
    "share": "percentunit",
    "ms": "ms",
}
"""Units of columns by how their names end; the others are counts."""
_LINK: Final = {
    "title": "Keyrail",
    "type": "dashboards",
    "tags": ["keyrail"],
    "asDropdown": True,
    "keepTime": True,
    "includeVars": True,
}
"""From each dashboard to the others, with the same range and choices."""


@dataclass(frozen=True, slots=True)
class Panel:
    """`kind`: stat, timeseries or table. `legend`: what a series is called, where not by its column."""

    title: str
    kind: str
    query: str
    unit: str
    width: int = 12
    height: int = 8
    about: str = ""
    stacked: bool = False
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; its panels flow from left to right and wrap."""

    uid: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    range: str = "now-7d"
    variables: tuple[str, ...] = sql.DIMENSIONS
    tags: tuple[str, ...] = field(default=("keyrail",))


def stat(title: str, query: str, unit: str = USD, about: str = "") -> Panel:
    """One number."""
    return Panel(title, "stat", query, unit, width=4, height=4, about=about)


def chart(
    title: str, query: str | sql.Split, unit: str = USD, *, stacked: bool = False, about: str = ""
) -> Panel:
    """Numbers over time."""
    text, legend = query, ""
    if isinstance(query, sql.Split):
        several = unit == "ms"  # quantiles: the column says which
        text, legend = (
            query.text,
            f"${{__field.labels.{query.name}}}" + (" ${__field.name}" if several else ""),
        )
    return Panel(title, "timeseries", str(text), unit, stacked=stacked, about=about, legend=legend)


def table(title: str, query: str, unit: str = "short", *, width: int = 24, about: str = "") -> Panel:
    """Rows; a column's unit follows from its name."""
    return Panel(title, "table", query, unit, width=width, height=9, about=about)


def render(board: Board) -> Json:
    """The dashboard as Grafana reads it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": list(board.tags),
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "1m",
        "time": {"from": board.range, "to": "now"},
        "templating": {"list": [_source_variable(), *map(_variable, board.variables)]},
        "annotations": {"list": []},
        "links": [_LINK],
        "panels": _placed(board.panels),
    }


def _placed(panels: tuple[Panel, ...]) -> list[Json]:
    placed: list[Json] = []
    x = y = row = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, row = 0, y + row, 0
        placed.append(_panel(number, panel, {"h": panel.height, "w": panel.width, "x": x, "y": y}))
        x, row = x + panel.width, max(row, panel.height)
    return placed


def _panel(number: int, panel: Panel, place: Json) -> Json:
    return {
        "id": number,
        "title": panel.title,
        "description": panel.about,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": place,
        "interval": "1m",
        "targets": [_target(panel)],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "noValue": _nothing(panel), **_drawn(panel)},
            "overrides": _overrides(panel),
        },
        "options": _options(panel),
    }


def _target(panel: Panel) -> Json:
    series = panel.kind == "timeseries"
    return {
        "refId": "A",
        "datasource": SOURCE,
        "editorType": "sql",
        "queryType": "timeseries" if series else "table",
        "format": 0 if series else 1,
        "rawSql": panel.query,
    }


def _nothing(panel: Panel) -> str:
    return "unknown" if panel.unit == USD else "none"


def _drawn(panel: Panel) -> Json:
    if panel.kind != "timeseries":
        return {}
    bars = panel.stacked
    return {
        **({"displayName": panel.legend} if panel.legend else {}),
        "custom": {
            "drawStyle": "bars" if bars else "line",
            "fillOpacity": 80 if bars else 10,
            "lineWidth": 0 if bars else 1,
            "stacking": {"mode": "normal" if bars else "none", "group": "A"},
            "spanNulls": False,
        },
    }


def _overrides(panel: Panel) -> list[Json]:
    if panel.kind != "table":
        return []
    units = [
        {
            "matcher": {"id": "byRegexp", "options": f"/_{ending}$/"},
            "properties": [{"id": "unit", "value": unit}],
        }
        for ending, unit in _FIELDS.items()
    ]
    money = {
        "matcher": {"id": "byRegexp", "options": "/_usd$/"},
        "properties": [{"id": "decimals", "value": 4}, {"id": "noValue", "value": "unknown"}],
    }
    return [*units, money]


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        return {
            "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
            "colorMode": "none",
            "graphMode": "none",
        }
    if panel.kind == "timeseries":
        return {
            "legend": {
                "displayMode": "table",
                "placement": "right",
                "calcs": ["sum" if panel.stacked else "mean"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {"showHeader": True, "footer": {"show": False}}


def _source_variable() -> Json:
    return {
        "name": "DS_CLICKHOUSE",
        "label": "Ledger",
        "type": "datasource",
        "query": SOURCE["type"],
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
    }


def _variable(column: str) -> Json:
    text = sql.values(column)
    return {
        "name": column,
        "label": column.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"rawSql": text, "editorType": "sql", "queryType": "table", "format": 1, "refId": column},
        "definition": text,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "sort": 0,
        "hide": 0,
    }
