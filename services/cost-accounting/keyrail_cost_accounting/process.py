"""Cost-accounting as a process: it owns its ledger from start to drain."""

from __future__ import annotations

from keyrail.bus.connection import Bus
from keyrail.bus.liveness import Heart
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.ledger import open_ledger
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.settings import Settings


class Process:
    """What `runtime.process` runs."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._heart = Heart(bus)
        password = settings.ledger_password.get_secret_value()
        self._ledger = open_ledger(settings.ledger, user=settings.ledger_user, password=password)
        self._contents = open_ledger(settings.ledger, user=settings.ledger_user, password=password)
        self._service = CostAccounting(
            bus, self._ledger, Metrics(), sweep_after_s=settings.sweep_after_s, contents=self._contents
        )

    async def start(self) -> None:
        """Return once events are consumed and questions answered."""
        await self._service.start()
        self._heart.start()

    async def drain(self) -> None:
        """Finish the batch in hand and give the ledger back."""
        await self._service.drain()
        await self._heart.stop()
        self._contents.close()
        self._ledger.close()
