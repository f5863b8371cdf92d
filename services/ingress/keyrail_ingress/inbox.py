"""The requests under way at this ingress and the one subscription that all their frames come in by."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError
from keyrail.contracts import frames, subjects
from keyrail.contracts.frames import Kind, Taken
from keyrail.contracts.signals import Cancel
from keyrail.contracts.slips import Slip
from keyrail.telemetry import metrics
from keyrail_ingress.exchange import Exchange

log = logging.getLogger(__name__)

LAST = 0xFFFF
REMEMBER_S = 6.0
"""How long an abandoned request is remembered, for the `taken` that may still come."""


class Inbox:
    """Opens and closes exchanges; brings each its frames; cancels what nobody waits for."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._numbers = itertools.count()
        self.open: dict[str, Exchange] = {}
        self._abandoned: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        await self._bus.subscribe(f"{self._bus.inbox}.r.*", self._on_message)

    def address(self) -> str:
        """A new inbox subject."""
        return f"{self._bus.inbox}.r.{next(self._numbers)}"

    def register(self, slip: Slip, body: bytes, on_change: Callable[[], None]) -> Exchange:
        """Open the exchange of a slip whose inbox came from `address`."""
        exchange = Exchange(slip, body, on_change)
        self.open[slip.inbox] = exchange
        return exchange

    def close(self, exchange: Exchange, *, reason: str | None = None) -> None:
        """Forget a request. With a reason: what still runs for it is cancelled."""
        self.open.pop(exchange.slip.inbox, None)
        exchange.close()
        if reason is None:
            return
        if exchange.worker is not None:
            self._spawn(self.cancel(exchange.worker, exchange.slip.request_id, (LAST, LAST), reason))
        else:
            inbox = exchange.slip.inbox
            self._abandoned[inbox] = exchange.slip.request_id
            asyncio.get_running_loop().call_later(REMEMBER_S, self._abandoned.pop, inbox, None)

    async def settle(self) -> None:
        """Return once all cancels are sent."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self, worker: str, request_id: str, upto: tuple[int, int], reason: str) -> None:
        """Tell a worker to stop a request's attempts up to and including this epoch and hop."""
        message = Cancel(request_id=request_id, epoch=upto[0], hop=upto[1], reason=reason)
        try:
            await self._bus.publish(subjects.cancel(worker), message.encode())
        except BusError as error:
            log.warning("cancel not sent", extra={"request_id": request_id, "error": str(error)})

    async def _on_message(self, msg: Msg) -> None:
        exchange = self.open.get(msg.subject)
        if exchange is None:
            await self._late(msg)
            return
        now = time.monotonic()
        try:
            for frame in frames.decode(msg.data):
                exchange.receive(frame, now)
        except ValueError as error:
            log.error("a frame could not be read", extra={"error": str(error)})
        exchange.tell()
        if exchange.stale_workers:
            await self._stale(exchange)

    async def _stale(self, exchange: Exchange) -> None:
        workers, exchange.stale_workers = exchange.stale_workers, ()
        epoch, hop = exchange.order
        upto = (epoch, hop - 1) if hop else (epoch - 1, LAST)
        for worker in workers:
            metrics.STALE_ATTEMPTS.inc()
            await self.cancel(worker, exchange.slip.request_id, upto, "handed on")

    async def _late(self, msg: Msg) -> None:
        request_id = self._abandoned.get(msg.subject)
        if request_id is None:
            return
        for frame in frames.decode(msg.data):
            if frame.kind == Kind.TAKEN:
                worker = Taken.decode(frame.payload).worker
                await self.cancel(worker, request_id, (LAST, LAST), "client gone")
