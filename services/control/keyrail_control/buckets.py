"""A KV bucket as it is now. control keeps no mirror: it is asked seldom, and must see what it just wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from nats.errors import Error as NatsError
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusUnavailable

AT_ONCE: Final = 64
"""How many documents are asked for at the same time."""
_WRONG_SEQUENCE: Final = frozenset({10071, 10164})


@dataclass(frozen=True, slots=True)
class Entry:
    """A document and the revision that a change names to replace exactly this one."""

    value: bytes
    revision: int


class Bucket:
    """Reads and writes of one bucket. Raises BusUnavailable; whether a write was made is unknown then."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._name = name
        self._opened: KeyValue | None = None

    async def get(self, key: str) -> Entry | None:
        """The document, None when there is none."""
        async with self._open() as bucket:
            try:
                entry = await bucket.get(key)
            except KeyNotFoundError:
                return None
            return Entry(entry.value or b"", entry.revision or 0)

    async def all(self, keys: str = ">") -> dict[str, Entry]:
        """Every document, by its key; `keys` may narrow that down, such as `source.*`."""
        async with self._open():
            prefix = f"$KV.{self._name}."
            info = await self._bus.js.stream_info(f"KV_{self._name}", subjects_filter=prefix + keys)
        names = [subject.removeprefix(prefix) for subject in info.state.subjects or ()]
        return {name: entry for name, entry in (await self.some(names)).items() if entry is not None}

    async def some(self, keys: Sequence[str]) -> dict[str, Entry | None]:
        """These documents."""
        found: dict[str, Entry | None] = {}
        for start in range(0, len(keys), AT_ONCE):
            part = keys[start : start + AT_ONCE]
            found |= zip(part, await asyncio.gather(*map(self.get, part)), strict=True)
        return found

    async def put(self, key: str, value: bytes) -> None:
        """Write, whatever is there."""
        async with self._open() as bucket:
            await bucket.put(key, value)

    async def write(self, key: str, value: bytes, over: Entry | None) -> bool:
        """Write over exactly this entry, None: where there is none. False when something else is there."""
        async with self._open() as bucket:
            try:
                if over is None:
                    await bucket.create(key, value)
                else:
                    await bucket.update(key, value, last=over.revision)
            except KeyWrongLastSequenceError:
                return False
            return True

    async def delete(self, key: str, entry: Entry) -> bool:
        """Remove exactly this entry. False when something else is there."""
        async with self._open() as bucket:
            try:
                await bucket.delete(key, last=entry.revision)
            except APIError as error:
                if error.err_code in _WRONG_SEQUENCE:
                    return False
                raise
            return True

    async def purge(self, key: str) -> None:
        """Remove the document and everything it was."""
        async with self._open() as bucket:
            await bucket.purge(key)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[KeyValue]:
        try:
            if self._opened is None:
                self._opened = await self._bus.js.key_value(self._name)
            yield self._opened
        except (NatsError, TimeoutError, OSError) as error:
            raise BusUnavailable(f"{self._name} can't be used now: {type(error).__name__}") from error
