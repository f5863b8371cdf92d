"""The composition root of provider-worker: the only wiring."""

from __future__ import annotations

import asyncio

from nats.aio.subscription import Subscription

from keyrail.bus.connection import Bus
from keyrail.bus.events import EventPublisher
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Hearing, Heart
from keyrail.bus.views import KvView
from keyrail.contracts import streams, subjects
from keyrail.contracts.config import ConfigView
from keyrail.http.upstream import Upstream
from keyrail.keys import stores
from keyrail.pricing import catalogue
from keyrail_provider_worker.attempt import Tools
from keyrail_provider_worker.deadlines import Deadlines
from keyrail_provider_worker.keyring import Keyring
from keyrail_provider_worker.runner import Runner
from keyrail_provider_worker.settings import WorkerSettings


class ProviderWorker:
    """Slips in, upstream calls out, frames straight back to ingress."""

    def __init__(self, bus: Bus, settings: WorkerSettings) -> None:
        self._bus = bus
        self._view = ConfigView()
        self._events = EventPublisher(bus, subjects.EVENT_ATTEMPT)
        self._upstream = Upstream()
        self._hearing = Hearing(bus, ("ingress",))
        self._forwarder = Forwarder(bus)
        self._keys = stores.reader(settings)
        keyring = Keyring(self._keys)
        tools = Tools(bus, self._events, self._upstream, keyring, lambda: self._view, Deadlines())
        self._runner = Runner(tools, self._forwarder, self._hearing, settings.max_in_flight)
        self._heart = Heart(bus, self._runner.streams)
        self._config = KvView(bus, streams.CONFIG.name, self._on_config)
        self._calls: list[Subscription] = []

    async def start(self) -> None:
        """Return once slips are taken."""
        catalogue.load()  # 0.2 s that no request should wait for
        await self._upstream.open()
        await self._keys.open()
        self._config.start()
        await self._config.loaded.wait()
        await self._hearing.start()
        await self._forwarder.start()
        self._events.start()
        self._runner.start()
        await self._bus.subscribe(subjects.cancel(self._bus.instance), self._runner.on_cancel)
        self._calls = [
            await self._bus.subscribe(subjects.call_to(self._bus.instance), self._runner.on_slip),
            await self._bus.subscribe(subjects.CALLS, self._runner.on_slip, queue="provider-worker"),
        ]
        await self._bus.nc.flush()
        self._heart.start()

    async def drain(self) -> None:
        """Take nothing new, finish what runs, flush the events."""
        await self._heart.draining()
        await asyncio.gather(*(subscription.drain() for subscription in self._calls))
        await self._runner.finish()
        await self._forwarder.settle()
        await self._events.stop()
        await self._heart.stop()
        await self._upstream.close()
        await self._keys.close()

    def _on_config(self, key: str, value: bytes) -> None:
        if key == "current":
            self._view = ConfigView.decode(value)
