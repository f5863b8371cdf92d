"""The composition root of provider-worker: the only wiring."""

from __future__ import annotations

import asyncio
import contextlib

from nats.aio.subscription import Subscription

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.events import EventPublisher
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Hearing, Heart
from keyrail.bus.views import KvView
from keyrail.contracts import streams, subjects
from keyrail.contracts.config import ConfigView
from keyrail.http.upstream import Upstream
from keyrail.keys import stores
from keyrail.keys.base import InvalidKey, KeyName
from keyrail.keys.book import KeyBook
from keyrail.pricing import catalogue
from keyrail_provider_worker.attempt import Tools
from keyrail_provider_worker.breakers import Breakers
from keyrail_provider_worker.caching.cache import Cache
from keyrail_provider_worker.contents import Contents
from keyrail_provider_worker.deadlines import Deadlines
from keyrail_provider_worker.health import Healths
from keyrail_provider_worker.keyring import Keyring
from keyrail_provider_worker.keytest import KeyTester
from keyrail_provider_worker.runner import Runner
from keyrail_provider_worker.settings import WorkerSettings
from keyrail_provider_worker.windows import Windows


class ProviderWorker:
    """Slips in, upstream calls out, frames straight back to ingress."""

    def __init__(self, bus: Bus, settings: WorkerSettings) -> None:
        self._bus = bus
        self._view = ConfigView()
        self._events = EventPublisher(bus, subjects.EVENT_ATTEMPT)
        self._upstream = Upstream()
        self._hearing = Hearing(bus, ("ingress", "racer"))
        self._forwarder = Forwarder(bus)
        store = self._store = stores.reader(settings)
        self._book = KeyBook()
        self._alerts = EventPublisher(bus, subjects.EVENT_ALERT)
        documents = Documents(bus, streams.KEY_HEALTH.name)
        self._healths = Healths(self._book, documents, self._alerts, store, bus.instance)
        self._tester = KeyTester(bus, store, self._upstream, self._healths, lambda: self._view)
        keyring = Keyring(store, self._healths)
        self._contents = Contents(bus, lambda: self._view)
        self._breakers = Breakers(Documents(bus, streams.TARGET_HEALTH.name))
        self._windows = Windows(Documents(bus, streams.WINDOWS.name))
        self._cache = Cache(bus)
        tools = Tools(
            bus,
            self._events,
            self._upstream,
            keyring,
            lambda: self._view,
            Deadlines(),
            self._contents,
            self._breakers,
            self._windows,
            self._cache,
        )
        self._runner = Runner(tools, self._forwarder, self._hearing, settings.max_in_flight)
        self._heart = Heart(bus, self._runner.streams)
        self._config = KvView(bus, streams.CONFIG.name, self._on_config)
        self._keys = KvView(bus, streams.KEYS.name, self._on_record, self._on_record_gone)
        self._outages = KvView(bus, streams.KEY_HEALTH.name, self._book.put_health, self._book.drop_health)
        self._targets = KvView(bus, streams.TARGET_HEALTH.name, self._breakers.put, self._breakers.drop)
        self._limits = KvView(bus, streams.WINDOWS.name, self._windows.put, self._windows.drop)
        self._calls: list[Subscription] = []

    async def start(self) -> None:
        """Return once slips are taken."""
        catalogue.load()  # 0.2 s that no request should wait for
        await self._upstream.open()
        await self._store.open()
        views = (self._config, self._keys, self._outages, self._targets, self._limits)
        for view in views:
            view.start()
        await asyncio.gather(*(view.loaded.wait() for view in views))
        await self._hearing.start()
        await self._forwarder.start()
        self._events.start()
        self._alerts.start()
        await self._healths.start()
        self._breakers.start()
        self._windows.start()
        self._contents.start()
        await self._cache.start()
        self._runner.start()
        await self._bus.subscribe(subjects.cancel(self._bus.instance), self._runner.on_cancel)
        self._calls = [
            await self._bus.subscribe(subjects.call_to(self._bus.instance), self._runner.on_slip),
            await self._bus.subscribe(subjects.CALLS, self._runner.on_slip, queue="provider-worker"),
            await self._bus.subscribe(subjects.KEY_TEST, self._tester.on_test, queue="provider-worker"),
        ]
        await self._bus.nc.flush()
        self._heart.start()

    async def drain(self) -> None:
        """Take nothing new, finish what runs, flush the events."""
        await self._heart.draining()
        await asyncio.gather(*(subscription.drain() for subscription in self._calls))
        await self._runner.finish()
        await self._cache.stop()
        await self._forwarder.settle()
        self._runner.settle()
        await self._tester.finish()
        await self._healths.stop()
        await self._breakers.stop()
        await self._windows.stop()
        await asyncio.gather(self._events.stop(), self._alerts.stop(), self._contents.stop())
        await self._heart.stop()
        await self._upstream.close()
        await self._store.close()

    def _on_config(self, key: str, value: bytes) -> None:
        if key == "current":
            self._view = ConfigView.decode(value)

    def _on_record(self, name: str, value: bytes) -> None:
        if self._book.put_record(name, value):
            self._refresh(name)

    def _on_record_gone(self, name: str) -> None:
        self._book.drop_record(name)
        self._refresh(name)

    def _refresh(self, name: str) -> None:
        """The key of this name was changed, whatever the store has seen of it."""
        parts = name.split(".")
        if len(parts) == 3:
            with contextlib.suppress(InvalidKey):
                self._store.refresh(KeyName(*parts))
