"""Values of reports as numbers and days. All raise Misread, with the field's name and never its value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from keyrail.reconciliation.parsed import Misread

Row = Mapping[str, Any]
_MOST_TOKENS: Final = 10**18
_MOST_USD: Final = Decimal(10) ** 12
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{0,40})?([eE]-?[0-9]{1,2})?")
DAY_S: Final = 86_400


def count(row: Row, name: str) -> int | None:
    """A number of tokens or requests; None where the row does not say. `10.0` is 10."""
    number = _decimal(row, name)
    if number is None:
        return None
    if number < 0 or number > _MOST_TOKENS or number != number.to_integral_value():
        raise Misread(f"{name} is not a whole number that could be a count")
    return int(number)


def money(row: Row, name: str) -> Decimal | None:
    """An amount, negative ones (credits) too; None where the row does not say."""
    number = _decimal(row, name)
    if number is not None and abs(number) >= _MOST_USD:
        raise Misread(f"{name} is not an amount of money")
    return number


def total(*counts: int | None) -> int | None:
    """The sum of parts; None when none of them is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def text(row: Row, name: str) -> str:
    """A name; empty where the row does not say."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Misread(f"{name} is not text")
    return value.strip()


def day(row: Row, name: str) -> str:
    """The day (UTC) of a date, or of a time, with a zone or in UTC without one."""
    value = text(row, name)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            return date.fromisoformat(value).isoformat()
        moment = datetime.fromisoformat(value)
        return (moment.astimezone(UTC) if moment.tzinfo else moment).date().isoformat()
    except (ValueError, OverflowError):
        raise Misread(f"{name} is not a date or a time") from None


def bucket_day(start_s: int | None, end_s: int | None) -> str:
    """The day (UTC) of a bucket of a day at most, that does not reach over midnight."""
    if start_s is None or not 0 < start_s < 10**11:
        raise Misread("the start of the bucket is not a time")
    if end_s is not None and not start_s < end_s <= (start_s // DAY_S + 1) * DAY_S:
        raise Misread("the bucket is not within one day (UTC)")
    return datetime.fromtimestamp(start_s, UTC).date().isoformat()


def dollars(row: Row, name: str) -> None:
    """Raise Misread unless the currency is US dollars, or is not said."""
    if text(row, name).lower() not in ("", "usd"):
        raise Misread(f"{name}: only US dollars can be compared")


def _decimal(row: Row, name: str) -> Decimal | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            raise Misread(f"{name} is not a number")
    elif isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Misread(f"{name} is not a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise Misread(f"{name} is not a number") from None
    if not number.is_finite():
        raise Misread(f"{name} is not a number")
    return number
