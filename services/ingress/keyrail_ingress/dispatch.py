"""Giving requests out, and giving them out again when their worker is lost."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Hearing
from keyrail.contracts import slips, subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import TAKE_BY_MS
from keyrail.telemetry import metrics
from keyrail_ingress import watch
from keyrail_ingress.exchange import Exchange
from keyrail_ingress.inbox import Inbox
from keyrail_ingress.watch import Beat, Verdict

log = logging.getLogger(__name__)

PERIOD_S = 0.25
SETTLED_S = 1.5
"""After a reconnection the others need a moment to reconnect too, and one more beat to be heard."""

WORKER_LOST = Failure(
    kind="unavailable", message="The worker that served this request is gone.", status=502, code="worker_lost"
)
NOT_TAKEN = Failure(
    kind="unavailable", message="No worker took this request in time.", status=503, code="no_worker"
)


class Dispatcher:
    """Publishes slips to the routers and watches over the requests under way."""

    def __init__(self, bus: Bus, inbox: Inbox, hearing: Hearing) -> None:
        self._bus = bus
        self._inbox = inbox
        self._hearing = hearing
        self._forwarder = Forwarder(bus)
        self._refusals: dict[str, int] = {}
        self._connected_at = 0.0
        self._outbox: deque[Exchange] = deque()
        self._submitted: asyncio.Future[None] | None = None  # made while there is nothing to send
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start watching."""
        await self._forwarder.start()
        await self._bus.subscribe(f"{self._bus.inbox}.p.*", self._on_probe_refused)
        self._bus.on_reconnect(self._reconnected)
        self._tasks = [
            asyncio.create_task(self._watch(), name="watch"),
            asyncio.create_task(self._send(), name="send"),
        ]

    async def stop(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def submit(self, exchange: Exchange) -> None:
        """Send the exchange's slip to a router soon. One task does that for all: none is made a request."""
        self._outbox.append(exchange)
        if self._submitted is not None and not self._submitted.done():
            self._submitted.set_result(None)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._submitted = loop.create_future()
            if not self._outbox:
                await self._submitted
            while self._outbox:
                exchange = self._outbox.popleft()
                try:
                    await self._dispatch(exchange)
                except Exception:  # an edge of the process: one request's bug must not end the others'
                    log.exception("not dispatched", extra={"request_id": exchange.slip.request_id})
                    exchange.fail(NOT_TAKEN)

    async def _dispatch(self, exchange: Exchange) -> None:
        """Send the exchange's slip to a router."""

        async def refused() -> None:
            if exchange.worker is None:
                exchange.fail(
                    Failure(
                        kind="unavailable",
                        message="No router is there to take this request.",
                        status=503,
                        code="no_router",
                        retry_after_s=1,
                    )
                )

        message = slips.pack(exchange.slip, exchange.body)
        router = self._hearing.instead("router", random.random)
        address = subjects.request_to(router) if router is not None else None
        await self._forwarder.forward_to(address, subjects.REQUEST, message, refused)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            now = time.monotonic()
            wall = now_ms()
            metrics.REQUESTS_IN_FLIGHT.set(len(self._inbox.open))
            for exchange in list(self._inbox.open.values()):
                sure = exchange.worker not in self._refusals
                if not (exchange.finished or (sure and watch.calm(exchange, now, wall))):
                    await self._act(exchange, watch.verdict(exchange, self._beat(exchange), now, wall))

    async def _act(self, exchange: Exchange, verdict: Verdict) -> None:
        match verdict:
            case "wait":
                if self._settled():
                    exchange.missing_beats = 0
            case "probe":
                await self._probe(exchange)
            case "expired":
                message = "The request took longer than its total timeout."
                exchange.fail(Failure(kind="timeout", message=message, status=504, code="timeout"))
            case "not-taken":
                await self._again(exchange, NOT_TAKEN)
            case "worker-lost":
                await self._again(exchange, WORKER_LOST)
            case "frames-lost":
                exchange.missing_beats += 1
                away = self._connected_at > exchange.taken_at
                beats = watch.MISSING_BEATS_AWAY if away else watch.MISSING_BEATS
                if exchange.missing_beats > beats / PERIOD_S:
                    metrics.FRAME_GAPS.inc()
                    message = "A part of the answer was lost on the way."
                    exchange.fail(Failure(kind="internal", message=message, status=502, code="answer_lost"))

    async def _again(self, exchange: Exchange, lost: Failure) -> None:
        """Hand the request back to the routers without the lost attempt, or end it honestly."""
        if exchange.content or exchange.slip.epoch + 1 >= watch.MAX_DISPATCHES:
            exchange.fail(lost)
            return
        metrics.counter(metrics.REDISPATCHES, lost.code or "").inc()
        log.warning("dispatched again", extra={"request_id": exchange.slip.request_id, "reason": lost.code})
        worker, before = exchange.worker, exchange.order
        exchange.redispatch(now_ms() + TAKE_BY_MS, lost)
        if worker is not None:  # should it live after all
            await self._inbox.cancel(worker, exchange.slip.request_id, before, "handed on")
        await self._dispatch(exchange)

    def _settled(self) -> bool:
        """Whether silence means something again after the last reconnection."""
        now = asyncio.get_running_loop().time()
        return self._bus.connected and now - self._connected_at >= SETTLED_S

    def _beat(self, exchange: Exchange) -> Beat | None:
        worker = exchange.worker
        if worker is None:
            return None
        heard = self._hearing.heard.get(worker)
        if heard is not None and heard.at < self._connected_at:
            heard = None  # what it said before the bus was away is no longer true
        silent = self._hearing.silent_s(worker, exchange.taken_at) if self._settled() else 0.0
        if silent < PERIOD_S:
            self._refusals.pop(worker, None)
        return Beat(
            silent_s=silent,
            gone=self._refusals.get(worker, 0) >= 2,
            heard_at=heard.at if heard else 0.0,
            last_sent=heard.alive.streams.get(exchange.slip.request_id) if heard else None,
        )

    async def _probe(self, exchange: Exchange) -> None:
        """Ask NATS whether the worker's subscription still exists: a killed one shows at once."""
        worker = exchange.worker
        if worker is not None and self._bus.connected:
            await self._bus.publish(subjects.cancel(worker), b"", reply=f"{self._bus.inbox}.p.{worker}")

    async def _on_probe_refused(self, msg: Msg) -> None:
        worker = msg.subject.rpartition(".")[2]
        self._refusals[worker] = self._refusals.get(worker, 0) + 1

    async def _reconnected(self) -> None:
        self._connected_at = time.monotonic()
        self._refusals.clear()
