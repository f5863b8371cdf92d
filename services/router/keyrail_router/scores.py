"""What was learned of the quality of targets, by tenant and route, for smart routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyrail.bus.connection import Bus
from keyrail.bus.tasks import end
from keyrail.bus.views import KvView
from keyrail.contracts import score_keys, streams
from keyrail.contracts.config import ConfigView, RouteConfig, SmartRule
from keyrail.contracts.scores import Exemplar, TaskScores, Tuned
from keyrail.routing.learning import Model
from keyrail.routing.posterior import Posterior
from keyrail.routing.text import Features
from keyrail.routing.tuning import rule_of
from keyrail.routing.world import priors

log = logging.getLogger(__name__)

CALM_S: Final = 2.0
"""How long exemplars that come together are waited for before neighbours are weighed anew."""
_Key = tuple[str, str]


@dataclass(slots=True)
class _Learned:
    """Of one tenant's route, whether there is such a route or not."""

    tasks: dict[str, TaskScores] = field(default_factory=dict[str, TaskScores])
    exemplars: dict[str, Exemplar] = field(default_factory=dict[str, Exemplar])
    changes: int = 0  # of the exemplars
    tuned: Tuned | None = None


class Scores:
    """The bucket of scores in memory, and a model of each smart route that somebody asked for.

    What can't be read counts as not there. Nothing is watched as long as no route is smart.
    """

    def __init__(self, bus: Bus, calm_s: float = CALM_S) -> None:
        self._bus = bus
        self._calm_s = calm_s
        self._view = ConfigView()
        self._learned: dict[_Key, _Learned] = {}
        self._models: dict[_Key, tuple[RouteConfig, Model]] = {}
        self._watch: KvView | None = None
        self._building: dict[_Key, asyncio.Task[None]] = {}

    def follow(self, view: ConfigView) -> None:
        """This is the configuration now: begin to watch, if it has a smart route."""
        self._view = view
        self._models = {
            key: found for key, found in self._models.items() if view.routes.get(key[1]) == found[0]
        }
        smart = any(route.strategy == "smart" for route in view.routes.values())
        if smart and self._watch is None:
            self._watch = KvView(self._bus, streams.SCORES.name, self.put, self.drop)
            self._watch.start()

    async def stop(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            await self._watch.stop()
        await end(*self._building.values())

    def qualities(
        self,
        tenant: str,
        route: RouteConfig,
        task: str,
        prompt: Callable[[], Features | None],
        now_ms: int,
    ) -> dict[str, Posterior]:
        """Of each of the route's targets. The prompt is only read where it says something."""
        key = tenant, route.name
        found = self._models.get(key)
        model = found[1] if found is not None and found[0] is route else self._model(key, route)
        rule = route.smart or SmartRule()
        seen = prompt() if rule.neighbours and model.uses_neighbours else None
        return model.qualities(task, seen, tuple(priors(route)), now_ms)

    def tuned(self, tenant: str, route: RouteConfig) -> Tuned | None:
        """What was found out for a route that keeps a share, as it is configured now."""
        learned = self._learned.get((tenant, route.name))
        found = learned.tuned if learned is not None else None
        return found if found is not None and found.rule == rule_of(route) else None

    def worth(self, tenant: str, route: RouteConfig) -> float | None:
        """As `World`."""
        found = self.tuned(tenant, route)
        return found.worth if found is not None else None

    def put(self, key: str, value: bytes) -> None:
        """The bucket has this document."""
        whose = score_keys.parsed(key)
        if whose is None:
            return
        learned = self._learned.setdefault(whose, _Learned())
        model = self._models.get(whose)
        try:
            if ".e." in key:
                learned.exemplars[key] = Exemplar.decode(value)
                learned.changes += 1
                self._build_soon(whose)
            elif ".w." in key:
                learned.tuned = Tuned.decode(value)
            else:
                scores = learned.tasks[key] = TaskScores.decode(value)
                if model is not None:
                    model[1].learn(scores)
        except ValueError:
            log.error("a score could not be read", extra={"key": key})

    def drop(self, key: str) -> None:
        """The bucket has no such document any more: the model is made anew without it."""
        whose = score_keys.parsed(key)
        learned = self._learned.get(whose) if whose is not None else None
        if whose is None or learned is None:
            return
        if ".w." in key:
            learned.tuned = None
            return
        learned.tasks.pop(key, None)
        learned.exemplars.pop(key, None)
        learned.changes += 1
        self._models.pop(whose, None)

    def _model(self, key: _Key, route: RouteConfig) -> Model:
        """By the tasks alone at first: neighbours take a while."""
        learned = self._learned.get(key) or _Learned()
        rule = route.smart or SmartRule()
        model = Model(priors(route), learned.tasks.values(), prior_mass=rule.mass)
        self._models[key] = route, model
        if learned.exemplars:
            self._build_soon(key)
        return model

    def _build_soon(self, key: _Key) -> None:
        """With neighbours, away from the path of requests; once for all exemplars that come together."""
        found = self._models.get(key)
        rule = None if found is None else found[0].smart or SmartRule()
        if rule is None or not rule.neighbours or key in self._building:
            return
        task = asyncio.create_task(self._build(key))
        self._building[key] = task
        task.add_done_callback(lambda _: self._building.pop(key, None))

    async def _build(self, key: _Key) -> None:
        count = -1
        learned = self._learned[key]
        while count != learned.changes and (found := self._models.get(key)) is not None:
            await asyncio.sleep(self._calm_s)
            count, route = learned.changes, found[0]
            exemplars = tuple(learned.exemplars.values())
            mass = (route.smart or SmartRule()).mass
            model = await asyncio.to_thread(_built, priors(route), exemplars, mass)
            now = self._models.get(key)
            if now is None or now[0] is not route:
                count = -1
                continue
            for scores in learned.tasks.values():
                model.learn(scores)
            self._models[key] = route, model


def _built(prior: dict[str, float], exemplars: Sequence[Exemplar], mass: float) -> Model:
    model = Model(prior, (), exemplars, prior_mass=mass)
    model.calibrate()
    return model
