"""Documents in a KV bucket that several instances change: compare-and-set, again until it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from nats.errors import Error as NatsError
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError, BusUnavailable

MOST_TRIES = 50
_WRONG_LAST_SEQUENCE = 10071  # nats-server's own number for it
_T = TypeVar("_T")

Change = Callable[[bytes | None], tuple[bytes | None, _T]]
"""From the document as it is (None: there is none) to what to write (None: nothing) and a result."""


class Documents:
    """One bucket. Every change sees the latest document and replaces exactly that one."""

    def __init__(self, bus: Bus, bucket: str) -> None:
        self._bus = bus
        self._name = bucket
        self._bucket: KeyValue | None = None

    async def change(self, key: str, change: Change[_T]) -> _T:
        """Apply `change`, which may be called several times, and return its last result. Raises BusError.

        After an error it is not known whether the change was made.
        """
        try:
            return await self._change(key, change)
        except (NatsError, TimeoutError, OSError) as error:
            raise BusUnavailable(f"the document could not be changed: {type(error).__name__}") from error

    async def get(self, key: str) -> bytes | None:
        """The document, None when there is none. Raises BusError."""
        try:
            return (await self._read(await self._open(), key))[0]
        except (NatsError, TimeoutError, OSError) as error:
            raise BusUnavailable(f"the document could not be read: {type(error).__name__}") from error

    async def all(self, keys: str) -> dict[str, bytes]:
        """Every document whose key matches, such as `a.*`. Raises BusError."""
        prefix = f"$KV.{self._name}."
        try:
            bucket = await self._open()
            info = await self._bus.js.stream_info(f"KV_{self._name}", subjects_filter=prefix + keys)
            names = [subject.removeprefix(prefix) for subject in info.state.subjects or ()]
            found = {name: (await self._read(bucket, name))[0] for name in names}
        except (NatsError, TimeoutError, OSError) as error:
            raise BusUnavailable(f"documents could not be read: {type(error).__name__}") from error
        return {name: value for name, value in found.items() if value is not None}

    async def remove(self, key: str, unwanted: Callable[[bytes], bool]) -> bool:
        """Remove the document if it is `unwanted`, which sees the latest one. Returns whether it was removed.

        Raises BusError; then it is not known whether it was removed.
        """
        try:
            bucket = await self._open()
            before, revision = await self._read(bucket, key)
            if before is None or not unwanted(before):
                return False
            await bucket.delete(key, last=revision)
        except APIError as error:
            if error.err_code == _WRONG_LAST_SEQUENCE:
                return False  # somebody changed it since: what it is now nobody has looked at
            raise BusUnavailable(f"the document could not be removed: {error.err_code}") from error
        except (NatsError, TimeoutError, OSError) as error:
            raise BusUnavailable(f"the document could not be removed: {type(error).__name__}") from error
        return True

    async def _change(self, key: str, change: Change[_T]) -> _T:
        bucket = await self._open()
        for _ in range(MOST_TRIES):
            before, revision = await self._read(bucket, key)
            after, result = change(before)
            if after is None:
                return result
            try:
                if revision is None:
                    await bucket.create(key, after)  # over one that was deleted too
                else:
                    await bucket.update(key, after, last=revision)
            except KeyWrongLastSequenceError:
                await asyncio.sleep(0)  # somebody was faster
                continue
            return result
        raise BusError(f"the document was changed by others {MOST_TRIES} times in a row")

    async def _read(self, bucket: KeyValue, key: str) -> tuple[bytes | None, int | None]:
        try:
            entry = await bucket.get(key)
        except KeyNotFoundError:
            return None, None
        return entry.value or b"", entry.revision

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._bus.js.key_value(self._name)
        return self._bucket
