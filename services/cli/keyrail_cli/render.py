"""Rows to text: plain tables, JSON and CSV. Pure. What is unknown is shown as such, never as zero."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

Row = dict[str, object]
UNKNOWN = "unknown"


def cell(value: object) -> str:
    """One value; control characters of provider texts don't reach the terminal."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(value))


def table(columns: Sequence[str], rows: Iterable[Row], optional: frozenset[str] = frozenset()) -> str:
    """A table with a heading; numbers to the right. `optional` columns are blank where there is nothing."""
    shown = list(rows)
    texts = [
        ["" if name in optional and row.get(name) is None else cell(row.get(name)) for name in columns]
        for row in shown
    ]
    right = [any(_number(row.get(name)) for row in shown) for name in columns]
    headings = [name.replace("_", " ") for name in columns]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    lines = [headings, *texts]
    return "\n".join(
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def pairs(row: Row, names: Sequence[str], optional: frozenset[str] = frozenset()) -> str:
    """Name and value, one on each line."""
    shown = [name for name in names if not (name in optional and row.get(name) is None)]
    width = max((len(name) for name in shown), default=0)
    return "\n".join(f"{name.replace('_', ' '):<{width}}  {cell(row.get(name))}" for name in shown)


def moment(ms: int) -> str:
    """Milliseconds since the epoch as people read them, to the second."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def with_times(row: Row) -> Row:
    """The row with a readable `x` for each `x_ms` that is a time."""
    return row | {
        name.removesuffix("_ms"): moment(value) if isinstance(value, int) else None
        for name, value in row.items()
        if name.endswith("_ms")
    }


def as_json(value: object) -> str:
    """JSON as it came, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_csv(
    names: Sequence[str], numbers: Sequence[str], rows: Iterable[Row], optional: frozenset[str]
) -> str:
    """CSV with a heading, for programs and spreadsheets; no name is taken for a formula by these."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*names, *numbers))
    for row in rows:
        told = [
            "" if name in optional and row.get(name) is None else _no_formula(cell(row.get(name)))
            for name in names
        ]
        writer.writerow((*told, *(cell(row.get(name)) for name in numbers)))
    return out.getvalue().rstrip("\n")


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _number(value: object) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return True
    return isinstance(value, str) and value.replace(".", "", 1).removeprefix("-").isdigit()
