"""Cost-accounting as a process: it owns its ledger from start to drain."""

from __future__ import annotations

import os
import socket

from keyrail.bus.connection import Bus
from keyrail.bus.liveness import Heart
from keyrail_cost_accounting import schema
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.settings import Settings


class Process:
    """What `runtime.process` runs."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._heart = Heart(bus)
        self._ledger = settings.open(settings.ledger)
        if (settings.ledger_migrate or ("auto" if self._ledger.embedded else "check")) == "auto":
            who = f"{socket.gethostname()}:{os.getpid()}"
            prepare = schema.migrated(self._ledger, settings.layout(), who)
        else:
            prepare = schema.awaited(self._ledger)
        self._service = CostAccounting(
            bus, self._ledger, Metrics(), sweep_after_s=settings.sweep_after_s, prepare=prepare
        )

    async def start(self) -> None:
        """Return once events are consumed and questions answered."""
        await self._service.start()
        self._heart.start()

    async def drain(self) -> None:
        """Finish the batch in hand and give the ledger back."""
        await self._service.drain()
        await self._heart.stop()
        self._ledger.close()
