"""What a good answer must be worth in routes that keep a share of quality, found out beside the requests."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.bus.tasks import end
from keyrail.contracts import score_keys, streams
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.scores import Tuned
from keyrail.routing import tuning
from keyrail.routing.decide import Decision
from keyrail.routing.posterior import Posterior
from keyrail.routing.tuning import LEAST_SEEN, MOST_SEEN, Request, Seen
from keyrail.routing.world import World, unread
from keyrail_router.scores import Scores

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often one route is looked at, and tuned if it is time: a few hundredths of a second of work."""
HOLDS_MS: Final = 60_000
"""How long what was found out holds."""
MOST: Final = 256
"""Routes of tenants that requests are remembered of."""
_Key = tuple[str, str]


@dataclass(slots=True)
class _Lately:
    """Of one tenant's route. `new`: requests since it was tuned here."""

    route: RouteConfig
    seen: deque[Seen] = field(default_factory=lambda: deque[Seen](maxlen=MOST_SEEN))
    new: int = 0


class Tuner:
    """Remembers what the last decisions looked at, and writes down what follows for those to come.

    All routers use what one of them has written; whichever finds it older than a minute writes it anew.
    """

    def __init__(self, bus: Bus, scores: Scores, world: World, clock_ms: Callable[[], int] = now_ms) -> None:
        self._scores = scores
        self._world = world
        self._clock_ms = clock_ms
        self._documents = Documents(bus, streams.SCORES.name)
        self._lately: dict[_Key, _Lately] = {}
        self._task: asyncio.Task[None] | None = None

    def follow(self, view: ConfigView) -> None:
        """This is the configuration now: begin or end, as it needs."""
        kept = {name: route for name, route in view.routes.items() if _keeps(route)}
        self._lately = {key: lately for key, lately in self._lately.items() if key[1] in kept}
        for (_, name), lately in self._lately.items():
            lately.route = kept[name]
        if kept and self._task is None:
            self._task = asyncio.create_task(self._keep(), name="tuner")
        elif not kept and self._task is not None:
            self._task.cancel()
            self._task = None

    async def stop(self) -> None:
        """Tune no longer."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    def saw(self, tenant: str, decision: Decision) -> None:
        """A decision was made."""
        route = decision.route
        if route is None or decision.task is None or not _keeps(route):
            return
        key = tenant, route.name
        lately = self._lately.get(key)
        if lately is None:
            if len(self._lately) >= MOST:
                del self._lately[next(iter(self._lately))]
            lately = self._lately[key] = _Lately(route)
        lately.seen.append(Seen(decision.task, decision.candidates))
        lately.new += 1

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S * random.uniform(1, 1.5))  # noqa: S311 - so that they don't come at once
            for (tenant, _), lately in list(self._lately.items()):
                if self.due(tenant, lately.route):
                    await self.tune(tenant, lately.route)
                    break

    def due(self, tenant: str, route: RouteConfig) -> bool:
        """Whether there is enough to go by, and nothing newer known."""
        lately = self._lately.get((tenant, route.name))
        if lately is None or len(lately.seen) < LEAST_SEEN or not lately.new:
            return False
        known = self._scores.tuned(tenant, route)
        return known is None or self._clock_ms() - known.at_ms >= HOLDS_MS

    async def tune(self, tenant: str, route: RouteConfig) -> bool:
        """Write down what follows from the last requests. Returns whether it was done: not where nobody but
        the reference is known, nor where another router has just done so."""
        lately = self._lately[tenant, route.name]
        lately.new = 0

        def believed(task: str) -> Mapping[str, Posterior]:
            return self._world.qualities(tenant, route, task, unread, self._clock_ms())

        seen = tuning.requests(lately.seen, tuning.reference_of(route), believed)
        if len(seen) < LEAST_SEEN:
            return False
        # Tens of milliseconds: not between two requests.
        found = await asyncio.to_thread(_found, seen, route, self._clock_ms())
        try:
            key = score_keys.tuned(tenant, route.name)
            return await self._documents.change(key, lambda before: _change(before, found))
        except BusError as error:
            log.warning("not tuned", extra={"route": route.name, "error": str(error)})
            return False


def _keeps(route: RouteConfig) -> bool:
    return route.strategy == "smart" and route.smart is not None and route.smart.keep is not None


def _found(seen: list[Request], route: RouteConfig, at_ms: int) -> Tuned:
    worth, kept, saved = tuning.tuned(seen, route)
    return Tuned(
        worth=worth, rule=tuning.rule_of(route), kept=kept, saved=saved, requests=len(seen), at_ms=at_ms
    )


def _change(before: bytes | None, found: Tuned) -> tuple[bytes | None, bool]:
    if before is not None:
        try:
            known = Tuned.decode(before)
        except ValueError:
            known = None  # of another version: replaced
        if known is not None and known.rule == found.rule and found.at_ms - known.at_ms < HOLDS_MS:
            return None, False
    return found.encode(), True
