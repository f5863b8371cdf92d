"""Forwarding a slip: one way, and the forwarder itself hears within a millisecond when nobody is there."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError

PATIENCE_S = 2.0
"""How long to try again when nobody is there: the time a restart takes."""
RETRY_S = 0.05
MEMORY_S = 1.0
"""How long a slip is remembered after its last publish, in case that the refusal comes."""

Refused = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Sent:
    subject: str
    message: bytes
    refused: Refused
    give_up: float
    forget: float


class Forwarder:
    """Publishes slips; NATS tells `no responders` to this instance's inbox, the reply subject of the hop."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._numbers = itertools.count()
        self._sent: dict[str, _Sent] = {}
        self._order: deque[str] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen for refusals."""
        await self._bus.subscribe(f"{self._bus.inbox}.f.*", self._on_refusal)

    async def forward_to(self, instance: str | None, subject: str, message: bytes, refused: Refused) -> None:
        """As `forward`, first to `instance`, one of those that take from `subject`."""
        if instance is None:
            await self.forward(subject, message, refused)
            return

        async def to_anybody() -> None:
            await self.forward(subject, message, refused)

        await self.forward(instance, message, to_anybody, patience_s=0.0)

    async def forward(
        self, subject: str, message: bytes, refused: Refused, *, patience_s: float = PATIENCE_S
    ) -> None:
        """Send to `subject`; `refused` is called once nobody has been there for `patience_s`."""
        now = time.monotonic()
        self._expire(now)
        token = str(next(self._numbers))
        sent = _Sent(subject, message, refused, now + patience_s, now + patience_s + MEMORY_S)
        self._sent[token] = sent
        self._order.append(token)
        await self._publish(token, sent)

    async def settle(self) -> None:
        """Return once no refusal is outstanding: for the drain, after the last `forward`."""
        while True:
            await self._bus.nc.flush()  # refusals of all that was published have arrived by then
            await asyncio.sleep(RETRY_S)
            if not self._tasks:
                return
            await asyncio.wait(self._tasks)

    async def _publish(self, token: str, sent: _Sent) -> None:
        try:
            await self._bus.publish(sent.subject, sent.message, reply=f"{self._bus.inbox}.f.{token}")
        except BusError:
            self._sent.pop(token, None)
            await sent.refused()

    async def _on_refusal(self, msg: Msg) -> None:
        token = msg.subject.rpartition(".")[2]
        sent = self._sent.get(token)
        if sent is None:
            return
        if time.monotonic() + RETRY_S < sent.give_up:
            self._spawn(self._again(token, sent))
        else:
            del self._sent[token]
            self._spawn(sent.refused())

    async def _again(self, token: str, sent: _Sent) -> None:
        await asyncio.sleep(RETRY_S)
        await self._publish(token, sent)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expire(self, now: float) -> None:
        while self._order:
            sent = self._sent.get(self._order[0])
            if sent is not None and sent.forget > now:
                return
            self._sent.pop(self._order.popleft(), None)
