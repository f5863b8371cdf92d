"""The composition root of racer: the only wiring."""

from __future__ import annotations

import asyncio

from nats.aio.subscription import Subscription

from keyrail.bus.connection import Bus
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Hearing, Heart
from keyrail.bus.views import KvView
from keyrail.contracts import streams, subjects
from keyrail.contracts.config import ConfigView
from keyrail_racer.race import Room
from keyrail_racer.settings import RacerSettings
from keyrail_racer.table import Table
from keyrail_racer.watch import Watch


class Racer:
    """Slips with a race in, one slip for each contender out, the winner's frames on to ingress."""

    def __init__(self, bus: Bus, settings: RacerSettings) -> None:
        self._bus = bus
        self._view = ConfigView()
        self._forwarder = Forwarder(bus)
        self._hearing = Hearing(bus, ("ingress", "provider-worker"))
        room = Room(settings.max_held_bytes)
        self._table = Table(bus, self._forwarder, lambda: self._view, settings.max_in_flight, room)
        self._watch = Watch(bus, self._table, self._hearing)
        self._heart = Heart(bus, self._table.streams)
        self._config = KvView(bus, streams.CONFIG.name, self._on_config)
        self._races: list[Subscription] = []

    async def start(self) -> None:
        """Return once races are taken."""
        self._config.start()
        await self._config.loaded.wait()
        await self._hearing.start()
        await self._forwarder.start()
        await self._table.start()
        await self._watch.start()
        own = subjects.race_to(self._bus.instance)
        self._races = [
            await self._bus.subscribe(own, self._table.on_slip),
            await self._bus.subscribe(subjects.RACES, self._table.on_slip, queue="racer"),
        ]
        await self._bus.nc.flush()
        self._heart.start()

    async def drain(self) -> None:
        """Take nothing new; see the races under way to their end."""
        await self._heart.draining()
        await asyncio.gather(*(subscription.drain() for subscription in self._races))
        await self._table.finish()
        await self._forwarder.settle()
        await self._watch.stop()
        await self._heart.stop()

    def _on_config(self, key: str, value: bytes) -> None:
        if key == "current":
            self._view = ConfigView.decode(value)
