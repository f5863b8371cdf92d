"""What another configuration would have done with recorded decisions, counted by route. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Final

from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.routing import RequestRouted
from keyrail.routing import tuning
from keyrail.routing.decide import Decision
from keyrail.routing.replay import Believed, RecordedWorld, replayed, target_of
from keyrail.routing.tuning import Seen
from keyrail.routing.world import name_of

REFUSED: Final = "refused"
"""Stands for a target where there is none."""


@dataclass(slots=True)
class Difference:
    """Of one route. Sums are of the `compared`: served both ways, and at a known cost.

    `unknown`: served both ways, at a cost that nobody knows. `moves`: from where to where the first choice
    goes, by target, for those that go elsewhere.
    """

    decisions: int = 0
    elsewhere: int = 0
    refused_before: int = 0
    refused_after: int = 0
    compared: int = 0
    unknown: int = 0
    before_usd: Decimal = Decimal(0)
    after_usd: Decimal = Decimal(0)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])


class Simulation:
    """`view` against what was decided; `before` has the prices that recorded costs were predicted with."""

    def __init__(self, view: ConfigView, before: ConfigView, believed: Believed) -> None:
        self._view = view
        self._before = before
        self._believed = believed
        self._worths: dict[tuple[str, str], float | None] = {}
        self.routes: dict[str, Difference] = {}

    def tune(self, decisions: Iterable[RequestRouted]) -> None:
        """Find out, from these decisions, what a router would have found out for routes that are to keep a
        share of quality."""
        if not any(route.smart and route.smart.keep is not None for route in self._view.routes.values()):
            return
        seen: dict[tuple[str, str], list[Seen]] = {}
        for decision in decisions:
            after = replayed(decision, self._view, self._before, self._believed)
            if after.route is not None and after.route.smart is not None and after.task is not None:
                key = decision.tenant, after.route.name
                seen.setdefault(key, []).append(Seen(after.task, after.candidates))
        for (tenant, name), its in seen.items():
            route = self._view.routes[name]
            believed = partial(self._believed, tenant, route)
            requests = tuning.requests(its, tuning.reference_of(route), believed)
            self._worths[tenant, name] = tuning.tuned(requests, route).worth if requests else None

    def _worth(self, tenant: str, route: RouteConfig) -> float | None:
        return self._worths.get((tenant, route.name))

    def add(self, decision: RequestRouted) -> Decision:
        """Count one more; returns what would have been decided."""
        after = replayed(decision, self._view, self._before, self._believed, self._worth)
        told = self.routes.setdefault(decision.route, Difference())
        was = decision.targets[0] if decision.targets else REFUSED
        now = name_of(after.plan.targets[0]) if after.plan is not None else REFUSED
        told.decisions += 1
        told.refused_before += was == REFUSED
        told.refused_after += now == REFUSED
        if was != now:
            told.elsewhere += 1
            told.moves[was, now] += 1
        if REFUSED not in (was, now):
            self._compare(told, decision, was, now)
        return after

    def _compare(self, told: Difference, decision: RequestRouted, was: str, now: str) -> None:
        world = RecordedWorld(decision, self._before, self._believed)
        before, after = (
            world.cost(view, decision.route, target_of(name), decision.facts, decision.routed_ms)
            for view, name in ((self._before, was), (self._view, now))
        )
        if before is None or after is None:
            told.unknown += 1
            return
        told.compared += 1
        told.before_usd += before
        told.after_usd += after
