"""Routes about routes: what is configured, and what another configuration would have decided."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from keyrail.contracts.base import Json, now_ms
from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.decisions import DecisionsQuery
from keyrail.contracts.ledger import LedgerQuery
from keyrail.contracts.routing import RequestRouted
from keyrail.routing.posterior import Posterior
from keyrail.routing.simulation import Difference, Simulation
from keyrail.routing.world import name_of
from keyrail_control import texts
from keyrail_control.api.bodies import Body
from keyrail_control.api.pages import Rows
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.configuration import FILENAME, Configuration
from keyrail_control.errors import Invalid, Unknown
from keyrail_control.learned import Learned, model_of
from keyrail_control.seeding import Ask

AT_ONCE: Final = 500
"""Decisions of one question: a fraction of a second."""
Time = Annotated[str, Meta(max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Simulate(Body, frozen=True, kw_only=True):
    """A part of the decisions since then, `until` then, after `cursor`, under `config` (a keyrail.yaml)."""

    since: Time
    until: Time | None = None
    config: str
    filename: Annotated[str, Meta(min_length=1, max_length=255)] = FILENAME
    route: Name | None = None
    tenant: Name | None = None
    cursor: Name | None = None


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """Ask again with the same `since` and `until` and with `cursor`, null: there are no more.

    `unreadable`: decisions that this version does not know how to read.
    """

    since: str
    until: str
    routes: list[dict[str, Any]]
    unreadable: int
    cursor: str | None = None


@dataclass(slots=True)
class RouteRoutes:
    """`ask` raises Unavailable and LedgerFailed."""

    configuration: Configuration
    learned: Learned
    ask: Ask
    _read: tuple[str, ConfigView] | None = field(default=None, init=False)

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route("GET", "/v1/routes", "All routes in force", self._list, answer=Rows),
            Route(
                "GET",
                "/v1/routes/{name}",
                "One route in force: strategy, targets, rules",
                self._show,
                answer=dict[str, Any],
                errors=(404,),
            ),
            Route(
                "POST",
                "/v1/simulate",
                "What another configuration would have decided",
                self._simulate,
                Simulate,
                Simulated,
                errors=(502,),
            ),
        )

    async def _list(self, call: Call[None]) -> Rows:
        view = await self.configuration.view()
        return Rows(rows=[_row(route, view) for route in view.routes.values()])

    async def _show(self, call: Call[None]) -> dict[str, Any]:
        view = await self.configuration.view()
        route = view.routes.get(call.path["name"])
        if route is None:
            raise Unknown("there is no such route")
        tuned = await self.learned.tuned(route) if route.smart and route.smart.keep is not None else []
        return _row(route, view) | {"rules": _rules(route), "tuned": tuned}

    async def _simulate(self, call: Call[Simulate]) -> Simulated:
        body, now = call.body, now_ms()
        since_ms = texts.before("since", body.since, now)
        until_ms = now if body.until is None else texts.before("until", body.until, now)
        if since_ms >= until_ms:
            raise Invalid("until: must be after since")
        after, before = await self._parsed(body), await self.configuration.view()
        query = DecisionsQuery(
            tenant=body.tenant,
            route=body.route,
            since_ms=since_ms,
            until_ms=until_ms,
            cursor=body.cursor,
            most=AT_ONCE,
        )
        page = await self.ask(LedgerQuery(query=query))
        decisions = [each for each in map(_decision, page.rows) if each is not None]
        beliefs = await self._beliefs(after, decisions)
        told = await asyncio.to_thread(_counted, Simulation(after, before, beliefs), decisions)
        return Simulated(
            since=texts.written(since_ms),
            until=texts.written(until_ms),
            routes=told,
            unreadable=len(page.rows) - len(decisions),
            cursor=page.cursor,
        )

    async def _parsed(self, body: Simulate) -> ConfigView:
        """Parsed once for all parts of a simulation. Raises BadConfig."""
        digest = hashlib.sha256(f"{body.filename}\n{body.config}".encode()).hexdigest()
        if self._read is None or self._read[0] != digest:
            self._read = digest, await self.configuration.read(body.config, body.filename)
        return self._read[1]

    async def _beliefs(self, view: ConfigView, decisions: list[RequestRouted]) -> Beliefs:
        """Of the routes that look at quality."""
        beliefs = Beliefs()
        for tenant, asked in dict.fromkeys((each.tenant, each.facts.model) for each in decisions):
            name = asked
            for _ in view.aliases:
                name = view.aliases.get(name, name)
            route = view.routes.get(name)
            if route is not None and route.strategy == "smart" and (tenant, name) not in beliefs.tasks:
                beliefs.tasks[tenant, name] = await self.learned.tasks(tenant, name)
        return beliefs


@dataclass(slots=True)
class Beliefs:
    """What is believed today, for what a decision did not look at."""

    tasks: dict[tuple[str, str], list[Any]] = field(default_factory=dict[tuple[str, str], list[Any]])
    at_ms: int = field(default_factory=now_ms)

    def __call__(self, tenant: str, route: RouteConfig, task: str) -> Mapping[str, Posterior]:
        """By name of the target."""
        model = model_of(route, self.tasks.get((tenant, route.name), []))
        return model.qualities(task, None, [name_of(each.target) for each in route.targets], self.at_ms)


def _decision(row: dict[str, Json]) -> RequestRouted | None:
    at_ms = texts.before("routed_at", str(row["routed_at"]), 0)
    event = {name: value for name, value in row.items() if name != "routed_at"}
    try:
        return RequestRouted.decode(
            msgspec.json.encode(event | {"event": "request.routed", "routed_ms": at_ms})
        )
    except ValueError:
        return None


def _counted(simulation: Simulation, decisions: list[RequestRouted]) -> list[dict[str, Any]]:
    simulation.tune(decisions)
    for decision in decisions:
        simulation.add(decision)
    return [_told(name, each) for name, each in simulation.routes.items()]


def _told(route: str, told: Difference) -> dict[str, Any]:
    moves = [{"from": was, "to": now, "decisions": n} for (was, now), n in told.moves.most_common()]
    names = ("decisions", "elsewhere", "refused_before", "refused_after", "compared", "unknown")
    return {
        "route": route,
        **{name: getattr(told, name) for name in names},
        "before_usd": format(told.before_usd, "f"),
        "after_usd": format(told.after_usd, "f"),
        "moves": moves,
    }


def _row(route: RouteConfig, view: ConfigView) -> dict[str, Any]:
    reference = route.reference or (route.targets[0].target if route.targets else None)
    return {
        "name": route.name,
        "strategy": route.strategy,
        "race": route.race.mode if route.race is not None else None,
        "targets": [
            {
                "target": name_of(each.target),
                "weight": each.weight if route.strategy == "weighted" else None,
                "quality": each.quality,
                **msgspec.structs.asdict(each.abilities),
                "configured": each.target.provider in view.providers,
            }
            for each in route.targets
        ],
        "reference": None if reference is None else name_of(reference),
        "cache": route.cache.mode,
        "aliases": [name for name, meant in view.aliases.items() if meant == route.name],
        "revision": view.revision,
    }


def _rules(route: RouteConfig) -> dict[str, Any]:
    """All else that the configuration says of it, with what it does not say as it is by default."""
    names = ("smart", "race", "cache", "timeouts", "unknown_price", "mid_stream", "stick_s", "retries")
    return {name: msgspec.to_builtins(_plain(getattr(route, name))) for name in names}


def _plain(value: object) -> object:
    return msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else value
