"""Listens for routers and closes, by what the ledger says, the leases of those that are gone."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from nats.errors import Error as NatsError

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.bus.views import KvView
from keyrail.contracts import streams
from keyrail.contracts.base import Json, now_ms
from keyrail.contracts.budgets import ZERO, Lease, SpendDocument, account
from keyrail_cost_accounting import closing, spending
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.listening import Listener, monotonic_ms
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.statement import Statement

log = logging.getLogger(__name__)

FORGET_S = 3_600.0
"""How long the empty lease of a router stays for the case that it was only paused."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place in the stream of events, when it was taken, and which routers were gone by then."""

    sequence: int
    at_ms: int
    gone: frozenset[str]


class Closer:
    """The periodic task.

    A lease is closed when its router has been silent for `silence_s`, everything that was published until
    then is in the ledger, and of its attempts none runs or has ended within `silence_s` before: a fallback is
    forwarded, and taken, within seconds, so that no other one can follow.
    """

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        metrics: Metrics,
        *,
        silence_s: float,
        every_s: float = 5.0,
        tick_s: float = 1.0,
        forget_s: float = FORGET_S,
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._metrics = metrics
        self._silence_ms = int(silence_s * 1000)
        self._forget_ms = int(forget_s * 1000)
        self._every_ms = int(every_s * 1000)
        self._tick_s = tick_s
        self._routers = Listener(bus.nc, "router")
        self._documents = Documents(bus, streams.BUDGETS.name)
        self._view = KvView(bus, streams.BUDGETS.name, self._put, self._gone)
        self._leased: dict[str, SpendDocument] = {}
        self._done: dict[tuple[str, str], Lease] = {}
        self._mark: _Mark | None = None

    async def run(self) -> None:
        """Listen and close until cancelled."""
        await self._routers.start()
        self._view.start()
        next_ms = 0
        try:
            while True:
                now = monotonic_ms()
                self._routers.tick(now)
                if now >= next_ms:
                    next_ms = now + self._every_ms
                    await self._look(now)
                await asyncio.sleep(self._tick_s)
        finally:
            await self._view.stop()
            await self._routers.stop()

    def _put(self, key: str, data: bytes) -> None:
        try:
            document = SpendDocument.decode(data)
        except ValueError:
            log.error("a document of a budget cannot be read", extra={"document": key})
            return
        if document.leases:
            self._leased[key] = document
        else:
            self._gone(key)

    def _gone(self, key: str) -> None:
        self._leased.pop(key, None)
        for each in [each for each in self._done if each[0] == key]:
            del self._done[each]

    async def _look(self, now: int) -> None:
        since = self._routers.since(now, self._silence_ms)
        if since is None:
            self._mark = None
            return
        open_ = {router for key in self._leased for router in self._open(key)}
        gone = closing.gone(open_, self._routers.heard, now, since, self._silence_ms)
        try:
            if gone:
                await self._close_all(gone)
            else:
                self._mark = None
            await self._forget(now, since)
        except (LedgerUnavailable, BusError, NatsError, OSError, ValueError) as error:
            log.warning("leases not closed", extra={"error": str(error)[:500] or type(error).__name__})

    def _open(self, key: str) -> list[str]:
        """Routers with a lease in this document that was not closed yet, or has changed since."""
        leases = self._leased[key].leases
        return [router for router, lease in leases.items() if self._done.get((key, router)) != lease]

    async def _close_all(self, gone: frozenset[str]) -> None:
        durable = streams.COST_ACCOUNTING
        info = await self._bus.js.consumer_info(durable.stream, durable.name)
        if info.delivered is None or info.ack_floor is None:
            return
        mark, floor = self._mark, info.ack_floor.stream_seq
        if mark is None or floor >= mark.sequence:
            last = info.delivered.stream_seq + (info.num_pending or 0)
            self._mark = _Mark(last, now_ms(), gone)
        if mark is None or floor < mark.sequence:
            return
        ready = sorted(gone & mark.gone)
        restless = await self._ask(spending.unrest(ready, mark.at_ms - self._silence_ms))
        resting = set(ready) - {str(row["router"]) for row in restless}
        for key in list(self._leased):
            if routers := [router for router in self._open(key) if router in resting]:
                await self._close(key, routers)

    async def _close(self, key: str, routers: list[str]) -> None:
        about = account(key)
        if about is None:
            log.error("the document of a budget has an unknown key", extra={"document": key})
            self._done |= {(key, router): self._leased[key].leases[router] for router in routers}
            return
        statement = spending.by_router(closing.counted(about, self._leased[key]), routers)
        known = {str(row["router"]): Decimal(str(row["spent_usd"])) for row in await self._ask(statement)}
        spent = {router: known.get(router, ZERO) for router in routers}
        for each in await self._documents.change(key, partial(closing.close, spent=spent)):
            self._metrics.leases_closed.inc()
            log.warning(
                "lease of a silent router closed from the ledger",
                extra={
                    "document": key,
                    "router": each.router,
                    "granted_usd": str(each.lease.granted),
                    "folded_usd": str(each.lease.folded),
                    "spent_usd": str(each.spent_usd),
                },
            )
        self._done |= {(key, router): Lease(folded=usd) for router, usd in spent.items()}

    async def _forget(self, now: int, since: int) -> None:
        """Take a last look at leases that were closed long ago, and remove them."""
        for key, document in list(self._leased.items()):
            closed = [router for router in document.leases if (key, router) in self._done]
            names = sorted(closing.gone(closed, self._routers.heard, now, since, self._forget_ms))
            if names:
                await self._close(key, names)
                await self._documents.change(key, partial(closing.forget, routers=names))

    async def _ask(self, statement: Statement) -> list[dict[str, Json]]:
        return await asyncio.to_thread(self._ledger.ask, statement.sql, statement.parameters)
