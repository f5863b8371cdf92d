"""Publishing events: group commit.

All events that come in while one publish waits for its acknowledgement leave together in the next message.
A message is retried, byte for byte and with the same Nats-Msg-Id, until JetStream has acknowledged it, so an
event is stored at least once as long as this process lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from nats.errors import Error as NatsError
from nats.js.api import Header
from nats.js.errors import APIError

from keyrail.bus.connection import Bus
from keyrail.contracts.base import Contract
from keyrail.telemetry import metrics

log = logging.getLogger(__name__)

MAX_EVENTS = 256
MAX_BYTES = 512 * 1024
MAX_WAITING = 20_000
"""About 15 MB. Whoever begins something that will have events asks `clogged` first."""
LINGER_S = 0.01
"""How long an event that nobody waits for may wait for company."""
ACK_TIMEOUT_S = 1.0
RETRY_MAX_S = 1.0


class EventPublisher:
    """One subject's events from this instance, in order."""

    def __init__(self, bus: Bus, subject: str) -> None:
        self._bus = bus
        self._subject = subject
        self._queue: deque[tuple[bytes, asyncio.Future[None] | None]] = deque()
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def clogged(self) -> bool:
        """Whether so many events wait for an acknowledgement that no further work should be begun."""
        return len(self._queue) > MAX_WAITING

    def start(self) -> None:
        """Start publishing."""
        self._task = asyncio.create_task(self._run(), name=f"events {self._subject}")

    def post(self, event: Contract) -> None:
        """Publish soon; retried until acknowledged."""
        self._add(event, None)

    async def commit(self, event: Contract) -> None:
        """Return once JetStream has acknowledged the event. The caller sets the timeout."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(event, done)
        self._urgent.set()
        await done

    async def flush(self) -> None:
        """Return once everything so far is acknowledged."""
        self._urgent.set()
        await self._idle.wait()

    async def stop(self) -> None:
        """Flush, then stop."""
        await self.flush()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _add(self, event: Contract, done: asyncio.Future[None] | None) -> None:
        self._queue.append((event.encode(), done))
        self._idle.clear()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if not self._urgent.is_set() and len(self._queue) < MAX_EVENTS:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._urgent.wait(), LINGER_S)
            self._urgent.clear()
            batch = self._take()
            await self._publish_until_acked(b"[" + b",".join(event for event, _ in batch) + b"]")
            for _, done in batch:
                if done is not None and not done.done():
                    done.set_result(None)
            if any(done is not None for _, done in self._queue):
                self._urgent.set()
            if not self._queue:
                self._wake.clear()
                self._idle.set()

    def _take(self) -> list[tuple[bytes, asyncio.Future[None] | None]]:
        batch: list[tuple[bytes, asyncio.Future[None] | None]] = []
        size = 0
        while self._queue and len(batch) < MAX_EVENTS and size < MAX_BYTES:
            batch.append(self._queue.popleft())
            size += len(batch[-1][0])
        return batch

    async def _publish_until_acked(self, payload: bytes) -> None:
        self._count += 1
        headers = {Header.MSG_ID.value: f"{self._bus.instance}-{self._subject}-{self._count}"}
        pause = 0.05
        while True:
            try:
                await self._bus.js.publish(self._subject, payload, timeout=ACK_TIMEOUT_S, headers=headers)
                return
            except (NatsError, APIError, TimeoutError, OSError) as error:
                metrics.counter(metrics.EVENT_RETRIES, self._subject).inc()
                log.warning("event not acknowledged", extra={"error": str(error) or type(error).__name__})
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_MAX_S)
