"""From the stream to the ledger: take a batch, insert it, then acknowledge it. Nothing is fetched in between.

What makes this idempotent: rows have deterministic keys and merge by rank, so a message that comes again, in
whatever batch, changes no sum. The insert's deduplication token only saves work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from keyrail.contracts import subjects
from keyrail.contracts.base import new_id, now_ms
from keyrail_cost_accounting import blocks
from keyrail_cost_accounting.batches import Batches, PullRefused
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.rows import Rejected, Row, Rows

T = TypeVar("T")
log = logging.getLogger(__name__)

KNOWN = frozenset({subjects.EVENT_ATTEMPT, subjects.EVENT_REQUEST, subjects.EVENT_ALERT})
BLOCK = 4_000
"""Most rows of one insert: a deduplication token holds for one block."""
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
    progress_s: float = 10.0


Poisoned = dict[int, list[Rejected]]
"""What could not be read, by the place of its message in the batch."""


class Store(Protocol):
    """The ledger as an intake sees it: what fails is tried again, until the consumer has to stop."""

    async def insert(self, table: str, rows: list[Row], token: str) -> None:
        """Insert, once for each token. Raises LedgerUnavailable when the consumer is to stop."""
        ...

    async def patiently(self, what: str, work: Callable[[], T]) -> T:
        """Do what blocks, in a thread. Raises LedgerUnavailable when the consumer is to stop."""
        ...


class Intake(Protocol):
    """What the messages of a durable say, and how that gets into the ledger."""

    async def store(self, batch: Sequence[Msg], ledger: Store) -> Poisoned:
        """Return once everything but what is returned is in the ledger. Raises LedgerUnavailable."""
        ...


class Events:
    """The intake of events."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def store(self, batch: Sequence[Msg], ledger: Store) -> Poisoned:
        rows = Rows()
        poisoned: Poisoned = {}
        for index, msg in enumerate(batch):
            if rejected := _read(rows, msg):
                poisoned[index] = rejected
        token = new_id()  # of this batch in this process: retries of an insert that did arrive
        await ledger.insert("attempts", rows.attempts, token)
        await ledger.insert("requests", rows.requests, token)
        await ledger.insert("alerts", rows.alerts, token)
        if rows.newest_ms:
            self._metrics.lag.set(max(0, now_ms() - rows.newest_ms) / 1000)
        return poisoned


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
        self._ledger = ledger
        self._metrics = metrics
        self._pace = pace
        self._intake = intake or Events(metrics)
        self._stopping = asyncio.Event()
        self._due = 0.0
        self._idle = True
        self.caught_up = False
        """Whether the last batch emptied the durable: what the ledger shows is what has happened."""

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Fetch no more; `run` returns after the batch in hand."""
        self._stopping.set()
        self._batches.interrupt()

    async def run(self) -> None:
        """Consume until stopped. Raises what nats-py raises when its connection is closed for good."""
        while not self._stopping.is_set():
            try:
                batch = await self._take()
            except PullRefused as error:
                self.caught_up = False
                log.warning("a durable does not answer", extra={"error": str(error)})
                await self.pause(1.0)
                continue
            if batch and not await self._settle(batch):
                return
            self.caught_up = len(batch) < self._pace.messages

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
        poisoned = await self._intake.store(batch, self)
        for index, rejected in poisoned.items():
            await self._dead_letter(batch[index], rejected)
            await batch[index].term()
        self._batches.acknowledge(msg for index, msg in enumerate(batch) if index not in poisoned)

    async def insert(self, table: str, rows: list[Row], token: str) -> None:
        """As Store's."""
        columns = blocks.COLUMNS[table]
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            block = blocks.encode(table, part)
            work = partial(self._ledger.insert, table, columns, block, f"{token}-{start}")
            await self.patiently(table, partial(self._timed, work))
            self._metrics.rows.labels(table).inc(len(part))

    async def patiently(self, what: str, work: Callable[[], T]) -> T:
        """As Store's."""
        delay = self._pace.retry_s
        while True:
            try:
                return await asyncio.to_thread(work)
            except LedgerUnavailable as error:
                self.caught_up = False
                self._metrics.insert_failures.inc()
                log.warning("insert failed", extra={"table": what, "error": str(error)[:500]})
                if self._stopping.is_set():
                    raise
                await self.pause(delay)
                delay = min(delay * 2, self._pace.retry_most_s)

    def _timed(self, work: Callable[[], None]) -> None:
        began = time.monotonic()
        work()
        self._metrics.insert_seconds.observe(time.monotonic() - began)

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
                for msg in batch:
                    await msg.in_progress()

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


def _read(rows: Rows, msg: Msg) -> list[Rejected]:
    """Add the message's events to `rows`; returns what is no event."""
    if msg.subject not in KNOWN:
        return [Rejected("events on this subject are not known to this version", msg.data)]
    rows.read(msg.data)
    rejected, rows.rejected = rows.rejected, []
    return rejected
