"""A CSV that anybody can write, for providers without a report of their own.

The columns `day`, `key`, `model`, `requests`, `input_tokens`, `output_tokens`, `cache_read_tokens`,
`cache_write_tokens` and `cost_usd`, in any order. `day` and one of the numbers have to be there; a cell may
be empty where something is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keyrail.reconciliation import fields
from keyrail.reconciliation.parsed import Amounts, Identity, Misread

PLAIN: Final = "csv"
NUMBERS: Final = (
    "requests",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_usd",
)
COLUMNS: Final = frozenset({"day", "key", "model", *NUMBERS})


def csv_source(columns: set[str]) -> str | None:
    """Whether these columns are such a CSV's."""
    return PLAIN if "day" in columns and columns & set(NUMBERS) and columns <= COLUMNS else None


def row(values: Mapping[str, Any]) -> tuple[Identity, Amounts]:
    """A row."""
    cost = fields.money(values, "cost_usd")
    counts = [fields.count(values, name) for name in NUMBERS[:-1]]
    counted = any(count is not None for count in counts)
    if cost is None and not counted:
        raise Misread("there is no number in it")
    kind = "both" if cost is not None and counted else "cost" if cost is not None else "usage"
    identity = Identity(
        fields.day(values, "day"), kind, fields.text(values, "key"), fields.text(values, "model")
    )
    return identity, Amounts(*counts, cost_usd=cost)
