"""What the router does with a message: read the slip, decide, pass it on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

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
from keyrail.contracts.slips import Facts, Plan, Slip
from keyrail.keys.book import KeyBook
from keyrail.telemetry import metrics
from keyrail_router import policy, pools
from keyrail_router.budgets import Budgets, Claim
from keyrail_router.policy import Owner

log = logging.getLogger(__name__)

MOST_PLANS = 1_024


class RequestHandler:
    """Adds the plan to a slip and forwards it to the first target's workers."""

    def __init__(
        self,
        bus: Bus,
        forwarder: Forwarder,
        workers: Hearing,
        view: Callable[[], ConfigView],
        owner: Owner,
        keys: KeyBook,
        budgets: Budgets,
    ) -> None:
        self._bus = bus
        self._forwarder = forwarder
        self._workers = workers
        self._view = view
        self._owner = owner
        self._keys = keys
        self._budgets = budgets
        self._planned_for: ConfigView | None = None
        self._plans: dict[str, Plan] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._draw = random.Random().random  # noqa: S311 - no secret, and asking the system is a call to it

    async def on_request(self, msg: Msg) -> None:
        """One request."""
        try:
            slip, body = slips.unpack(msg.data)
        except ValueError as error:
            log.error("a slip could not be read", extra={"error": type(error).__name__})
            return
        plan = self._plan(slip.facts)
        if isinstance(plan, Plan) and slip.models:
            plan = policy.allowed(plan, slip)
        if isinstance(plan, Plan) and self._keys.healths:  # made anew each time, behind the cache of plans
            plan = pools.usable(plan, self._keys, slip.tenant, now_ms())
        if isinstance(plan, Failure):
            metrics.counter(metrics.PLANS, "none").inc()
            await self._fail(slip, plan)
            return
        plan = rule.applied(slip, plan, self._view())
        metrics.counter(metrics.PLANS, plan.strategy).inc()
        deadline = min(slip.deadline_ms, slip.received_ms + round(plan.timeouts.total_s * 1000))
        if not slip.charges:
            await self._forward(slip.replace(plan=plan, deadline_ms=deadline), body)
            return
        claim = self._budgets.claim(slip, plan, self._view())
        if isinstance(claim, Failure):
            await self._fail(slip, claim)
        elif self._budgets.take(claim):
            await self._forward(self._budgets.held(claim, deadline), body)
        else:  # not here: the requests behind this one need not wait
            task = asyncio.create_task(self._wait(claim, deadline, body))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def settle(self) -> None:
        """Return once nobody waits for a budget."""
        while self._waiting:
            await asyncio.wait(self._waiting)

    async def _wait(self, claim: Claim, deadline: int, body: bytes) -> None:
        failure = await self._budgets.wait(claim)
        if failure is not None:
            await self._fail(claim.slip, failure)
            return
        planned = self._budgets.held(claim, deadline)
        if now_ms() < planned.take_by_ms:
            await self._forward(planned, body)
        else:  # dispatched again by now
            self._budgets.release(planned)

    async def _forward(self, planned: Slip, body: bytes) -> None:
        worker = self._workers.instead("provider-worker", self._draw)
        await self._forwarder.forward_to(
            subjects.call_to(worker) if worker is not None else None,
            subjects.call(planned.target.provider),
            slips.pack(planned, body),
            lambda: self._fail(planned, NO_WORKER),
        )

    def _plan(self, facts: Facts) -> Plan | Failure:
        """As `policy.decide`; plans that follow from the model's name alone are made once a revision."""
        view = self._view()
        if view is not self._planned_for:
            self._planned_for = view
            self._plans.clear()
        plan: Plan | Failure | None = self._plans.get(facts.model)
        if plan is None:
            plan = policy.decide(view, facts, self._owner, self._draw())
            if isinstance(plan, Plan) and plan.strategy in policy.FIXED and len(self._plans) < MOST_PLANS:
                self._plans[facts.model] = plan
        return plan

    async def _fail(self, slip: Slip, failure: Failure) -> None:
        self._budgets.release(slip)
        try:
            await Reply(self._bus, slip).send(Kind.FAIL, Fail(failure=failure, spent=slip.spent))
        except BusError as error:
            log.warning("failure not sent", extra={"request_id": slip.request_id, "error": str(error)})
