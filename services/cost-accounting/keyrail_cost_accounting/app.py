"""The composition root of cost-accounting."""

from __future__ import annotations

import asyncio
import contextlib

from keyrail.bus.connection import Bus
from keyrail.bus.tasks import end
from keyrail.contracts import streams
from keyrail_cost_accounting import memory
from keyrail_cost_accounting.answers import Answers
from keyrail_cost_accounting.batches import Batches
from keyrail_cost_accounting.closer import Closer
from keyrail_cost_accounting.consumer import Consumer, Pace
from keyrail_cost_accounting.handlers import serve_questions
from keyrail_cost_accounting.ledger import Ledger
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.migrate import migrate
from keyrail_cost_accounting.price_book import PriceBook
from keyrail_cost_accounting.sweeper import Sweeper

RELEASE_EVERY_S = 20.0


class CostAccounting:
    """The service on a connected bus and an open ledger, both of which stay the caller's to close."""

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        metrics: Metrics,
        *,
        sweep_after_s: float = 15.0,
        pace: Pace | None = None,
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        durable = streams.COST_ACCOUNTING
        self._batches = Batches(bus.nc, durable.stream, durable.name)
        self._consumer = Consumer(self._batches, bus.js, ledger, metrics, pace or Pace())
        self._prices = PriceBook(bus, ledger)
        self._questions = serve_questions(bus.nc, Answers(ledger, self._prices.terms).answer)
        self._sweeper = Sweeper(
            bus.nc,
            ledger,
            metrics,
            silence_s=sweep_after_s,
            every_s=min(5.0, sweep_after_s / 3),
            caught_up=lambda: self._consumer.caught_up,
        )
        self._closer = Closer(
            bus, ledger, metrics, silence_s=sweep_after_s, every_s=min(5.0, sweep_after_s / 3)
        )
        self._running: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Bring the tables up to date, then consume, answer and sweep."""
        await asyncio.to_thread(migrate, self._ledger)
        self._bus.on_reconnect(self._reconnected)
        await self._batches.open()
        self._prices.start()
        await self._questions.start()
        self._running = asyncio.create_task(self._consumer.run())
        self._background = [
            asyncio.create_task(self._sweeper.run()),
            asyncio.create_task(self._closer.run()),
            asyncio.create_task(self._release_memory()),
        ]

    async def wait(self) -> None:
        """Until the consumer ends: after `drain`, or with the error that stopped it."""
        assert self._running is not None, "started"
        await self._running

    async def _reconnected(self) -> None:
        """The server has forgotten what it was asked for."""
        self._batches.interrupt()

    async def drain(self) -> None:
        """Fetch no more, finish and acknowledge the batch in hand, stop answering."""
        await end(*self._background)
        await self._prices.stop()
        self._consumer.stop()
        try:
            await self.wait()
        finally:
            await self._batches.close()
            await self._questions.stop()

    async def _release_memory(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                memory.release()
                await asyncio.sleep(RELEASE_EVERY_S)
