"""Listens for workers and settles, as lost, what dead ones left open. A settlement that comes later wins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from nats.aio.client import Client

from keyrail.contracts.base import now_ms
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.listening import Listener, monotonic_ms
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.queries import OPEN_ATTEMPTS, lost
from keyrail_cost_accounting.sweep import OpenAttempt, sweep

log = logging.getLogger(__name__)

MOST = 1_000
"""Attempts settled by one statement."""


class Sweeper:
    """The periodic task. It waits while `caught_up` says that the ledger lags behind the events."""

    def __init__(
        self,
        nc: Client,
        ledger: Ledger,
        metrics: Metrics,
        *,
        silence_s: float,
        caught_up: Callable[[], bool],
        every_s: float = 5.0,
        tick_s: float = 1.0,
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._silence_ms = int(silence_s * 1000)
        self._caught_up = caught_up
        self._every_ms = int(every_s * 1000)
        self._tick_s = tick_s
        self._workers = Listener(nc, "provider-worker")

    async def run(self) -> None:
        """Listen and sweep until cancelled."""
        await self._workers.start()
        next_ms = 0
        try:
            while True:
                now = monotonic_ms()
                self._workers.tick(now)
                if now >= next_ms:
                    next_ms = now + self._every_ms
                    await self._sweep(now)
                await asyncio.sleep(self._tick_s)
        finally:
            await self._workers.stop()

    async def _sweep(self, now: int) -> None:
        since = self._workers.since(now, self._silence_ms)
        if since is None or not self._caught_up():
            return
        try:
            rows = await asyncio.to_thread(self._ledger.ask, OPEN_ATTEMPTS.sql, OPEN_ATTEMPTS.parameters)
            attempts = [OpenAttempt(str(row["attempt_id"]), str(row["worker"])) for row in rows]
            gone = sweep(attempts, self._workers.heard, now, since, self._silence_ms)
            for start in range(0, len(gone), MOST):
                statement = lost(gone[start : start + MOST], now_ms())
                await asyncio.to_thread(self._ledger.command, statement.sql, statement.parameters)
                self._metrics.swept.inc(len(gone[start : start + MOST]))
        except LedgerUnavailable as error:
            log.warning("sweep failed", extra={"error": str(error)[:500]})
            return
        if gone:
            log.warning("attempts of silent workers settled as lost", extra={"attempts": len(gone)})
