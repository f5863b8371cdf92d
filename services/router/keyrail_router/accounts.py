"""The leases of this router: granted, folded and given back by changes of the documents in the bucket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.contracts.budgets import Budget, SpendDocument, document_key, period_bounds
from keyrail.contracts.slips import Charge
from keyrail.telemetry import metrics
from keyrail_router import lease
from keyrail_router.lease import Account, Ask, Revision

log = logging.getLogger(__name__)

PERIOD_S = 0.5
"""How often what was settled is folded into the documents."""
IDLE_S = 1.0
"""After so long without a request all that is free goes back."""
FORGET_S = 60.0
"""After so long at rest an account is read anew when it is needed."""
MOST_AT_ONCE = 16
SURE_S = 5.0
"""How long a lease is good without a change of its document: cost-accounting takes those of a router back
that was silent for three times as long."""

OnAlert = Callable[[str, str, Budget], None]
"""Is told the tenant, the document's key and the budget."""


@dataclass(slots=True, eq=False)
class Purse(Account):
    """An account with those who wait for it. `used_at`, and `changed_at` of the document: monotonic, s."""

    key: str = ""
    tenant: str = ""
    at: tuple[str, str] = ("", "")  # scope and period
    used_at: float = 0.0
    changed_at: float = float("-inf")
    waiting: list[tuple[Ask, asyncio.Future[Decimal | None]]] = field(
        default_factory=list[tuple[Ask, asyncio.Future[Decimal | None]]]
    )
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Place:
    """Where the document of a charge is, until its period ends."""

    begin_ms: int
    end_ms: int
    key: str


