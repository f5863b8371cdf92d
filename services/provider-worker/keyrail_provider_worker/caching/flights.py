"""One call for all who ask the same at the same time: in this worker, and by leases among all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, Literal

from keyrail.bus.entries import CLAIM_S, Entries
from keyrail.bus.errors import BusError
from keyrail.telemetry import metrics
from keyrail_provider_worker.caching.shelf import Shelf

log = logging.getLogger(__name__)

FOLLOW_S: Final = 12.0
"""How long a request waits for another one's answer. Less than a stream may be silent to its client."""
LEASE_S: Final = 60.0
ALONE_S: Final = 5.0
"""How long others are told that an answer is not for sharing."""
POLL_S: Final = (0.02, 0.25)
_ALONE: Final = b"alone"

Outcome = bytes | Literal["lead", "alone"]
"""The answer of another request; or make the call, for all who wait; or make it for this request only."""


class _Flight:
    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[Outcome]] = deque()
        self.leased = False


class Flights:
    """Who leads has to say how it ended: `landed`, `failed` or `unfit`."""

    def __init__(self, entries: Entries, shelf: Shelf) -> None:
        self._entries = entries
        self._shelf = shelf
        self._flights: dict[str, _Flight] = {}
        self._releases: set[asyncio.Task[None]] = set()

    async def board(self, name: str) -> Outcome:
        """Return when somebody has the answer, or it is this request's turn to get it."""
        flight = self._flights.get(name)
        if flight is not None:
            return await self._follow(name, flight)
        flight = self._flights[name] = _Flight()
        try:
            outcome = await self._claim(name, flight)
        except BaseException:
            self.failed(name)
            raise
        if isinstance(outcome, bytes):
            self._end(name, outcome)
        elif outcome == "alone":
            self._end(name, "alone")
        return outcome

    def landed(self, name: str, packed: bytes, written: asyncio.Task[None] | None) -> None:
        """The leader has an answer that may be shared; `written`: until it is in the bucket."""
        self._end(name, packed, after=written)

    def unfit(self, name: str) -> None:
        """The leader has an answer that may not be shared: everybody goes alone, none waits for another."""
        flight = self._flights.get(name)
        if flight is not None and flight.leased:
            self._later(self._mark_alone(name))
            flight.leased = False
        self._end(name, "alone")

    def failed(self, name: str) -> None:
        """The leader has no answer: one of those who wait leads now."""
        flight = self._flights.get(name)
        if flight is None:
            return
        while flight.waiting:
            future = flight.waiting.popleft()
            if not future.done():
                future.set_result("lead")
                return
        self._end(name, "alone")

    async def close(self) -> None:
        """Return once leases are given back."""
        if self._releases:
            await asyncio.wait(self._releases)

    async def _follow(self, name: str, flight: _Flight) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        flight.waiting.append(future)
        metrics.CACHE_WAITING.inc()
        try:
            await asyncio.wait({future}, timeout=FOLLOW_S)
        except asyncio.CancelledError:
            if future.done() and future.result() == "lead":
                self.failed(name)
            raise
        finally:
            metrics.CACHE_WAITING.dec()
            if not future.done():
                future.cancel()
                flight.waiting.remove(future)
        return "alone" if future.cancelled() else future.result()

    async def _claim(self, name: str, flight: _Flight) -> Outcome:
        """The lease among the workers; without a bus this worker's own requests share all the same."""
        give_up = time.monotonic() + FOLLOW_S
        lease = f"{name}.lease"
        try:
            while not await self._entries.claim(lease, b"", LEASE_S):
                outcome = await self._watch(name, lease, give_up)
                if outcome is not None:
                    return outcome
        except BusError as error:
            metrics.counter(metrics.CACHE_ERRORS, "lease").inc()
            log.warning("a lease could not be had", extra={"error": str(error)})
            return "lead"
        flight.leased = True
        # between the first look and the lease another worker may have put it there
        return await self._shelf.fetch(name, CLAIM_S) or "lead"

    async def _watch(self, name: str, lease: str, give_up: float) -> Outcome | None:
        """Until the one who has the lease says how it ended; None: it has failed. Raises BusError."""
        delay, most = POLL_S
        while time.monotonic() < give_up:
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, most)
            state = await self._entries.get(lease, CLAIM_S)  # before the entry: that one is there first
            found = await self._entries.get(name, CLAIM_S)
            if found:
                return found
            if state is None:
                return None
            if state == _ALONE:
                return "alone"
        return "lead"

    def _end(self, name: str, outcome: Outcome, after: asyncio.Task[None] | None = None) -> None:
        flight = self._flights.pop(name, None)
        if flight is None:
            return
        for future in flight.waiting:
            if not future.done():
                future.set_result(outcome)
        flight.waiting.clear()
        if flight.leased:
            self._later(self._release(name, after))

    async def _release(self, name: str, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait({after})
        try:
            await self._entries.drop(f"{name}.lease")
        except BusError as error:
            log.warning("a lease was not given back", extra={"error": str(error)})

    async def _mark_alone(self, name: str) -> None:
        try:
            await self._entries.put(f"{name}.lease", _ALONE, ALONE_S)
        except BusError as error:
            log.warning("a lease was not given back", extra={"error": str(error)})

    def _later(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(doing)
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)
