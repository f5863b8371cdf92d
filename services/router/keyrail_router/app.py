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
from keyrail_router.handlers import RequestHandler


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
        self._handler = RequestHandler(
            bus, self._forwarder, self._hearing, lambda: self._view, names.owner, book, self._budgets
        )
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        """Return once requests are taken."""
        catalogue.load()  # 0.2 s that no request should wait for
        views = (self._config, self._keys, self._outages)
        for view in views:
            view.start()
        await asyncio.gather(*(view.loaded.wait() for view in views))
        await self._forwarder.start()
        await self._hearing.start()
        self._budgets.start()
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
        await self._heart.stop()

    def _on_config(self, key: str, value: bytes) -> None:
        if key == "current":
            self._view = ConfigView.decode(value)
