"""Keeps the rollups up to date in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.rollups import Rollups

log = logging.getLogger(__name__)


class Refresher:
    """The periodic task. Costs are exact without it too: what it has not done yet is read from the rows."""

    def __init__(
        self, ledger: Ledger, metrics: Metrics, *, every_s: float = 15.0, idle_s: float = 120.0
    ) -> None:
        self._stopping = asyncio.Event()
        self._rollups = Rollups(ledger, self._stopping.is_set)
        self._metrics = metrics
        self._every_s = every_s
        self._idle_s = idle_s

    def stop(self) -> None:
        """`run` returns after the statement in hand."""
        self._stopping.set()

    async def run(self) -> None:
        """Refresh until stopped: less often while nothing is new, and a sixth of the time at most."""
        pause = self._every_s
        while not await self._stopped_within(pause):
            began = time.monotonic()
            try:
                minutes = await asyncio.to_thread(self._rollups.refresh)
            except LedgerUnavailable as error:
                log.warning("rollups not refreshed", extra={"error": str(error)[:500]})
                continue
            took = time.monotonic() - began
            if minutes:
                self._metrics.rollup_seconds.observe(took)
                self._metrics.rollup_minutes.inc(minutes)
            pause = max(self._every_s, 5 * took) if minutes else min(2 * pause, self._idle_s)

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()
