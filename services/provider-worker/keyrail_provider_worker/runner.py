"""All attempts of this worker: taking slips, cancelling, falling back, noticing that an ingress is gone."""

from __future__ import annotations

import asyncio
import logging
import random
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
from keyrail.contracts.signals import Cancel, contender
from keyrail.contracts.slips import RACING, TAKE_BY_MS, Slip, Spent
from keyrail.dialects.continuing import Continuation
from keyrail.routing.extra import ExtraBudget
from keyrail.telemetry import metrics
from keyrail_provider_worker import fallback, midstream, retrying, settle
from keyrail_provider_worker.attempt import Attempt, Tools
from keyrail_provider_worker.caching.turn import Turn
from keyrail_provider_worker.retrying import Again
from keyrail_provider_worker.settlements import Settlements
from keyrail_provider_worker.standing import LOST_RACE, Verdicts

log = logging.getLogger(__name__)

INBOX_GONE_S = 5.0
PERIOD_S = 0.5
_DRAW = random.Random().random  # noqa: S311 - no secret, and asking the system is a call to it
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
        self._extra = ExtraBudget()
        self._running: dict[str, tuple[Attempt, asyncio.Task[None]]] = {}
        self._cancelled: dict[str, tuple[int, int]] = {}
        self._verdicts = Verdicts()
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
            _stream_key(attempt.slip): (attempt.slip.epoch, attempt.slip.hop, attempt.reply.sequence - 1)
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

    def _begin(
        self,
        slip: Slip,
        body: bytes,
        *,
        continuation: Continuation | None = None,
        turn: Turn | None = None,
    ) -> None:
        upto = self._cancelled.get(slip.request_id)
        if upto is not None and (slip.epoch, slip.hop) <= upto:
            self._tell_router(slip, ZERO, final=True)
            if turn is not None:
                self._tools.cache.close(turn, slip, None, None)
            return
        if not slip.spent and slip.role == "serve":
            self._extra.earn(slip.tenant)
        assert self._loop is not None
        if slip.role in RACING and self._verdicts.lost(slip):
            self._loop.create_task(self._send_fail(slip, LOST_RACE))
            return
        attempt = Attempt(slip, body, self._tools, continuation=continuation, turn=turn)
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
        if cancel.standing is not None:
            self._verdicts.tell(cancel, self._running.values())
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
            onward = await self._onward(attempt, spent) if spent is not None else None
            self._tell_router(attempt.slip, attempt.cost_usd, final=onward is None)
            if spent is not None:
                await self._after(attempt, body, spent, onward)
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
        self._begin(slip.replace(hop=slip.hop + 1, take_by_ms=take_by_ms), body, turn=attempt.turn)

    async def _after(self, attempt: Attempt, body: bytes, spent: Spent, onward: Again | None) -> None:
        """Pass the slip on to the next target, or tell the client."""
        slip = attempt.slip
        if onward is None:
            failure = spent.failure
            if not attempt.content_sent:
                failure = retrying.final(slip, spent, now_ms(), self._tools.breakers.open_until_ms)
            every = (*slip.spent, spent)
            await attempt.reply.send(Kind.FAIL, Fail(failure=failure, spent=every))
            return
        following = onward.slip
        if onward.wait_s > 0:
            await self._wait(onward)
        await attempt.reply.send(Kind.PASSED, Passed(spent=spent, take_by_ms=now_ms() + TAKE_BY_MS))
        if following.role == "continue":
            self._begin(
                following, body, continuation=attempt.continuation
            )  # here: it has what the client has
            return
        if following.position == slip.position:
            self._begin(following, body)  # here, where it is known first which keys are out
            return
        await self._forwarder.forward(
            subjects.call(following.target.provider),
            slips.pack(following, body),
            lambda: self._send_fail(following, NO_WORKER),
        )

    async def _wait(self, onward: Again) -> None:
        """Before a retry. The failed attempt stays this worker's until then, so that a cancel finds it."""
        try:
            await asyncio.sleep(onward.wait_s)
        except asyncio.CancelledError:
            self._tell_router(onward.slip, ZERO, final=True)
            raise

    async def _onward(self, attempt: Attempt, spent: Spent) -> Again | None:
        """The slip that goes on, at once or later; None when the failure is the request's."""
        slip = attempt.slip
        assert slip.plan is not None
        if attempt.content_sent and attempt.continuation is None:
            return None
        if attempt.place is not None and attempt.place.standing == "lost":
            return None
        closed: set[int] = set()
        for position in fallback.in_question(slip, spent):
            target = slip.plan.targets[position]
            tried = fallback.tried((*slip.spent, spent), target, slip.rounds)
            if not await self._tools.keyring.left(slip.tenant, target.provider, tried):
                closed.add(position)
        if attempt.content_sent:
            going_on = midstream.following(slip, spent, now_ms(), closed=closed)
            return None if going_on is None else Again(going_on, 0.0)
        head_sent = attempt.head_sent
        following = fallback.next_slip(slip, spent, now_ms(), head_sent=head_sent, closed=closed)
        onward = Again(following, 0.0) if following is not None else self._again(slip, spent, head_sent)
        if onward is None or not onward.slip.rounds:
            return onward
        if not self._extra.take(slip.tenant):
            metrics.RETRY_REFUSALS.inc()
            return None
        metrics.counter(metrics.RETRIES, onward.slip.target.provider, spent.failure.kind).inc()
        return onward

    def _again(self, slip: Slip, spent: Spent, head_sent: bool) -> Again | None:
        plan = slip.plan
        assert plan is not None
        if not plan.retries:
            return None
        opens = self._tools.breakers.open_until_ms
        down = {target for target in plan.targets if opens(target) is not None}
        return retrying.again(slip, spent, now_ms(), head_sent=head_sent, down=down, draw=_DRAW())

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


def _stream_key(slip: Slip) -> str:
    return contender(slip.request_id, slip.hop) if slip.role in RACING else slip.request_id


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
