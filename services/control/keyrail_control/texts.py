"""Times and spans as people write them, to milliseconds. Pure. Errors never repeat what was written."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from keyrail_control.errors import Invalid

UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_SPAN_MS: Final = 3_660 * UNITS_MS["d"]
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")


def span_ms(field: str, text: str) -> int:
    """`90s`, `30m`, `24h`, `30d`; at most ten years. Raises Invalid."""
    span = _SPAN.fullmatch(text)
    if span is None:
        raise Invalid(f"{field}: a span such as 30m, 24h or 30d")
    return _bounded(field, span)


def before(field: str, text: str, now_ms: int) -> int:
    """A span back from now, or an RFC 3339 time. Raises Invalid."""
    if span := _SPAN.fullmatch(text):
        return max(0, now_ms - _bounded(field, span))
    return max(0, _instant(field, text))


def after(field: str, text: str, now_ms: int) -> int:
    """A span from now, or an RFC 3339 time; in the future. Raises Invalid."""
    span = _SPAN.fullmatch(text)
    at = now_ms + _bounded(field, span) if span else _instant(field, text)
    if at <= now_ms:
        raise Invalid(f"{field}: must be in the future")
    return at


def written(at_ms: int) -> str:
    """RFC 3339, to the millisecond: what `before` reads back as the same."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bounded(field: str, span: re.Match[str]) -> int:
    length = int(span[1]) * UNITS_MS[span[2]]
    if length > LONGEST_SPAN_MS:
        raise Invalid(f"{field}: longer than ten years")
    return length


def _instant(field: str, text: str) -> int:
    at = None
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
    if at is None:
        raise Invalid(f"{field}: a span such as 30m, 24h or 7d, or an RFC 3339 time")
    if at.tzinfo is None:
        raise Invalid(f"{field}: the time needs its offset from UTC, such as Z")
    try:
        return int(at.astimezone(UTC).timestamp() * 1000)
    except OverflowError:
        raise Invalid(f"{field}: the time is out of range") from None
