"""From the stream to the ledger: take a batch, insert it, then acknowledge it. Nothing is fetched in between.

What makes this idempotent: rows have deterministic keys and merge by rank, so a message that comes again, in
whatever batch, changes no sum. The insert's deduplication token only saves work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from keyrail.contracts import subjects
from keyrail_cost_accounting.batches import Batches, PullRefused
from keyrail_cost_accounting.event_intake import EventIntake
from keyrail_cost_accounting.inserts import Inserts
from keyrail_cost_accounting.intake import Intake
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.rows import Rejected

log = logging.getLogger(__name__)

MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Pace:
    """How batches are cut and failures retried. Seconds.

    Inserts into both tables cost 15 ms of CPU for one row as for a hundred, so they are `every_s` apart as
    long as a batch holds what has come; what comes after a pause is inserted after `settle_s` already.
    """

    messages: int = 2_000
    every_s: float = 1.0
    settle_s: float = 0.1
    idle_s: float = 30.0
    retry_s: float = 0.2
    retry_most_s: float = 5.0
    progress_s: float = 5.0


class Consumer:
    """The loop. `run` ends when `stop` was called, with everything it had taken inserted and acknowledged."""

    def __init__(
        self,
        batches: Batches,
        js: JetStreamContext,
        ledger: Ledger,
        metrics: Metrics,
        pace: Pace,
        intake: Intake | None = None,
    ) -> None:
        self._batches = batches
        self._js = js
        self._metrics = metrics
        self._pace = pace
        self._intake = intake or EventIntake(metrics)
        self._stopping = asyncio.Event()
        self._inserts = Inserts(
            ledger, metrics, self._stopping, retry_s=pace.retry_s, retry_most_s=pace.retry_most_s
        )
        self._due = 0.0
        self._idle = True
        self._emptied = False

    @property
    def caught_up(self) -> bool:
        """Whether the last batch emptied the durable: what the ledger shows is what has happened."""
        return self._emptied and not self._inserts.failed

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Fetch no more; `run` returns after the batch in hand."""
        self._stopping.set()
        self._batches.interrupt()

    def close(self) -> None:
        """Let the thread of inserts go. For when `run` has returned for the last time."""
        self._inserts.close()

    async def run(self) -> None:
        """Consume until stopped. Raises what nats-py raises when its connection is closed for good."""
        while not self._stopping.is_set():
            try:
                batch = await self._take()
            except PullRefused as error:
                self._emptied = False
                log.warning("a durable does not answer", extra={"error": str(error)})
                await self.pause(1.0)
                continue
            if batch and not await self._settle(batch):
                return
            self._emptied = len(batch) < self._pace.messages
            self._inserts.failed = False

    async def _settle(self, batch: Sequence[Msg]) -> bool:
        """Insert and acknowledge. False: stopped while the ledger failed; the batch is handed back."""
        try:
            async with self._in_progress(batch):
                await self._commit(batch)
        except LedgerUnavailable:
            for msg in batch:
                await msg.nak()
            return False
        return True

    async def _take(self) -> list[Msg]:
        """The next batch, when it is due."""
        pace = self._pace
        if self._idle:
            await self._batches.some(pace.idle_s)
            self._due = max(self._due, time.monotonic() + pace.settle_s)
        await self.pause(self._due - time.monotonic())
        began = time.monotonic()
        batch = await self._batches.take(pace.messages, MAX_BYTES)
        self._idle = not batch
        full = len(batch) >= pace.messages
        self._due = began if full else began + pace.every_s
        return batch

    async def _commit(self, batch: Sequence[Msg]) -> None:
        poisoned = await self._intake.store(batch, self._inserts)
        for index, rejected in poisoned.items():
            await self._dead_letter(batch[index], rejected)
            await batch[index].term()
        self._batches.acknowledge(msg for index, msg in enumerate(batch) if index not in poisoned)

    async def _dead_letter(self, msg: Msg, rejected: list[Rejected]) -> None:
        """Put what could not be read where a person finds it; retried until the stream has it."""
        sequence = msg.metadata.sequence.stream
        for number, item in enumerate(rejected):
            headers = {
                "Keyrail-Reason": item.reason.replace("\r", " ").replace("\n", " ")[:200],
                "Keyrail-Subject": msg.subject,
                "Keyrail-Sequence": str(sequence),
                "Keyrail-Bytes": str(len(item.data) if item.size is None else item.size),
                "Nats-Msg-Id": f"{msg.metadata.stream}-{sequence}-{number}",
            }
            delay = self._pace.retry_s
            while True:
                try:
                    # cut where the server's limit would otherwise be a reason to try for ever
                    data = item.data[: self._batches.largest]
                    await self._js.publish(subjects.DEAD_LETTER_COST_ACCOUNTING, data, headers=headers)
                    break
                except ConnectionClosedError:
                    raise
                except (NatsError, TimeoutError) as error:
                    log.warning("dead letter not stored", extra={"error": str(error) or type(error).__name__})
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, self._pace.retry_most_s)
            self._metrics.dead_letters.inc()
            log.error("event put aside", extra={"reason": item.reason, "sequence": sequence})

    @asynccontextmanager
    async def _in_progress(self, batch: Sequence[Msg]) -> AsyncGenerator[None]:
        """Tell the server meanwhile that the batch is worked on, so that it is not redelivered."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(self._pace.progress_s)
                self._batches.progress(batch)

        teller = asyncio.create_task(tell())
        try:
            yield
        finally:
            teller.cancel()
            with suppress(asyncio.CancelledError, NatsError):
                await teller

    async def pause(self, seconds: float) -> None:
        """Wait, but not when it is to stop."""
        if seconds <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
