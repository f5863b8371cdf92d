"""What this worker knows of the health of targets, and what it tells the others."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.health import TargetHealth, target_name
from keyrail.contracts.slips import Target
from keyrail.routing import breaker
from keyrail.routing.breaker import Tally
from keyrail.telemetry import metrics

log = logging.getLogger(__name__)

RETRY_S = 1.0
LOOK_S = 1.0
"""How often breakers are counted, and those that are over forgotten."""
MOST_TALLIES = 4_096
"""Targets whose outcomes are counted; clients may name any."""

_DRAW = random.Random().random  # noqa: S311 - no secret, and asking the system is a call to it


class Breakers:
    """The bucket's word, and over it what this worker has seen itself and not written yet.

    An opening counts here at once. A task writes it to the bucket by compare-and-set, again until it holds.
    """

    def __init__(self, documents: Documents, draw: Callable[[], float] = _DRAW) -> None:
        self._documents = documents
        self._draw = draw
        self._tallies: dict[Target, Tally] = {}
        self._healths: dict[str, TargetHealth] = {}
        self._unwritten: dict[str, TargetHealth] = {}
        self._writers: dict[str, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._shown: set[str] = set()

    def start(self) -> None:
        """Count what is open each second."""
        self._looking = asyncio.create_task(self._look_again(), name="open breakers")

    async def stop(self) -> None:
        """Write what is not written yet, for a moment."""
        if self._looking is not None:
            self._looking.cancel()
        if self._writers:
            await asyncio.wait(self._writers.values(), timeout=2 * RETRY_S)

    def put(self, name: str, document: bytes) -> None:
        """The bucket has this document."""
        try:
            self._healths[name] = TargetHealth.decode(document)
        except ValueError:
            log.error("the health of a target could not be read", extra={"target": name})

    def drop(self, name: str) -> None:
        """The bucket has no such document any more."""
        self._healths.pop(name, None)

    def of(self, target: Target) -> TargetHealth | None:
        """What is known against a target."""
        if not self._healths and not self._unwritten:
            return None
        name = target_name(target.provider, target.model)
        mine, other = self._unwritten.get(name), self._healths.get(name)
        return breaker.later(mine, other) if mine and other else mine or other

    def open_until_ms(self, target: Target) -> int | None:
        """When the breaker of a target lets it come back; None when it is not open."""
        health = self.of(target)
        return health.until_ms if health is not None and now_ms() < health.until_ms else None

    def succeeded(self, target: Target) -> None:
        """An attempt at this target was good."""
        tally = self._tallies.get(target)
        if tally is None:
            tally = self._tally(target)
        tally.succeeded(now_ms())

    def failed(self, target: Target, failure: Failure, began_ms: int) -> None:
        """An attempt at this target, begun at `began_ms`, failed."""
        if not breaker.counts(failure):
            return
        at_ms, before = now_ms(), self.of(target)
        tally = self._tallies.get(target) or self._tally(target)
        if not breaker.failed(tally, before, failure, began_ms, at_ms):
            return
        tally.clear()
        health = breaker.opened(before, target.provider, target.model, failure.kind, at_ms, self._draw())
        metrics.counter(metrics.BREAKER_OPENS, target.provider, failure.kind).inc()
        shown = {"why": health.why, "until_ms": health.until_ms, "times": health.times}
        log.warning("breaker open", extra={"provider": target.provider, "model": target.model, **shown})
        name = target_name(target.provider, target.model)
        self._unwritten[name] = health
        if name not in self._writers:
            task = self._writers[name] = asyncio.create_task(self._write(name))
            task.add_done_callback(lambda _: self._writers.pop(name, None))

    def look(self) -> None:
        """Forget what is over and count what is open."""
        at_ms = now_ms()
        counts = dict.fromkeys(self._shown, 0)
        for name, health in list(self._healths.items()):
            if breaker.is_over(health, at_ms):
                del self._healths[name]  # the bucket forgets it by itself
            elif at_ms < health.until_ms:
                counts[health.provider] = counts.get(health.provider, 0) + 1
        for provider, count in counts.items():
            metrics.BREAKERS_OPEN.labels(provider).set(count)
        self._shown = set(counts)

    def _tally(self, target: Target) -> Tally:
        if len(self._tallies) >= MOST_TALLIES:
            del self._tallies[next(iter(self._tallies))]
        tally = self._tallies[target] = Tally()
        return tally

    async def _write(self, name: str) -> None:
        while (mine := self._unwritten.get(name)) is not None:
            try:
                after = await self._documents.change(name, _Put(mine))
            except BusError as error:
                log.warning("a breaker is not written yet", extra={"target": name, "error": str(error)})
                await asyncio.sleep(RETRY_S)
                continue
            self._healths[name] = after
            if self._unwritten.get(name) == mine:
                del self._unwritten[name]

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()


class _Put:
    """The change of a document that brings this worker's word in."""

    def __init__(self, mine: TargetHealth) -> None:
        self._mine = mine

    def __call__(self, now: bytes | None) -> tuple[bytes | None, TargetHealth]:
        before = _read(now)
        after = self._mine if before is None else breaker.later(before, self._mine)
        return (None if after == before else after.encode()), after


def _read(document: bytes | None) -> TargetHealth | None:
    try:
        return TargetHealth.decode(document) if document else None
    except ValueError:
        return None
