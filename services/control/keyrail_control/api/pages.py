"""Lists of rows, as all lists of the API are."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some rows; ask again with `cursor` for those that follow, null: there are none."""

    rows: list[T]
    cursor: str | None = None


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as they come. Money is a string; null is what is not known. `cursor` as in every list."""

    rows: list[dict[str, Any]]
    cursor: str | None = None


class Nothing(msgspec.Struct, frozen=True, kw_only=True):
    """It is done, and there is nothing more to say."""
