"""Fields of JSON that may be of any type: what is not of the type asked for counts as absent."""

from __future__ import annotations

from typing import Any, cast

_NOTHING: dict[str, Any] = {}


def fields(value: object) -> dict[str, Any]:
    """The object; an empty one for anything else, not to be changed."""
    return cast("dict[str, Any]", value) if type(value) is dict else _NOTHING


def items(value: object) -> list[Any]:
    """The list; an empty one for anything else."""
    return cast("list[Any]", value) if type(value) is list else []


def text(value: object) -> str | None:
    """The string, unless it is empty."""
    return value if type(value) is str and value else None


def integer(value: object) -> int | None:
    """The integer, also where it was written as 100.0."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def number(value: object) -> float | None:
    """The number as it was written."""
    return value if type(value) is float or type(value) is int else None


def flag(value: object) -> bool | None:
    """The boolean."""
    return value if type(value) is bool else None
