"""Follows the configuration: the prices in force, and a version in the ledger of each that ever was."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from typing import Final

from keyrail.bus.connection import Bus
from keyrail.bus.tasks import end
from keyrail.bus.views import KvView
from keyrail.contracts import streams
from keyrail.contracts.config import ConfigView
from keyrail_cost_accounting import blocks, versions
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.price_queries import RECORDED
from keyrail_cost_accounting.versions import Key, PriceRow, Source, Version

log = logging.getLogger(__name__)

CURRENT: Final = "current"
RETRY_S: Final = 5.0


class PriceBook:
    """Recording goes on in the background.

    Rows follow from the revisions, so that two who record the same, or one who does it again, change nothing.
    """

    def __init__(self, bus: Bus, ledger: Ledger, *, retry_s: float = RETRY_S) -> None:
        self._ledger = ledger
        self._retry_s = retry_s
        self._watch = KvView(bus, streams.CONFIG.name, self._put, self._gone)
        self._sources: dict[int, Source] = {}
        self._prices: dict[int, Mapping[Key, Version]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._view = ConfigView()

    def terms(self) -> ConfigView | None:
        """The configuration in force; None while it has not been read."""
        return self._view if self._watch.loaded.is_set() else None

    def start(self) -> asyncio.Task[None]:
        """Follow and record. The task ends by `stop`, or with an error that nobody foresaw."""
        self._watch.start()
        self._task = asyncio.create_task(self._run(), name="record prices")
        return self._task

    async def stop(self) -> None:
        """Follow no more."""
        await self._watch.stop()
        if self._task is not None:
            await end(self._task)

    def _put(self, key: str, data: bytes) -> None:
        kind, _, number = key.partition(".")
        try:
            if key == CURRENT:
                self._view = ConfigView.decode(data)
                self._changed.set()
            elif kind == "revision" and number.isdecimal():
                self._prices[int(number)] = versions.versions(ConfigView.decode(data))
            elif kind == "source" and number.isdecimal():
                self._sources[int(number)] = Source.decode(data)
        except ValueError:
            log.error("a revision of the configuration cannot be read", extra={"document": key})

    def _gone(self, key: str) -> None:
        kind, _, number = key.partition(".")
        if number.isdecimal():
            known = {"revision": self._prices, "source": self._sources}.get(kind)
            if known is not None:
                known.pop(int(number), None)

    async def _run(self) -> None:
        await self._watch.loaded.wait()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await asyncio.to_thread(self._record, dict(self._sources), dict(self._prices), self._view)
            except LedgerUnavailable as error:
                log.warning("prices not recorded", extra={"error": str(error)[:500]})
                self._changed.set()
                await asyncio.sleep(self._retry_s)

    def _record(
        self, sources: dict[int, Source], prices: dict[int, Mapping[Key, Version]], current: ConfigView
    ) -> None:
        before: Mapping[Key, Version]
        before, last_ms = versions.recorded(self._ledger.ask(RECORDED.sql, RECORDED.parameters))
        rows: list[PriceRow] = []
        for number, now, at_ms in versions.chain(sources, prices, current.revision, last_ms):
            rows += versions.changes(before, now, number, at_ms)
            before = now
        if rows:
            block = blocks.encode("prices", rows)
            token = f"prices-{hashlib.sha256(block).hexdigest()}"
            self._ledger.insert("prices", versions.COLUMNS, block, token)
            log.info("prices recorded", extra={"versions": len(rows), "revision": current.revision})
