"""Who may pass: out of the shares held here, and over the bus only where they do not suffice."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.bus.liveness import Hearing
from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import Limits
from keyrail.contracts.limits import LimitDocument
from keyrail.telemetry import metrics
from keyrail_ingress.limits import shares
from keyrail_ingress.limits.lease import IDLE_S, Lease, Refused
from keyrail_ingress.limits.shares import Granted, Kind

log = logging.getLogger(__name__)

DEAD_S = 10.0
"""An ingress not heard for so long runs nothing any more: its workers have cancelled after half of that."""
SELF_S = 2.5
"""Others are called silent only by an ingress that hears itself."""
TRY_S = 1.5
PATIENCE_S = 4.0
"""How long a request waits for the bus before it is refused. Without its word nobody passes."""


class Ticket:
    """A request that was admitted. Give it back by `finish`, once."""

    __slots__ = ("_parts", "_tokens")

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._parts: list[tuple[Lease, int]] = []

    def add(self, lease: Lease) -> None:
        """It counts there, in the window that is open now."""
        self._parts.append((lease, lease.window_ms))

    def finish(self, tokens: int | None) -> None:
        """The request has ended, with so many tokens; None: unknown."""
        for lease, window_ms in self._parts:
            lease.finish(window_ms, self._tokens, tokens)

    def cancel(self) -> None:
        """The request did not pass after all."""
        for lease, window_ms in self._parts:
            lease.uncount(window_ms, self._tokens)


class Waiter:
    """A request on its way through the leases that it needs."""

    __slots__ = ("leases", "left", "then", "ticket", "tokens")

    def __init__(
        self, leases: Sequence[Lease], tokens: int, then: Callable[[Ticket | Refused], None]
    ) -> None:
        self.leases: Iterator[Lease] = iter(leases)
        self.tokens = tokens
        self.then = then
        self.ticket = Ticket(tokens)
        self.left = False

    def leave(self) -> None:
        """Its client is gone: `then` is not called any more."""
        self.left = True


class _Place:
    """A lease, who waits there, and whether the bus is asked at the moment."""

    __slots__ = ("asking", "lease", "owed", "timer", "waiting")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.waiting: deque[Waiter] = deque()
        self.asking: asyncio.Task[None] | None = None
        self.owed = False  # the document does not know yet what was given back or used beyond what is held
        self.timer: asyncio.TimerHandle | None = None


class Limiter:
    """All leases of this ingress."""

    def __init__(self, documents: Documents, instance: str, hearing: Hearing) -> None:
        self._documents = documents
        self._instance = instance
        self._hearing = hearing
        self._places: dict[str, _Place] = {}
        self._hears_since = time.monotonic()
        self.waiting = 0
        """Requests that wait for the bus."""

    async def reconnected(self) -> None:
        """The bus was away: nobody's silence meant anything."""
        self._hears_since = time.monotonic()

    def lease(self, name: str, owner: str, limits: Limits) -> Lease:
        """The lease of this scope, with these limits from now on."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = _Place(Lease(name, owner, limits))
        place.lease.limits = limits
        return place.lease

    def admit(
        self, leases: Sequence[Lease], tokens: int, then: Callable[[Ticket | Refused], None]
    ) -> Waiter | None:
        """Call `then` with a ticket or a refusal: at once, or later, where the waiter is returned.

        What waits for one lease is served in order. A request that a later lease refuses does not count in
        those before it.
        """
        waiter = Waiter(leases, tokens, then)
        return waiter if self._walk(waiter) else None

    async def stop(self) -> None:
        """Give all unused parts back. Nothing may run or wait any more."""
        for place in self._places.values():
            if place.timer is not None:
                place.timer.cancel()
            if place.lease.release(time.monotonic(), everything=True):
                place.owed = True
                self._ask(place)
        asking = [place.asking for place in self._places.values() if place.asking is not None]
        await asyncio.gather(*asking)

    def _walk(self, waiter: Waiter) -> bool:
        """Go on through the leases. True: it waits at one of them."""
        for lease in waiter.leases:
            place = self._places[lease.name]
            if place.asking is not None or not self._take(lease, waiter.tokens):
                if place.asking is None and (kind := lease.full(waiter.tokens, now_ms(), time.monotonic())):
                    waiter.ticket.cancel()
                    waiter.then(Refused(lease, kind, waiter.tokens))
                    return False
                place.waiting.append(waiter)
                self.waiting += 1
                self._ask(place)
                return True
            waiter.ticket.add(lease)
        waiter.then(waiter.ticket)
        return False

    def _take(self, lease: Lease, tokens: int) -> bool:
        heard = self._hearing.heard.get(self._instance)
        return lease.take(tokens, now_ms(), time.monotonic(), heard.at if heard is not None else 0.0)

    def _ask(self, place: _Place) -> None:
        if place.asking is None:
            place.asking = asyncio.create_task(self._serve(place), name=f"limit {place.lease.name}")

    async def _serve(self, place: _Place) -> None:
        """Ask for all that wait together, until none does."""
        try:
            while self._left_over(place) or place.owed:
                batch = [waiter for waiter in place.waiting if not waiter.left]
                self.waiting -= len(place.waiting)
                place.waiting.clear()
                place.owed = False
                if not await self._served(place, batch):
                    break
        finally:
            place.asking = None
            if place.waiting:
                self._ask(place)
            self._review_later(place)

    def _left_over(self, place: _Place) -> bool:
        """Let those at the head pass that what is held pays for. True: one waits still."""
        while place.waiting:
            waiter = place.waiting[0]
            if not (waiter.left or self._take(place.lease, waiter.tokens)):
                return True
            place.waiting.popleft()
            self.waiting -= 1
            if not waiter.left:
                waiter.ticket.add(place.lease)
                self._go_on(waiter)
        return False

    async def _served(self, place: _Place, batch: list[Waiter]) -> bool:
        """Ask for these, and tell them. False: the bus did not say."""
        lease = place.lease
        try:
            granted = await self._change(lease, tuple(waiter.tokens for waiter in batch))
        except BusError as error:
            log.warning("a limit could not be asked", extra={"scope": lease.name, "error": str(error)})
            place.owed = True  # whether it was changed is not known
            for waiter in batch:
                self._refuse(waiter, lease, None)
            return False
        at = time.monotonic()
        for waiter, kind in zip(batch, granted.verdicts, strict=True):
            if kind is not None:
                lease.refused(kind, waiter.tokens, at)
                self._refuse(waiter, lease, kind)
                continue
            lease.count(waiter.tokens, at)
            waiter.ticket.add(lease)
            if waiter.left:
                waiter.ticket.cancel()
            else:
                self._go_on(waiter)
        return True

    async def _change(self, lease: Lease, needs: tuple[int, ...]) -> Granted:
        """Change the document, trying again while it may be that only an answer was lost."""
        began = time.monotonic()
        while True:
            at = time.monotonic()
            try:
                async with asyncio.timeout(TRY_S):
                    granted = await self._documents.change(
                        lease.name, lambda before: self._changed(before, lease, needs)
                    )
            except (BusError, TimeoutError) as error:
                metrics.counter(metrics.LIMIT_CHANGES, "failed").inc()
                if time.monotonic() - began > PATIENCE_S - TRY_S:
                    raise BusError(str(error) or "no answer in time") from error
                await asyncio.sleep(0.05)
            else:
                metrics.counter(metrics.LIMIT_CHANGES, "ok").inc()
                lease.apply(granted, at)
                return granted

    def _changed(
        self, before: bytes | None, lease: Lease, needs: tuple[int, ...]
    ) -> tuple[bytes | None, Granted]:
        document = LimitDocument()
        if before is not None:
            try:
                document = LimitDocument.decode(before)
            except ValueError:  # nobody could pass until it is gone by itself, in an hour
                log.error("a limit's document could not be read", extra={"scope": lease.name})
        ask = lease.ask(self._instance, needs)
        after, granted = shares.change(document, lease.limits, ask, now_ms(), self._gone)
        return (after.encode() if after != document else None), granted

    def _gone(self, instance: str) -> bool:
        """Whether an ingress has left, or died."""
        heard = self._hearing.heard.get(instance)
        if heard is not None and heard.alive.leaving:
            return True
        return (
            self._hearing.silent_s(instance, self._hears_since) > DEAD_S
            and self._hearing.silent_s(self._instance, 0.0) < SELF_S
        )

    def _refuse(self, waiter: Waiter, lease: Lease, kind: Kind | None) -> None:
        waiter.ticket.cancel()
        if waiter.left:
            return
        try:
            waiter.then(Refused(lease, kind, waiter.tokens))
        except Exception:  # an edge of the process: one request's bug must not end the others'
            log.exception("a request that a limit refused crashed")

    def _go_on(self, waiter: Waiter) -> None:
        try:
            self._walk(waiter)
        except Exception:  # as above
            log.exception("a request that its limits let pass crashed")

    def _review_later(self, place: _Place) -> None:
        if place.timer is None and (place.owed or not place.lease.idle(now_ms())):
            place.timer = asyncio.get_running_loop().call_later(IDLE_S, self._review, place)

    def _review(self, place: _Place) -> None:
        """Give back what was not used."""
        place.timer = None
        if place.asking is None and (place.lease.release(time.monotonic()) or place.owed):
            place.owed = True
            self._ask(place)
        else:
            self._review_later(place)
