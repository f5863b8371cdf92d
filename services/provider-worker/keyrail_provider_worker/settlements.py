"""What attempts did cost, told to the routers that hold money for them: a few at a time."""

from __future__ import annotations

import asyncio
import logging

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError
from keyrail.contracts import subjects
from keyrail.contracts.base import encode_all
from keyrail.contracts.signals import HoldSettled

log = logging.getLogger(__name__)

LINGER_S = 0.02
"""How long one may wait for company: each message wakes three processes, and no request waits for this."""


class Settlements:
    """A list for each router. What gets lost, with this process or on the way, it asks the ledger for."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._told: dict[str, list[HoldSettled]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, router: str, told: HoldSettled) -> None:
        """Tell this router soon."""
        known = self._told.get(router)
        if known is not None:
            known.append(told)
            return
        self._told[router] = [told]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self.flush)

    def flush(self) -> None:
        """Tell everybody now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        told, self._told = self._told, {}
        for router, settled in told.items():
            try:
                self._bus.send(subjects.settled(router), encode_all(settled))
            except BusError as error:
                log.warning("router not told", extra={"requests": len(settled), "error": str(error)})
