"""All attempts of this worker: taking slips, cancelling, falling back, noticing that an ingress is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from decimal import Decimal

from nats.aio.msg import Msg

from keyrail.bus.errors import BusError
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Hearing
from keyrail.bus.reply import Reply
from keyrail.contracts import slips, subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import ZERO
from keyrail.contracts.failures import NO_WORKER, OVERLOADED, Failure
from keyrail.contracts.frames import Fail, Kind, Passed
from keyrail.contracts.signals import Cancel
from keyrail.contracts.slips import TAKE_BY_MS, Slip, Spent
from keyrail.telemetry import metrics
from keyrail_provider_worker import fallback, settle
from keyrail_provider_worker.attempt import Attempt, Tools
from keyrail_provider_worker.caching.turn import Turn
from keyrail_provider_worker.settlements import Settlements

log = logging.getLogger(__name__)

INBOX_GONE_S = 5.0
PERIOD_S = 0.5
REMEMBER_S = 10.0
"""How long a cancel is remembered, for a slip that comes after it."""


class Runner:
    """Takes slips until it drains."""

    def __init__(self, tools: Tools, forwarder: Forwarder, hearing: Hearing, max_in_flight: int) -> None:
        self._tools = tools
        self._forwarder = forwarder
        self._hearing = hearing
        self._max_in_flight = max_in_flight
        self._settlements = Settlements(tools.bus)
        self._running: dict[str, tuple[Attempt, asyncio.Task[None]]] = {}
        self._cancelled: dict[str, tuple[int, int]] = {}
        self._reconnected_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start watching the ingresses."""
        self._loop = asyncio.get_running_loop()  # asking for it costs a system call, and each slip needs it
        self._tools.bus.on_reconnect(self._on_reconnect)
        self._watch = asyncio.create_task(self._watch_ingresses(), name="watch ingresses")

    async def finish(self) -> None:
        """Return once all attempts have ended."""
        while self._running:
            await asyncio.wait([task for _, task in self._running.values()])
        if self._watch is not None:
            self._watch.cancel()

    def settle(self) -> None:
        """Tell the routers at once what is not told yet: nothing comes after it."""
        self._settlements.flush()

    def streams(self) -> dict[str, tuple[int, int, int]]:
        """For the heartbeat: what was sent for each attempt that runs for a second or more."""
        before = now_ms() - 1000
        return {
            attempt.slip.request_id: (attempt.slip.epoch, attempt.slip.hop, attempt.reply.sequence - 1)
            for attempt, _ in self._running.values()
            if attempt.began_ms <= before
        }

    async def on_slip(self, msg: Msg) -> None:
        """Take one slip, unless its time is over."""
        try:
            slip, body = slips.unpack(msg.data)
        except ValueError as error:
            log.error("a slip could not be read", extra={"error": type(error).__name__})
            return
        if now_ms() >= slip.take_by_ms:
            metrics.LATE_SLIPS.inc()
            self._tell_router(slip, ZERO, final=True)
            return
        if len(self._running) >= self._max_in_flight:
            await self._send_fail(slip, OVERLOADED)
            return
        self._begin(slip, body)

    def _begin(self, slip: Slip, body: bytes, turn: Turn | None = None) -> None:
        upto = self._cancelled.get(slip.request_id)
        if upto is not None and (slip.epoch, slip.hop) <= upto:
            self._tell_router(slip, ZERO, final=True)
            if turn is not None:
                self._tools.cache.close(turn, slip, None, None)
            return
        attempt = Attempt(slip, body, self._tools, turn)
        assert self._loop is not None
        task = self._loop.create_task(self._run(attempt, body))
        self._running[attempt.id] = (attempt, task)
        metrics.ATTEMPTS_IN_FLIGHT.set(len(self._running))

    async def on_cancel(self, msg: Msg) -> None:
        """Stop a request's attempts. An empty message only asks whether this worker is there."""
        if not msg.data:
            return
        try:
            cancel = Cancel.decode(msg.data)
        except ValueError:
            log.error("a cancel could not be read")
            return
        upto = (cancel.epoch, cancel.hop)
        self._cancelled[cancel.request_id] = upto
        asyncio.get_running_loop().call_later(REMEMBER_S, self._cancelled.pop, cancel.request_id, None)
        for attempt, task in list(self._running.values()):
            slip = attempt.slip
            if slip.request_id == cancel.request_id and (slip.epoch, slip.hop) <= upto:
                task.cancel()

    async def _run(self, attempt: Attempt, body: bytes) -> None:
        try:
            failure = await attempt.run()
            if attempt.waited:
                await self._take_again(attempt, body)
                return
            spent = _spent(attempt, failure)
            following = await self._following(attempt, spent) if spent is not None else None
            self._tell_router(attempt.slip, attempt.cost_usd, final=following is None)
            if spent is not None:
                await self._after(attempt, body, spent, following)
        except BusError as error:
            log.warning("failure not sent on", extra={"error": type(error).__name__})
        finally:
            self._running.pop(attempt.id, None)
            metrics.ATTEMPTS_IN_FLIGHT.set(len(self._running))

    async def _take_again(self, attempt: Attempt, body: bytes) -> None:
        """It waited for another's answer until its time to call was nearly over: give it a new one."""
        assert attempt.turn is not None
        slip, take_by_ms = attempt.slip, now_ms() + TAKE_BY_MS
        self._tell_router(slip, ZERO, final=False)
        try:
            await attempt.reply.send(Kind.PASSED, Passed(take_by_ms=take_by_ms))
        except BusError:
            self._tools.cache.close(attempt.turn, slip, None, None)
            raise
        self._begin(slip.replace(hop=slip.hop + 1, take_by_ms=take_by_ms), body, attempt.turn)

    async def _after(self, attempt: Attempt, body: bytes, spent: Spent, following: Slip | None) -> None:
        """Pass the slip on to the next target, or tell the client."""
        if following is None:
            every = (*attempt.slip.spent, spent)
            await attempt.reply.send(Kind.FAIL, Fail(failure=spent.failure, spent=every))
            return
        await attempt.reply.send(Kind.PASSED, Passed(spent=spent, take_by_ms=now_ms() + TAKE_BY_MS))
        if following.position == attempt.slip.position:
            self._begin(following, body)  # here, where it is known first which keys are out
            return
        await self._forwarder.forward(
            subjects.call(following.target.provider),
            slips.pack(following, body),
            lambda: self._send_fail(following, NO_WORKER),
        )

    async def _following(self, attempt: Attempt, spent: Spent) -> Slip | None:
        """The slip that goes on; None when the failure is the request's."""
        slip = attempt.slip
        assert slip.plan is not None
        if attempt.content_sent:
            return None
        closed: set[int] = set()
        for position in fallback.in_question(slip, spent):
            target = slip.plan.targets[position]
            tried = fallback.tried((*slip.spent, spent), target)
            if not await self._tools.keyring.left(slip.tenant, target.provider, tried):
                closed.add(position)
        return fallback.next_slip(slip, spent, now_ms(), head_sent=attempt.head_sent, closed=closed)

    def _tell_router(self, slip: Slip, cost_usd: Decimal | None, *, final: bool) -> None:
        """What its attempt did cost, where money is held for it; lost, the router asks the ledger."""
        told = settle.hold_settled(slip, cost_usd, final=final)
        if told is not None and slip.hold is not None:
            self._settlements.tell(slip.hold.router, told)

    async def _send_fail(self, slip: Slip, failure: Failure) -> None:
        """For a slip that no call was made for."""
        self._tell_router(slip, ZERO, final=True)
        try:
            await Reply(self._tools.bus, slip).send(Kind.FAIL, Fail(failure=failure, spent=slip.spent))
        except BusError as error:
            log.warning("failure not sent", extra={"error": type(error).__name__})

    async def _watch_ingresses(self) -> None:
        """Cancel what an ingress that is gone had asked for."""
        clock = time.monotonic
        while True:
            before = clock()
            await asyncio.sleep(PERIOD_S)
            now = clock()
            woke_late = now - before > 2 * PERIOD_S  # this process was paused: beats wait unread
            if woke_late or not self._tools.bus.connected or now - self._reconnected_at < INBOX_GONE_S:
                continue
            for attempt, task in list(self._running.values()):
                instance = attempt.slip.inbox.split(".")[1]
                since = now - (now_ms() - attempt.began_ms) / 1000
                if self._hearing.silent_s(instance, since) > INBOX_GONE_S:
                    log.warning("ingress gone", extra={"request_id": attempt.slip.request_id})
                    task.cancel()

    async def _on_reconnect(self) -> None:
        self._reconnected_at = time.monotonic()


def _spent(attempt: Attempt, failure: Failure | None) -> Spent | None:
    """What was spent where the attempt failed and this worker has to say so."""
    if failure is None or attempt.handed_on:
        return None
    return Spent(
        attempt_id=attempt.id,
        provider=attempt.slip.target.provider,
        model=attempt.slip.target.model,
        failure=failure,
        cost_usd=attempt.cost_usd,
        provider_key_id=attempt.key_id,
    )
