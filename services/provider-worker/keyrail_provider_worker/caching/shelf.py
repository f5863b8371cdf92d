"""Where entries are: a little memory of this worker's own, and behind it the bucket of all workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, Final

from nats.aio.msg import Msg

from keyrail.bus.entries import READ_S, Entries
from keyrail.bus.errors import BusError
from keyrail.telemetry import metrics

log = logging.getLogger(__name__)

NEAR_BYTES: Final = 16 << 20
NEAR_S: Final = 30.0
"""How long memory is believed: a purge that this worker did not hear of is over by then."""
MOST_WRITES: Final = 64


class Shelf:
    """Entries as bytes, by `<tenant>.<key>`. A bus that does not answer is as good as nothing found."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._near: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._writes: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Find the bucket; without one nothing is shared."""
        try:
            await self._entries.open()
        except BusError as error:
            log.warning("answers are kept in memory alone", extra={"error": str(error)})

    async def find(self, name: str) -> bytes | None:
        """The entry, wherever it is."""
        return self._recall(name) or await self.fetch(name)

    async def fetch(self, name: str, within_s: float = READ_S) -> bytes | None:
        """The entry, as the bucket has it."""
        try:
            found = await self._entries.get(name, within_s)
        except BusError as error:
            metrics.counter(metrics.CACHE_ERRORS, "read").inc()
            log.warning("a kept answer could not be looked for", extra={"error": str(error)})
            return None
        if not found:
            return None
        self._remember(name, found)
        return found

    def put(self, name: str, packed: bytes, ttl_s: float) -> asyncio.Task[None] | None:
        """Keep it: here at once, in the bucket soon and best effort. None: too much is being written."""
        self._remember(name, packed)
        if len(self._writes) >= MOST_WRITES:
            metrics.counter(metrics.CACHE_ERRORS, "busy").inc()
            return None
        metrics.CACHE_BYTES.inc(len(packed))
        return self._soon(self._write(name, packed, ttl_s))

    async def close(self) -> None:
        """Return once what is being written is."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def on_purged(self, msg: Msg) -> None:
        """Answers of one tenant are gone, or everybody's."""
        tenant = msg.data.decode("ascii", "replace")
        for name in list(self._near):
            if not tenant or name.startswith(f"{tenant}."):
                self._bytes -= len(self._near.pop(name)[0])

    def _soon(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(doing)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task

    async def _write(self, name: str, packed: bytes, ttl_s: float) -> None:
        try:
            await self._entries.put(name, packed, ttl_s)
        except BusError as error:
            metrics.counter(metrics.CACHE_ERRORS, "write").inc()
            log.warning("an answer was not kept", extra={"error": str(error)})

    def _recall(self, name: str) -> bytes | None:
        found = self._near.get(name)
        if found is None:
            return None
        if time.monotonic() > found[1]:
            self._bytes -= len(self._near.pop(name)[0])
            return None
        self._near.move_to_end(name)
        return found[0]

    def _remember(self, name: str, packed: bytes) -> None:
        before = self._near.pop(name, None)
        self._bytes += len(packed) - (len(before[0]) if before is not None else 0)
        self._near[name] = (packed, time.monotonic() + NEAR_S)
        while self._bytes > NEAR_BYTES:
            self._bytes -= len(self._near.popitem(last=False)[1][0])
