"""Bars of a chart in a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
"""A column, from empty to full."""
ASCII: Final = "#"


def bars(amounts: Sequence[Decimal | None], width: int, encoding: str | None) -> list[str]:
    """A bar for each amount, the largest `width` columns long; none for what is unknown or not above zero.

    In blocks of an eighth of a column where `encoding` has them. What is above zero is never without a bar.
    """
    largest = max((amount for amount in amounts if amount is not None), default=Decimal(0))
    draw = _blocks if _can_encode(EIGHTHS, encoding) else _signs
    return [draw(amount / largest, width) if amount is not None and amount > 0 else "" for amount in amounts]


def _blocks(share: Decimal, width: int) -> str:
    whole, rest = divmod(max(1, round(share * width * 8)), 8)
    return EIGHTHS[8] * whole + EIGHTHS[rest].strip()


def _signs(share: Decimal, width: int) -> str:
    return ASCII * max(1, round(share * width))


def _can_encode(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
