"""Answers of the admin API that come in slices, added up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import cast

from keyrail_cli.render import Row


def added(slices: Iterable[Row]) -> list[Row]:
    """One row for each provider and model, the dearest first. Amounts (`..._usd`) are texts, exact."""
    found: dict[tuple[object, object], Row] = {}
    for each in slices:
        for row in cast("list[Row]", each["models"]):
            key = row["provider"], row["model"]
            found[key] = _sum(found[key], row) if key in found else row
    return sorted(found.values(), key=_dearest)


def total(rows: Sequence[Row]) -> Row:
    """The sum of all rows."""
    whole: Row = {}
    for row in rows:
        whole = _sum(whole, row) if whole else row
    return whole | {"provider": "total", "model": None}


def difference(row: Row, before: str, after: str) -> str:
    """`after` less `before`, with its sign."""
    return format(Decimal(str(row[after])) - Decimal(str(row[before])), "+f")


def short(amount: object) -> str:
    """An amount for a table: at least cents, and no zeros behind what counts."""
    text = str(amount)
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def _sum(one: Row, other: Row) -> Row:
    return {name: _plus(value, other[name]) for name, value in one.items()}


def _plus(one: object, other: object) -> object:
    if isinstance(one, bool) or isinstance(other, bool):
        return one
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if isinstance(one, str) and isinstance(other, str) and _amount(one) and _amount(other):
        return format(Decimal(one) + Decimal(other), "f")
    return one


def _amount(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdigit()


def _dearest(row: Row) -> tuple[Decimal, str, str]:
    amounts = [Decimal(str(value)) for name, value in row.items() if name.endswith("_usd")]
    return -max(amounts, default=Decimal(0)), str(row["provider"]), str(row["model"])
