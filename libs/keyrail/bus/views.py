"""A KV bucket mirrored in memory: readers never wait for the bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from nats.errors import Error as NatsError
from nats.js.kv import KeyValue

from keyrail.bus.connection import Bus
from keyrail.bus.tasks import end

log = logging.getLogger(__name__)

RETRY_S = 0.25


class KvView:
    """Calls `on_put` for every key there is and for every change, `on_delete` for every removal.

    `loaded` is set once all keys that existed at the start were seen. The watch is made anew after each
    reconnection, because its consumer lives in the server's memory.
    """

    def __init__(
        self,
        bus: Bus,
        bucket: str,
        on_put: Callable[[str, bytes], object],
        on_delete: Callable[[str], None] = lambda key: None,
    ) -> None:
        self._bus = bus
        self._bucket = bucket
        self._on_put = on_put
        self._on_delete = on_delete
        self.loaded = asyncio.Event()
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start watching."""
        self._bus.on_reconnect(self._reconnected)
        self._task = asyncio.create_task(self._run(), name=f"view {self._bucket}")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            await end(self._task)

    async def _reconnected(self) -> None:
        self._again.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._watch()
            except (NatsError, TimeoutError, OSError) as error:
                log.warning("watch failed", extra={"bucket": self._bucket, "error": str(error)})
                await asyncio.sleep(RETRY_S)

    async def _watch(self) -> None:
        bucket = await self._bus.js.key_value(self._bucket)
        watcher = await bucket.watchall()
        self._again.clear()
        again = asyncio.create_task(self._again.wait())
        try:
            while not again.done():
                update = asyncio.ensure_future(watcher.updates(timeout=3600))
                await asyncio.wait({update, again}, return_when=asyncio.FIRST_COMPLETED)
                if not update.done():
                    update.cancel()
                    return
                entry = update.result()
                if entry is None:
                    self.loaded.set()
                elif not isinstance(entry, KeyValue.Entry):
                    return
                elif entry.operation in ("DEL", "PURGE"):
                    self._on_delete(entry.key)
                else:
                    self._on_put(entry.key, entry.value or b"")
        finally:
            again.cancel()
            if self._bus.connected:
                await watcher.stop()
