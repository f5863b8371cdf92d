"""Listens for workers and settles, as lost, what dead ones left open. A settlement that comes later wins."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from keyrail.contracts import subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.signals import Alive
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.queries import OPEN_ATTEMPTS, lost
from keyrail_cost_accounting.sweep import Hearing, OpenAttempt, sweep

log = logging.getLogger(__name__)

MOST = 1_000
"""Attempts settled by one statement."""
FORGET_MS = 3_600_000


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
        self._nc = nc
        self._ledger = ledger
        self._metrics = metrics
        self._silence_ms = int(silence_s * 1000)
        self._caught_up = caught_up
        self._every_ms = int(every_s * 1000)
        self._tick_s = tick_s
        self._hearing = Hearing()
        self._heard: dict[str, int] = {}
        self._reconnects = 0
        self._subscription: Subscription | None = None

    async def run(self) -> None:
        """Listen and sweep until cancelled."""
        self._subscription = await self._nc.subscribe(subjects.alive("provider-worker"), cb=self._alive)
        next_ms = 0
        try:
            while True:
                now = _monotonic_ms()
                self._tick(now)
                if now >= next_ms:
                    next_ms = now + self._every_ms
                    await self._sweep(now)
                await asyncio.sleep(self._tick_s)
        finally:
            if not self._nc.is_closed:
                await self._subscription.unsubscribe()

    def _tick(self, now: int) -> None:
        if (reconnects := self._nc.stats["reconnects"]) != self._reconnects:
            self._reconnects = reconnects
            self._hearing.interrupted()
        self._hearing.tick(now, connected=self._nc.is_connected)

    async def _alive(self, msg: Msg) -> None:
        try:
            alive = Alive.decode(msg.data)
        except ValueError:
            log.warning("an announcement of a worker cannot be read")
            return
        self._heard[alive.instance] = _monotonic_ms()

    async def _sweep(self, now: int) -> None:
        since = self._hearing.listening_since_ms
        if since is None or now - since <= self._silence_ms or not self._caught_up():
            return
        self._heard = {worker: at for worker, at in self._heard.items() if now - at < FORGET_MS}
        try:
            rows = await asyncio.to_thread(self._ledger.ask, OPEN_ATTEMPTS.sql, OPEN_ATTEMPTS.parameters)
            attempts = [OpenAttempt(str(row["attempt_id"]), str(row["worker"])) for row in rows]
            gone = sweep(attempts, self._heard, now, since, self._silence_ms)
            for start in range(0, len(gone), MOST):
                statement = lost(gone[start : start + MOST], now_ms())
                await asyncio.to_thread(self._ledger.command, statement.sql, statement.parameters)
                self._metrics.swept.inc(len(gone[start : start + MOST]))
        except LedgerUnavailable as error:
            log.warning("sweep failed", extra={"error": str(error)[:500]})
            return
        if gone:
            log.warning("attempts of silent workers settled as lost", extra={"attempts": len(gone)})


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
