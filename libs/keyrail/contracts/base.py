"""What every contract has in common: frozen, tolerant of fields it does not know, JSON on the wire.

Money is a Decimal in US dollars: a string on the wire (small amounts with an exponent, such as "1.5E-7"),
Decimal(18, 12) in the ledger.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, Self, TypeVar

import msgspec

_C = TypeVar("_C")


class Contract(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of all messages. Readers ignore unknown fields, so that writers may add some.

    Messages hold values alone, nothing that refers back to them: the garbage collector need not look.
    Decoding checks every field; making one in code is checked by pyright alone. Fields that have their
    default value do not travel.
    """

    def encode(self) -> bytes:
        """As JSON."""
        return _ENCODER.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """From JSON. Raises ValueError for anything else."""
        return _decoder(cls).decode(data)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


def encode_all(messages: Sequence[Contract]) -> bytes:
    """A JSON array of messages."""
    return _ENCODER.encode(messages)


def decode_all(kind: type[_C], data: bytes) -> list[_C]:
    """From a JSON array of messages. Raises ValueError for anything else."""
    return _decoder(list[kind]).decode(data)


_ENCODER = msgspec.json.Encoder(decimal_format="string")


@cache  # making a decoder costs as much as decoding a small message
def _decoder(kind: type[_C]) -> msgspec.json.Decoder[_C]:
    return msgspec.json.Decoder(kind)


Json = None | bool | int | float | str | list[Any] | dict[str, Any]
"""Any JSON value."""


def now_ms() -> int:
    """Wall clock, milliseconds since the epoch. Deadlines travel between machines, so NTP is assumed."""
    return time.time_ns() // 1_000_000


_RANDOM = random.Random()  # noqa: S311 - ids are no secrets, and asking the system for each costs a call to it
os.register_at_fork(after_in_child=_RANDOM.seed)


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits."""
    value = (now_ms() & 0xFFFF_FFFF_FFFF) << 80 | _RANDOM.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
