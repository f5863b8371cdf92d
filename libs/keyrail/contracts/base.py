"""What every contract has in common: frozen, tolerant of fields it does not know, money as Decimal."""

from __future__ import annotations

import os
import time
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer


class Contract(BaseModel):
    """Base of all messages. Readers ignore unknown fields, so that writers may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _plain(value: Decimal) -> str:
    return format(value, "f")


Money = Annotated[Decimal, PlainSerializer(_plain, return_type=str, when_used="json")]
"""US dollars. A string without exponent on the wire, Decimal(18, 12) in the ledger."""


def now_ms() -> int:
    """Wall clock, milliseconds since the epoch. Deadlines travel between machines, so NTP is assumed."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits."""
    value = (now_ms() & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