class Accounts:
    """Makes one change of a document at a time; whoever waits for the same one gets an answer together."""

    def __init__(self, documents: Documents, router: str, on_alert: OnAlert) -> None:
        self._documents = documents
        self._router = router
        self._on_alert = on_alert
        self._purses: dict[str, Purse] = {}
        self._places: dict[tuple[str, str], _Place] = {}
        self._few = asyncio.Semaphore(MOST_AT_ONCE)
        self._loop_task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many documents are kept in mind."""
        return len(self._purses)

    def start(self) -> None:
        """Start folding and giving back."""
        self._loop_task = asyncio.create_task(self._run(), name="accounts")

    async def stop(self) -> None:
        """Fold everything and return what is not held. What is held stays granted under this name."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        await asyncio.gather(*(self._leave(purse) for purse in self._purses.values()))

    def purse(self, charge: Charge, tenant: str, at_ms: int) -> Purse:
        """The account that this charge counts towards for a request that came in at `at_ms`."""
        budget = charge.budget
        place = self._places.get((charge.scope, budget.per))
        if place is None or not place.begin_ms <= at_ms < place.end_ms:
            begin_ms, end_ms = period_bounds(budget.per, at_ms)
            place = _Place(begin_ms, end_ms, document_key(charge.scope, budget.per, at_ms))
            self._places[charge.scope, budget.per] = place
        purse = self._purses.get(place.key)
        if purse is None:
            at = (charge.scope, budget.per)
            purse = self._purses[place.key] = Purse(key=place.key, tenant=tenant, at=at)
        return purse

    async def ask(self, purse: Purse, options: Sequence[Decimal], budget: Budget | None) -> Decimal | None:
        """One of `options`, held from now on, or None: refused. Waits for one change. Raises BusError."""
        answer: asyncio.Future[Decimal | None] = asyncio.get_running_loop().create_future()
        purse.waiting.append((Ask(options, budget), answer))
        self._wake(purse)
        return await answer

    def _wake(self, purse: Purse) -> None:
        if purse.task is None or purse.task.done():
            purse.task = asyncio.create_task(self._work(purse))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await asyncio.gather(*(self._tend(purse) for purse in self._due(time.monotonic())))
            except Exception:  # the edge of this task: without it nothing would be folded any more
                log.exception("budgets not folded")

    def _due(self, now: float) -> list[Purse]:
        """Those whose document is to be changed; those that nobody needs any more are forgotten."""
        due: list[Purse] = []
        for purse in list(self._purses.values()):
            if not purse.waiting and purse.at_rest:
                if not purse.held and now - purse.used_at > FORGET_S:
                    self._forget(purse)
            elif purse.spent != purse.folded or purse.unsure or now - purse.used_at >= IDLE_S:
                due.append(purse)
        return due

    def _forget(self, purse: Purse) -> None:
        if purse.task is None or purse.task.done():
            del self._purses[purse.key]
            place = self._places.get(purse.at)
            if place is not None and place.key == purse.key:
                del self._places[purse.at]

    async def _tend(self, purse: Purse) -> None:
        async with self._few:
            if purse.task is None or purse.task.done():
                purse.task = asyncio.create_task(self._maintain(purse))
            await asyncio.shield(purse.task)  # a change that is broken off is one that nobody is sure of

    async def _maintain(self, purse: Purse) -> None:
        try:
            await self._change(purse, [], keep=time.monotonic() - purse.used_at < IDLE_S)
        except BusError as error:
            log.warning("budget not folded", extra={"document": purse.key, "error": str(error)})
        await self._work(purse)  # who came meanwhile

    async def _work(self, purse: Purse) -> None:
        while purse.waiting:
            waiting, purse.waiting = purse.waiting, []
            try:
                amounts = await self._change(purse, [ask for ask, _ in waiting], keep=True)
            except BusError as error:
                for _, answer in waiting:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), amount in zip(waiting, amounts, strict=True):
                if not answer.done():
                    purse.held += amount or 0
                    answer.set_result(amount)

    async def _change(self, purse: Purse, asks: list[Ask], *, keep: bool) -> list[Decimal | None]:
        due: list[Budget] = []
        began = time.monotonic()

        def change(before: bytes | None) -> tuple[bytes | None, Revision]:
            document = SpendDocument.decode(before) if before else SpendDocument()
            purse.meet(document.leases.get(self._router))
            revision = lease.revise(document, self._router, purse, asks, keep=keep)
            lease.begin(purse, revision)
            due[:] = revision.alerts
            return revision.document.encode() if revision.changed else None, revision

        try:
            revision = await self._documents.change(purse.key, change)
        except (BusError, ValueError) as error:
            lease.abandon(purse)
            metrics.counter(metrics.BUDGET_CHANGES, "failed").inc()
            if isinstance(error, BusError):
                raise
            raise BusError("the document can't be read") from error
        finally:  # even where it is not known whether the document says so now: an alert raised twice is one
            for budget in due:
                self._on_alert(purse.tenant, purse.key, budget)
        metrics.counter(metrics.BUDGET_CHANGES, "changed" if revision.changed else "same").inc()
        lease.commit(purse, revision)
        purse.changed_at = began
        return revision.amounts

    async def _leave(self, purse: Purse) -> None:
        """Fold and return. With nothing held there is nothing that anybody would have to close later."""
        if purse.task is not None:
            await asyncio.gather(purse.task, return_exceptions=True)
        try:
            if not purse.at_rest:
                await self._change(purse, [], keep=False)
            if purse.loaded and not purse.held:
                await self._documents.change(purse.key, self._without_lease)
        except BusError as error:  # cost-accounting closes the lease from the ledger
            log.warning("lease not returned", extra={"document": purse.key, "error": str(error)})

    def _without_lease(self, before: bytes | None) -> tuple[bytes | None, None]:
        document = SpendDocument.decode(before) if before else SpendDocument()
        if self._router not in document.leases:
            return None, None
        return lease.forgotten(document, self._router).encode(), None


def alert_id(kind: str, key: str, budget: Budget) -> str:
    """The same for whoever raises it, however often."""
    return f"{kind}.{key}.{budget.usd}"
