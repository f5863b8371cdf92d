"""The composition root of cost-accounting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from keyrail.bus.connection import Bus
from keyrail.bus.tasks import end
from keyrail.contracts import streams
from keyrail_cost_accounting import memory
from keyrail_cost_accounting.answers import Answers
from keyrail_cost_accounting.backlog import Backlog
from keyrail_cost_accounting.batches import Batches
from keyrail_cost_accounting.closer import Closer
from keyrail_cost_accounting.consumer import Consumer, Pace
from keyrail_cost_accounting.content_deletion import Deletions
from keyrail_cost_accounting.content_intake import ContentIntake
from keyrail_cost_accounting.handlers import serve_questions
from keyrail_cost_accounting.ledger import Ledger
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.migrate import migrate
from keyrail_cost_accounting.price_book import PriceBook
from keyrail_cost_accounting.refresher import Refresher
from keyrail_cost_accounting.schema import Prepare
from keyrail_cost_accounting.sweeper import Sweeper

log = logging.getLogger(__name__)

RELEASE_EVERY_S = 20.0
CONTENTS_AT_ONCE = 100
AGAIN_S = 5.0


class CostAccounting:
    """The service on a connected bus and an open ledger, both of which stay the caller's to close.

    `contents`: the ledger on connections of their own, so that contents never keep events waiting.
    """

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        metrics: Metrics,
        *,
        sweep_after_s: float = 15.0,
        pace: Pace | None = None,
        prepare: Prepare | None = None,
        contents: Ledger | None = None,
    ) -> None:
        """`prepare` makes or awaits the tables; without it they are migrated here."""
        self._bus = bus
        self._ledger = ledger
        self._prepare = prepare
        pace = pace or Pace()
        contents = contents or ledger
        durable = streams.COST_ACCOUNTING
        self._batches = Batches(bus.nc, durable.stream, durable.name)
        self._consumer = Consumer(self._batches, bus.js, ledger, metrics, pace)
        durable = streams.COST_ACCOUNTING_CONTENTS
        self._content_batches = Batches(bus.nc, durable.stream, durable.name)
        self._contents = Consumer(
            self._content_batches,
            bus.js,
            contents,
            metrics,
            replace(pace, messages=CONTENTS_AT_ONCE),
            ContentIntake(contents, metrics),
        )
        self._prices = PriceBook(bus, ledger)
        answers = Answers(
            ledger, Deletions(contents, bus.js), self._prices.terms, lambda: self._consumer.caught_up
        )
        self._questions = serve_questions(bus.nc, answers.answer)
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
        self._refresher = Refresher(ledger, metrics)
        self._backlog = Backlog(bus.js, streams.EVENTS, streams.COST_ACCOUNTING, metrics)
        self._running: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []

    async def start(self, on_end: Callable[[], None] | None = None) -> None:
        """See to the tables, then consume, answer and sweep.

        `on_end` is called when a task ends with an error. `drain` raises that of the consumer
        and of the sums.
        """
        if self._prepare is not None:
            await self._prepare()
        else:
            await asyncio.to_thread(migrate, self._ledger)
        self._bus.on_reconnect(self._reconnected)
        await self._batches.open()
        await self._content_batches.open()
        recording = self._prices.start()
        await self._questions.start()
        self._running = asyncio.create_task(self._consumer.run())
        self._refreshing = asyncio.create_task(self._refresher.run())
        self._keeping = asyncio.create_task(self._keep_contents())
        self._background = [
            asyncio.create_task(self._sweeper.run()),
            asyncio.create_task(self._closer.run()),
            asyncio.create_task(self._backlog.run()),
            asyncio.create_task(self._release_memory()),
        ]
        for task in (self._running, self._refreshing, self._keeping, recording, *self._background):
            task.add_done_callback(partial(_ended, on_end))

    async def wait(self) -> None:
        """Until the consumer ends: after `drain`, or with the error that stopped it."""
        assert self._running is not None, "started"
        await self._running

    async def _reconnected(self) -> None:
        """The server has forgotten what it was asked for."""
        self._batches.interrupt()
        self._content_batches.interrupt()

    async def drain(self) -> None:
        """Fetch no more, finish and acknowledge the batch in hand, stop answering."""
        self._refresher.stop()
        await end(*self._background)
        if self._refreshing is not None:
            await self._refreshing
        await self._prices.stop()
        self._consumer.stop()
        self._contents.stop()
        try:
            await self.wait()
        finally:
            if self._keeping is not None:
                await self._keeping
            self._consumer.close()
            self._contents.close()
            await self._batches.close()
            await self._content_batches.close()
            await self._questions.stop()

    async def _keep_contents(self) -> None:
        """Whatever goes wrong here, events go on."""
        while not self._contents.stopping:
            try:
                await self._contents.run()
            except Exception as error:  # noqa: BLE001 - events don't depend on this task
                # its class alone: contents are in no log, sealed ones neither
                log.error("contents are not taken for a moment", extra={"error": type(error).__name__})
                await self._contents.pause(AGAIN_S)

    async def _release_memory(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                memory.release()
                await asyncio.sleep(RELEASE_EVERY_S)


def _ended(on_end: Callable[[], None] | None, task: asyncio.Task[None]) -> None:
    """A task that ended by itself has left its work undone: nobody may go on as if it were done."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    log.error("a part of the service ended", exc_info=error)
    if on_end is not None:
        on_end()
