"""Entries of a KV bucket that have a time each and may be lost: what is not there in time is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusUnavailable

READ_S: Final = 0.05
"""How long a read may take: somebody waits for it."""
CLAIM_S: Final = 1.0
"""For what a paid call would be made without; it needs an acknowledgement of the bus anyway."""
WRITE_S: Final = 2.0
_T = TypeVar("_T")


class Entries:
    """One bucket whose entries are put with a time to live. All methods raise BusUnavailable, and soon."""

    def __init__(self, bus: Bus, bucket: str) -> None:
        self._bus = bus
        self._name = bucket
        self._prefix = f"$KV.{bucket}."
        self._bucket: KeyValue | None = None

    async def open(self) -> None:
        """Look for the bucket, so that no read has to."""
        if self._bucket is None:
            self._bucket = await _within(WRITE_S, self._bus.js.key_value(self._name))

    async def get(self, key: str, within_s: float = READ_S) -> bytes | None:
        """The entry, None when there is none."""
        if not self._bus.connected:
            raise BusUnavailable("not connected")
        try:
            found = await _within(within_s, self._opened().get(key, validate_keys=False))
        except KeyNotFoundError:
            return None
        return found.value or b""

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Put it over whatever is there, for whole seconds."""
        subject = self._prefix + key
        await _within(WRITE_S, self._bus.js.publish(subject, value, msg_ttl=_seconds(ttl_s)))

    async def claim(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Put it where nothing is; False where something is."""
        if not self._bus.connected:
            raise BusUnavailable("not connected")
        try:
            creating = self._opened().create(key, value, validate_keys=False, msg_ttl=_seconds(ttl_s))
            await _within(CLAIM_S, creating)
        except KeyWrongLastSequenceError:
            return False
        return True

    async def drop(self, key: str) -> None:
        """Take it away; the mark that stays goes by itself."""
        await _within(WRITE_S, self._opened().purge(key, msg_ttl=_seconds(1)))

    def _opened(self) -> KeyValue:
        if self._bucket is None:
            raise BusUnavailable(f"the bucket {self._name} was not found")
        return self._bucket


async def _within(seconds: float, doing: Awaitable[_T]) -> _T:
    try:
        async with asyncio.timeout(seconds):
            return await doing
    except (KeyNotFoundError, KeyWrongLastSequenceError):
        raise
    except (NatsError, TimeoutError, OSError) as error:
        raise BusUnavailable(f"the entries can't be had: {type(error).__name__}") from error


def _seconds(ttl_s: float) -> float:
    return float(max(1, round(ttl_s)))
