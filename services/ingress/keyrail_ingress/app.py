"""The composition root of ingress: the only wiring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.events import EventPublisher
from keyrail.bus.liveness import Hearing, Heart
from keyrail.bus.views import KvView
from keyrail.contracts import streams, subjects
from keyrail.contracts.config import ConfigView, TokenRecord
from keyrail.http.request import Request
from keyrail.http.server import HttpServer
from keyrail.http.tls import Certificate
from keyrail_ingress.api import PublicApi
from keyrail_ingress.dispatch import Dispatcher
from keyrail_ingress.doors import DOORS
from keyrail_ingress.inbox import Inbox
from keyrail_ingress.limits.limiter import Limiter
from keyrail_ingress.routes import Routes
from keyrail_ingress.settings import IngressSettings
from keyrail_ingress.views import Views

log = logging.getLogger(__name__)


class Ingress:
    """HTTP in, slips out, frames back."""

    def __init__(self, bus: Bus, settings: IngressSettings, certificate: Certificate | None = None) -> None:
        self._bus = bus
        self._changed = asyncio.Event()
        self._hearing = Hearing(bus, ("router", "provider-worker", "racer", "ingress"), self._changed.set)
        self._limiter = Limiter(Documents(bus, streams.LIMITS.name), bus.instance, self._hearing)
        self._views = Views(self._limiter.lease)
        self._heart = Heart(bus)
        self._events = EventPublisher(bus, subjects.EVENT_REQUEST)
        self._inbox = Inbox(bus)
        self._dispatcher = Dispatcher(bus, self._inbox, self._hearing)
        self._api = PublicApi(
            bus, self._views, self._inbox, self._dispatcher, self._limiter, self._events, settings
        )
        self._config = KvView(bus, streams.CONFIG.name, self._on_config)
        self._tokens = KvView(bus, streams.TOKENS.name, self._on_token, self._on_token_gone)
        routes = Routes(
            {
                **{("POST", door.path): partial(self._api.ask, door) for door in DOORS},
                ("GET", "/v1/models"): self._api.models,
                ("HEAD", "/"): self._healthz,
                ("GET", "/healthz"): self._healthz,
                ("GET", "/readyz"): self._readyz,
            },
            {
                ("GET", "/v1/models/"): self._api.models,
                **{(method, "/v1/responses/"): self._api.unserved for method in ("GET", "POST", "DELETE")},
            },
        )
        self._server = HttpServer(routes, fd=settings.listen_fd, port=settings.port, certificate=certificate)

    async def start(self) -> None:
        """Accept connections once the keys are known; return once the first request would be served.

        Until then they wait in the listening socket, which may be shared: no valid key is refused.
        """
        self._bus.on_reconnect(self._limiter.reconnected)
        await self._hearing.start()
        await self._inbox.start()
        await self._dispatcher.start()
        self._events.start()
        self._heart.start()
        self._config.start()
        self._tokens.start()
        await self._until(lambda: self._views.config.revision > 0 and bool(self._views.tokens))
        await self._server.start()
        await self._until(self._ready)

    async def drain(self) -> None:
        """Accept nothing new, finish what runs, flush the events."""
        await self._server.stop()
        await self._limiter.stop()
        await self._inbox.settle()
        await self._events.stop()
        await self._heart.stop()
        await self._dispatcher.stop()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _ready(self) -> bool:
        return (
            self._bus.connected
            and not self._server.draining
            and self._views.config.revision > 0
            and bool(self._views.tokens)
            and self._hearing.any_alive("router")
            and self._hearing.any_alive("provider-worker")
        )

    def _healthz(self, request: Request) -> None:
        _plain(request, 200, b"ok\n")

    def _readyz(self, request: Request) -> None:
        if self._ready():
            _plain(request, 200, b"ready\n")
        else:
            _plain(request, 503, b"not ready\n")

    def _on_config(self, key: str, value: bytes) -> None:
        if key == "current":
            self._views.configure(ConfigView.decode(value))
            self._changed.set()

    def _on_token(self, key: str, value: bytes) -> None:
        try:
            record = TokenRecord.decode(value)
        except ValueError:  # whatever it says, it lets nobody in
            log.error("the record of a virtual key could not be read", extra={"key_id": key})
            self._views.forget(key)
            return
        self._views.put(record)
        self._changed.set()

    def _on_token_gone(self, key: str) -> None:
        self._views.forget(key)


def _plain(request: Request, status: int, body: bytes) -> None:
    request.answer(status, (("content-type", "text/plain"),), body)
