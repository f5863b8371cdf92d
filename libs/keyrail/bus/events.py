"""Publishing events: group commit.

All events that come in while one message waits for its acknowledgement leave together in the next one. A
message is retried, byte for byte and with the same Nats-Msg-Id, until JetStream has acknowledged it, so an
event is stored at least once as long as this process lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError
from keyrail.contracts.base import Contract
from keyrail.telemetry import metrics

log = logging.getLogger(__name__)

MAX_EVENTS = 256
MAX_BYTES = 512 * 1024
MAX_WAITING = 20_000
"""About 15 MB. Whoever begins something that will have events asks `clogged` first."""
LINGER_S = 0.05
"""How long an event that nobody waits for may wait for company."""
ACK_TIMEOUT_S = 1.0
RETRY_MIN_S = 0.05
RETRY_MAX_S = 1.0

Waiting = tuple[bytes, asyncio.Future[None] | None]


@dataclass(slots=True)
class _Message:
    """The message under way: what it is, who waits for it, and how long to pause before the next try."""

    payload: bytes
    header: bytes
    reply: str
    waiters: list[asyncio.Future[None]]
    pause_s: float = RETRY_MIN_S


class EventPublisher:
    """One subject's events from this instance, in order. A state machine without a task: nothing is woken.

    Either a message is under way and `_timer` runs for its acknowledgement or next try, or none is, and
    `_timer` runs if events linger.
    """

    def __init__(self, bus: Bus, subject: str) -> None:
        self._bus = bus
        self._subject = subject
        self._inbox = f"{bus.inbox}.e.{subject.replace('.', '-')}"
        self._queue: deque[Waiting] = deque()
        self._urgent = 0
        self._count = 0
        self._flying: _Message | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = False
        self._loop: asyncio.AbstractEventLoop

    @property
    def clogged(self) -> bool:
        """Whether so many events wait for an acknowledgement that no further work should be begun."""
        return len(self._queue) > MAX_WAITING

    def start(self) -> None:
        """Start publishing."""
        self._loop = asyncio.get_running_loop()  # kept: asking for it is a system call each time
        self._bus.listen(f"{self._inbox}.*", self._on_answer)

    def post(self, event: Contract) -> None:
        """Publish soon; retried until acknowledged."""
        self._add(event, None)

    async def commit(self, event: Contract) -> None:
        """Return once JetStream has acknowledged the event. The caller sets the timeout."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._urgent += 1
        self._add(event, done)
        await done

    async def flush(self) -> None:
        """Return once everything so far is acknowledged."""
        self._hurry = True
        if self._flying is None and self._queue:
            self._send()
        await self._idle.wait()
        self._hurry = False

    async def stop(self) -> None:
        """Flush."""
        await self.flush()

    def _add(self, event: Contract, done: asyncio.Future[None] | None) -> None:
        self._queue.append((event.encode(), done))
        self._idle.clear()
        if self._flying is None:
            self._next()

    def _next(self) -> None:
        """Send what waits, now or after it has waited for company."""
        if self._urgent or self._hurry or len(self._queue) >= MAX_EVENTS:
            self._send()
        elif self._timer is None:
            self._timer = self._loop.call_later(LINGER_S, self._send)

    def _send(self) -> None:
        self._count += 1
        self._clear_timer()
        events: list[bytes] = []
        waiters: list[asyncio.Future[None]] = []
        size = 0
        while self._queue and len(events) < MAX_EVENTS and size < MAX_BYTES:
            event, done = self._queue.popleft()
            events.append(event)
            size += len(event)
            if done is not None:
                waiters.append(done)
        self._urgent -= len(waiters)
        name = f"{self._bus.instance}-{self._subject}-{self._count}"
        self._flying = _Message(
            payload=b"[%b]" % b",".join(events),
            header=f"NATS/1.0\r\nNats-Msg-Id: {name}\r\n\r\n".encode(),
            reply=f"{self._inbox}.{self._count}",
            waiters=waiters,
        )
        self._try()

    def _try(self) -> None:
        message = self._flying
        assert message is not None
        self._timer = self._loop.call_later(ACK_TIMEOUT_S, self._failed, "no answer in time")
        if message.pause_s > RETRY_MIN_S and not self._bus.connected:
            return  # the last try is still in the send buffer: no need to pile up copies
        try:
            self._bus.send(self._subject, message.payload, message.reply, message.header)
        except BusError as error:
            self._failed(str(error) or type(error).__name__)

    async def _on_answer(self, msg: Msg) -> None:
        message = self._flying
        if message is None or msg.subject != message.reply:
            return  # the answer to a try that was given up: a later one was acknowledged
        if not msg.data or b'"error"' in msg.data:
            self._failed(msg.data.decode("utf-8", "replace") or str(msg.headers))
            return
        self._clear_timer()
        self._flying = None
        for done in message.waiters:
            if not done.done():
                done.set_result(None)
        if self._queue:
            self._next()
        else:
            self._idle.set()

    def _failed(self, why: str) -> None:
        message = self._flying
        assert message is not None
        metrics.counter(metrics.EVENT_RETRIES, self._subject).inc()
        log.warning("event not acknowledged", extra={"error": why})
        self._clear_timer()
        self._timer = self._loop.call_later(message.pause_s, self._try)
        message.pause_s = min(message.pause_s * 2, RETRY_MAX_S)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
