"""Cost-accounting as a process: it owns its ledger from start to drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket

from keyrail.bus.connection import Bus
from keyrail.bus.liveness import Heart
from keyrail_cost_accounting import schema
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.ledger import ClickHouse, LedgerRefused, LedgerUnavailable
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.settings import Settings

log = logging.getLogger(__name__)

RETRY_S = 2.0


class Process:
    """What `runtime.process` runs."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus = bus
        self._heart = Heart(bus)
        self._settings = settings
        self._ledger: ClickHouse | None = None
        self._contents: ClickHouse | None = None
        self._service: CostAccounting | None = None

    async def start(self) -> None:
        """Return once events are consumed and questions answered. A server that is away is waited for.

        Raises LedgerRefused when waiting would not help, LedgerUnavailable for a directory that can't be had.
        """
        self._ledger = await self._open()
        self._contents = await self._open()
        self._service = CostAccounting(
            self._bus,
            self._ledger,
            Metrics(),
            sweep_after_s=self._settings.sweep_after_s,
            prepare=self._prepare(self._ledger),
            contents=self._contents,
        )
        await self._service.start(on_end=_leave)
        self._heart.start()

    async def drain(self) -> None:
        """Finish the batch in hand and give the ledger back."""
        assert self._service is not None, "started"
        assert self._ledger is not None, "started"
        assert self._contents is not None, "started"
        try:
            await self._service.drain()
        finally:
            await self._heart.stop()
            self._contents.close()
            self._ledger.close()

    def _prepare(self, ledger: ClickHouse) -> schema.Prepare:
        if (self._settings.ledger_migrate or ("auto" if ledger.embedded else "check")) == "check":
            return schema.awaited(ledger)
        return schema.migrated(ledger, self._settings.layout(), f"{socket.gethostname()}:{os.getpid()}")

    async def _open(self) -> ClickHouse:
        server = self._settings.ledger.startswith(("http://", "https://"))
        while True:
            try:
                return await asyncio.to_thread(self._settings.open, self._settings.ledger)
            except LedgerUnavailable as error:
                refused = isinstance(error, LedgerRefused) or not server
                log.log(
                    logging.ERROR if refused else logging.WARNING,
                    "the ledger cannot be opened",
                    extra={"error": str(error)},
                )
                if refused:
                    raise
            await asyncio.sleep(RETRY_S)


def _leave() -> None:
    """A process that consumes nothing any more is of no use: let the supervisor start another."""
    signal.raise_signal(signal.SIGTERM)
