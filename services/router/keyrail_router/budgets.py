"""Budgets on a request's way: reserved before it is forwarded, settled when its attempts have ended."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from decimal import Decimal

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.bus.events import EventPublisher
from keyrail.contracts import streams, subjects
from keyrail.contracts.base import decode_all, now_ms
from keyrail.contracts.budgets import ZERO, Budget
from keyrail.contracts.config import ConfigView
from keyrail.contracts.events import AlertRaised
from keyrail.contracts.failures import Failure
from keyrail.contracts.ledger import HoldQuery, LedgerPage, LedgerQuery
from keyrail.contracts.signals import HoldSettled
from keyrail.contracts.slips import Charge, Hold, Plan, Slip
from keyrail.telemetry import metrics
from keyrail_router import charging
from keyrail_router.accounts import SURE_S, Accounts, Purse, alert_id
from keyrail_router.holds import Holds

log = logging.getLogger(__name__)

OVERDUE_PERIOD_S = 5.0
QUESTION_S = 5.0


@dataclass(slots=True)
class Part:
    """One document that a request counts towards. `hard`: its least hard budget, if it has one."""

    purse: Purse
    hard: Charge | None
    soft: tuple[Budget, ...]


@dataclass(slots=True)
class Claim:
    """What a request needs. `plan`: with the targets that may be asked. `options`: see charging.options."""

    slip: Slip
    plan: Plan
    most: tuple[Decimal | None, ...]
    options: tuple[Decimal, ...]
    parts: list[Part]


class Budgets:
    """All that this router reserves and settles."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._router = bus.instance
        self.accounts = Accounts(Documents(bus, streams.BUDGETS.name), bus.instance, self._alert)
        self._alerts = EventPublisher(bus, subjects.EVENT_ALERT)
        self._holds = Holds()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start hearing of what attempts did cost."""
        self._bus.listen(subjects.settled(self._router), self.on_settled)
        self._alerts.start()
        self.accounts.start()
        self._task = asyncio.create_task(self._look_for_overdue(), name="overdue holds")

    async def stop(self) -> None:
        """Fold what is settled and return what is not held; the rest is closed from the ledger."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.accounts.stop()
        await self._alerts.stop()

    def claim(self, slip: Slip, plan: Plan, view: ConfigView) -> Claim | Failure:
        """What the request needs of which documents; a Failure where nobody can say how much that is."""
        found = charging.priced(plan, slip, view)
        if isinstance(found, Failure):
            return found
        plan, most = found
        claim = Claim(slip, plan, most, charging.options(most), [])
        if claim.options[-1] or None in most:
            claim.parts = self._parts(slip)
        return claim

    def take(self, claim: Claim) -> bool:
        """Reserve at once, without asking anybody. False: `wait` has to be awaited."""
        needed = claim.options[-1]
        now = time.monotonic()
        ready = True
        for part in claim.parts:
            purse = part.purse
            purse.used_at = now
            purse.soft = part.soft
            purse.limit = part.hard.budget.usd if part.hard is not None else None
            ready = ready and not _lacks(part, needed, now)
        if ready:
            for part in claim.parts:
                if part.hard is not None:
                    part.purse.held += needed
        return ready

    async def wait(self, claim: Claim) -> Failure | None:
        """Reserve from one document after the other, each by one change of it at most; or nothing at all."""
        options = claim.options
        taken: list[tuple[Purse, Decimal]] = []
        try:
            for part in claim.parts:
                amount = await self._from(part, options)
                if amount is None:
                    assert part.hard is not None
                    _give_back(taken)
                    return self._refused(claim, part.hard)
                if part.hard is not None:
                    taken.append((part.purse, amount))
                    options = tuple(option for option in options if option <= amount)
        except BusError as error:
            _give_back(taken)
            log.warning("budget not reserved", extra={"error": str(error)})
            return charging.UNAVAILABLE
        except asyncio.CancelledError:
            _give_back(taken)
            raise
        _give_back([(purse, amount - options[-1]) for purse, amount in taken])
        claim.options = options
        return None

    def held(self, claim: Claim, deadline_ms: int) -> Slip:
        """The slip with its plan and its hold: from now on it is settled or released."""
        slip = claim.slip
        if not claim.parts:
            return slip.replace(plan=claim.plan, deadline_ms=deadline_ms)
        usd = claim.options[-1]
        hard = tuple(part.purse for part in claim.parts if part.hard is not None)
        soft = tuple(part.purse for part in claim.parts if part.hard is None)
        self._holds.add(slip.request_id, slip.epoch, deadline_ms, usd, hard, soft)
        metrics.BUDGET_HOLDS.set(len(self._holds))
        hold = Hold(router=self._router, usd=usd if hard else _UNLIMITED, most=claim.most)
        # The charges have done their work: nobody further on reads them.
        return slip.replace(plan=claim.plan, deadline_ms=deadline_ms, hold=hold, charges=())

    def release(self, slip: Slip) -> None:
        """Nobody was called for this slip and nobody will be."""
        if slip.hold is not None:
            self._holds.release(slip.request_id, slip.epoch)

    async def on_settled(self, msg: Msg) -> None:
        """Attempts have ended somewhere."""
        try:
            all_told = decode_all(HoldSettled, msg.data)
        except ValueError:
            log.error("a settlement could not be read")
            return
        for told in all_told:
            before = self._holds.overruns
            self._holds.settle(told)
            if self._holds.overruns > before:
                metrics.BUDGET_OVERRUNS.inc()
                cost, held = str(told.cost_usd), str(told.held_usd)
                extra = {"request_id": told.request_id, "cost_usd": cost, "held_usd": held}
                log.warning("attempt above its hold", extra=extra)
        metrics.BUDGET_HOLDS.set(len(self._holds))

    def _parts(self, slip: Slip) -> list[Part]:
        parts: dict[str, Part] = {}
        for charge in slip.charges:
            budget = charge.budget
            purse = self.accounts.purse(charge, slip.tenant, slip.received_ms)
            part = parts.get(purse.key)
            if part is None:
                part = parts[purse.key] = Part(purse, None, ())
            if budget.soft:
                part.soft = (*part.soft, budget)
            elif part.hard is None or budget.usd < part.hard.budget.usd:
                part.hard = charge
        # Always in one order: of two that need the same documents, the one that got the first gets all.
        return list(parts.values()) if len(parts) == 1 else [parts[key] for key in sorted(parts)]

    async def _from(self, part: Part, options: tuple[Decimal, ...]) -> Decimal | None:
        purse = part.purse
        if not _lacks(part, options[-1], time.monotonic()):
            if part.hard is not None:
                purse.held += options[-1]
            return options[-1]
        if part.hard is not None:
            return await self.accounts.ask(purse, options, part.hard.budget)
        try:
            await self.accounts.ask(purse, (ZERO,), None)
        except BusError as error:  # nothing depends on it but when the alert comes
            log.warning("soft budget not registered", extra={"error": str(error)})
        return options[-1]

    def _refused(self, claim: Claim, charge: Charge) -> Failure:
        metrics.counter(metrics.BUDGET_REFUSALS, charge.scope.partition(".")[0]).inc()
        return charging.exceeded(charge, claim.options[0], claim.slip.received_ms, now_ms())

    def _alert(self, tenant: str, key: str, budget: Budget) -> None:
        kind = "budget-soft" if budget.soft else "budget-hard"
        said = "is used up; requests go on" if budget.soft else "does not pay for the next request"
        detail = f"The budget of {budget.usd} USD {said}."
        metrics.counter(metrics.BUDGET_ALERTS, kind).inc()
        log.warning("budget alert", extra={"kind": kind, "subject": key, "detail": detail})
        self._alerts.post(
            AlertRaised(
                alert_id=alert_id(kind, key, budget),
                kind=kind,
                tenant=tenant,
                subject=key,
                detail=detail,
                raised_by=self._router,
                raised_ms=now_ms(),
            )
        )

    async def _look_for_overdue(self) -> None:
        while True:
            await asyncio.sleep(OVERDUE_PERIOD_S)
            for request_id in self._holds.overdue(now_ms()):
                try:
                    await self.ask_ledger(request_id)
                except (BusError, NatsError, TimeoutError, OSError, ValueError, ArithmeticError) as error:
                    log.warning("the ledger did not say what a hold did cost", extra={"error": str(error)})
                    break

    async def ask_ledger(self, request_id: str) -> None:
        """Settle what a request's workers did not, unless some of its attempts still runs."""
        query = LedgerQuery(query=HoldQuery(request_id=request_id, router=self._router))
        answer = await self._bus.nc.request(subjects.LEDGER, query.encode(), timeout=QUESTION_S)
        page = LedgerPage.decode(answer.data)
        if page.error is not None or not page.rows:
            raise ValueError(page.error or "no row")
        paid = charging.paid_by(page.rows[0])
        if paid is None:
            return
        log.info("hold settled from the ledger", extra={"request_id": request_id, "cost_usd": str(paid)})
        self._holds.close(request_id, paid)
        metrics.BUDGET_HOLDS.set(len(self._holds))


_UNLIMITED = Decimal(10**9)
"""Of a request that only soft budgets apply to: any of its targets may be called."""


def _lacks(part: Part, needed: Decimal, now: float) -> bool:
    """Whether the lease is not there or may not be any more, does not have so much, or others wait for it."""
    purse = part.purse
    if not purse.loaded:
        return True
    if part.hard is None:
        return False
    return bool(purse.waiting) or needed > purse.free or now - purse.changed_at > SURE_S


def _give_back(taken: list[tuple[Purse, Decimal]]) -> None:
    for purse, amount in taken:
        purse.held -= amount
