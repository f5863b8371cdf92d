"""What the router does with a message: read the slip, decide, pass it on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Hearing
from keyrail.bus.reply import Reply
from keyrail.caching import rule
from keyrail.contracts import slips, subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView
from keyrail.contracts.failures import NO_WORKER, Failure
from keyrail.contracts.frames import Fail, Kind
from keyrail.contracts.slips import Slip
from keyrail.routing.decide import Decision
from keyrail.telemetry import metrics
from keyrail_router import racing
from keyrail_router.budgets import Budgets, Claim
from keyrail_router.decisions import Decisions
from keyrail_router.planner import Planner

log = logging.getLogger(__name__)

RACER_PATIENCE_S = 0.25


@dataclass(slots=True)
class Request:
    """One that is being dealt with. `draw`: what its decision was made with."""

    slip: Slip
    body: bytes
    draw: float
    decision: Decision


class RequestHandler:
    """Adds the plan to a slip and forwards it to the first target's workers."""

    def __init__(
        self,
        bus: Bus,
        forwarder: Forwarder,
        workers: Hearing,
        view: Callable[[], ConfigView],
        planner: Planner,
        budgets: Budgets,
        decisions: Decisions,
    ) -> None:
        self._bus = bus
        self._forwarder = forwarder
        self._workers = workers
        self._view = view
        self._planner = planner
        self._budgets = budgets
        self._decisions = decisions
        self._waiting: set[asyncio.Task[None]] = set()
        self._draw = random.Random().random  # noqa: S311 - no secret, and asking the system is a call to it

    async def on_request(self, msg: Msg) -> None:
        """One request."""
        try:
            slip, body = slips.unpack(msg.data)
        except ValueError as error:
            log.error("a slip could not be read", extra={"error": type(error).__name__})
            return
        draw = self._draw()
        request = Request(slip, body, draw, self._planner.plan(slip, body, draw, now_ms()))
        await self._decided(request)

    async def _decided(self, request: Request) -> None:
        slip, decision = request.slip, request.decision
        plan = decision.plan
        if plan is None:
            assert decision.failure is not None
            metrics.counter(metrics.PLANS, "none").inc()
            await self._refuse(request, decision.failure)
            return
        plan = rule.applied(slip, plan, self._view())
        metrics.counter(metrics.PLANS, plan.strategy).inc()
        deadline = min(slip.deadline_ms, slip.received_ms + round(plan.timeouts.total_s * 1000))
        if not slip.charges:
            await self._go(request, slip.replace(plan=plan, deadline_ms=deadline))
            return
        claim = self._budgets.claim(slip, plan, self._view())
        if isinstance(claim, Failure):
            await self._refuse(request, claim)
        elif self._budgets.take(claim):
            await self._go(request, self._budgets.held(claim, deadline))
        else:  # not here: the requests behind this one need not wait
            task = asyncio.create_task(self._wait(request, claim, deadline))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def settle(self) -> None:
        """Return once nobody waits for a budget."""
        while self._waiting:
            await asyncio.wait(self._waiting)

    async def _wait(self, request: Request, claim: Claim, deadline: int) -> None:
        failure = await self._budgets.wait(claim)
        if failure is not None:
            await self._unpaid(request, claim, failure)
            return
        planned = self._budgets.held(claim, deadline)
        if now_ms() < planned.take_by_ms:
            await self._go(request, planned)
        else:  # dispatched again by now
            self._budgets.release(planned)

    async def _unpaid(self, request: Request, claim: Claim, failure: Failure) -> None:
        """Not even the first target: one that costs less may do."""
        slip, needed = request.slip, claim.options[0]
        if failure.kind == "budget" and needed and len(claim.plan.targets) > 1:
            cheaper = self._planner.plan(slip, request.body, request.draw, now_ms(), below_usd=needed)
            if cheaper.plan is not None and now_ms() < slip.take_by_ms:
                request.decision = cheaper
                await self._decided(request)
                return
        await self._refuse(request, failure)

    async def _go(self, request: Request, planned: Slip) -> None:
        """The request is on its way: say so, then forward it."""
        at_ms = now_ms()
        self._decisions.made(request.slip, request.decision, None, request.draw, at_ms)
        self._planner.note(planned, request.decision, at_ms)
        await self._forward(planned, request.body)

    async def _refuse(self, request: Request, failure: Failure) -> None:
        self._decisions.made(request.slip, request.decision, failure, request.draw, now_ms())
        await self._fail(request.slip, failure)

    async def _forward(self, planned: Slip, body: bytes) -> None:
        if racing.races(planned) and self._workers.any_alive("racer"):
            await self._race(racing.ready(planned, body, self._view()), body)
        else:
            await self._call(planned, body)

    async def _race(self, planned: Slip, body: bytes) -> None:
        """To a racer; where none is there after all, the first target serves alone, the others after it."""
        message = slips.pack(planned, body)

        async def unraced() -> None:
            assert planned.plan is not None
            await self._call(planned.replace(plan=planned.plan.replace(race=None)), body)

        async def to_any() -> None:
            await self._forwarder.forward(subjects.RACES, message, unraced, patience_s=RACER_PATIENCE_S)

        racer = self._workers.instead("racer", self._draw)
        if racer is None:
            await to_any()
        else:
            await self._forwarder.forward(subjects.race_to(racer), message, to_any, patience_s=0.0)

    async def _call(self, planned: Slip, body: bytes) -> None:
        worker = self._workers.instead("provider-worker", self._draw)
        await self._forwarder.forward_to(
            subjects.call_to(worker) if worker is not None else None,
            subjects.call(planned.target.provider),
            slips.pack(planned, body),
            lambda: self._fail(planned, NO_WORKER),
        )

    async def _fail(self, slip: Slip, failure: Failure) -> None:
        self._budgets.release(slip)
        try:
            await Reply(self._bus, slip).send(Kind.FAIL, Fail(failure=failure, spent=slip.spent))
        except BusError as error:
            log.warning("failure not sent", extra={"request_id": slip.request_id, "error": str(error)})
