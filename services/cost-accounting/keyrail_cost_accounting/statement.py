"""A statement to the ledger. Values travel as server-side parameters, never in the text."""

from __future__ import annotations

from dataclasses import dataclass, field

Parameters = dict[str, str | int | list[str] | list[int]]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and its parameters by name."""

    sql: str
    parameters: Parameters = field(default_factory=Parameters)
