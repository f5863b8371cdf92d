"""The composition root of router: the only wiring."""

from __future__ import annotations

import asyncio

from nats.aio.subscription import Subscription

from keyrail.bus.connection import Bus
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Hearing, Heart
from keyrail.bus.views import KvView
from keyrail.contracts import streams, subjects
from keyrail.contracts.config import ConfigView
from keyrail.keys.book import KeyBook
from keyrail.pricing import catalogue
from keyrail.providers import names
from keyrail_router.budgets import Budgets
from keyrail_router.decisions import Decisions
from keyrail_router.handlers import RequestHandler
from keyrail_router.measures import Measures
from keyrail_router.planner import Planner
from keyrail_router.scores import Scores
from keyrail_router.targets import Targets
from keyrail_router.tuner import Tuner
from keyrail_router.world import RouterWorld


class Router:
    """Requests in, planned slips out."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._view = ConfigView()
        self._heart = Heart(bus)
        self._forwarder = Forwarder(bus)
        self._config = KvView(bus, streams.CONFIG.name, self._on_config)
        self._hearing = Hearing(bus, ("provider-worker", "racer"))
        book = KeyBook()
        self._keys = KvView(bus, streams.KEYS.name, book.put_record, book.drop_record)
        self._outages = KvView(bus, streams.KEY_HEALTH.name, book.put_health, book.drop_health)
        self._budgets = Budgets(bus)
        self._measures = Measures(bus)
        self._scores = Scores(bus)
        self._decisions = Decisions(bus)
        targets = Targets(book)
        self._health = KvView(bus, streams.TARGET_HEALTH.name, targets.put_health, targets.drop_health)
        self._windows = KvView(bus, streams.WINDOWS.name, targets.put_windows, targets.drop_windows)
        world = RouterWorld(targets, book, self._measures, self._scores)
        view = lambda: self._view  # noqa: E731 - the newest, whenever it is asked for
        self._tuner = Tuner(bus, self._scores, world)
        planner = Planner(view, world, self._tuner, names.owner)
        self._handler = RequestHandler(
            bus, self._forwarder, self._hearing, view, planner, self._budgets, self._decisions
        )
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        """Return once requests are taken."""
        catalogue.load()  # 0.2 s that no request should wait for
        views = (self._config, self._keys, self._outages, self._health, self._windows)
        for view in views:
            view.start()
        await asyncio.gather(*(view.loaded.wait() for view in views))
        await self._forwarder.start()
        await self._hearing.start()
        self._budgets.start()
        self._decisions.start()
        own = subjects.request_to(self._bus.instance)
        self._subscriptions = [
            await self._bus.subscribe(own, self._handler.on_request),
            await self._bus.subscribe(subjects.REQUEST, self._handler.on_request, queue="router"),
        ]
        await self._bus.nc.flush()
        self._heart.start()

    async def drain(self) -> None:
        """Take nothing new; what is queued is still routed, and refusals are still heard."""
        await self._heart.draining()
        await asyncio.gather(*(subscription.drain() for subscription in self._subscriptions))
        await self._handler.settle()
        await self._forwarder.settle()
        await self._budgets.stop()
        await self._decisions.stop()
        await self._tuner.stop()
        await self._scores.stop()
        await self._measures.stop()
        await self._heart.stop()

    def _on_config(self, key: str, value: bytes) -> None:
        if key == "current":
            self._view = ConfigView.decode(value)
            self._measures.follow(self._view)
            self._scores.follow(self._view)
            self._tuner.follow(self._view)
