"""The composition root of router: the only wiring."""

from __future__ import annotations

from nats.aio.subscription import Subscription

from keyrail.bus.connection import Bus
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Heart
from keyrail.bus.views import KvView
from keyrail.contracts import streams, subjects
from keyrail.contracts.config import ConfigView
from keyrail.providers import names
from keyrail_router.handlers import RequestHandler


class Router:
    """Requests in, planned slips out."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._view = ConfigView()
        self._heart = Heart(bus)
        self._forwarder = Forwarder(bus)
        self._config = KvView(bus, streams.CONFIG.name, self._on_config)
        self._handler = RequestHandler(bus, self._forwarder, lambda: self._view, names.owner)
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Return once requests are taken."""
        self._config.start()
        await self._config.loaded.wait()
        await self._forwarder.start()
        self._subscription = await self._bus.subscribe(
            subjects.REQUEST, self._handler.on_request, queue="router"
        )
        await self._bus.nc.flush()
        self._heart.start()

    async def drain(self) -> None:
        """Take nothing new; what is queued is still routed, and refusals are still heard."""
        if self._subscription is not None:
            await self._subscription.drain()
        await self._forwarder.settle()
        await self._heart.stop()

    def _on_config(self, key: str, value: bytes) -> None:
        if key == "current":
            self._view = ConfigView.decode(value)
