"""The composition root of control: the only wiring."""

from __future__ import annotations

import hashlib
import logging

from keyrail.bus.connection import Bus
from keyrail.bus.liveness import Hearing, Heart
from keyrail.contracts import subjects
from keyrail.contracts.config import ConfigView
from keyrail.contracts.ledger import LedgerPage, LedgerQuery
from keyrail.http import asgi
from keyrail.http.server import HttpServer
from keyrail.keys import stores
from keyrail.providers import registry
from keyrail_control import catalogue, gather, providers, publishing
from keyrail_control.api import create_app
from keyrail_control.settings import ControlSettings

log = logging.getLogger(__name__)

QUESTION_S = 10.0
DEFAULT_TENANT = "default"


class Control:
    """The admin API; publishes the configuration and the first virtual key at start."""

    def __init__(self, bus: Bus, settings: ControlSettings) -> None:
        self._bus = bus
        self._settings = settings
        self._view = ConfigView()
        self._keys = stores.writer(settings)
        self._heart = Heart(bus)
        self._hearing = Hearing(bus, ("ingress", "router", "provider-worker", "cost-accounting"))
        token = settings.admin_token_file.read_text().strip()
        app = create_app(
            self._ask, self._metrics, self._providers, hashlib.sha256(token.encode()).hexdigest()
        )
        self._server = HttpServer(asgi.handler(app), fd=settings.listen_fd, port=settings.admin_port)

    async def start(self) -> None:
        """Publish, then listen."""
        await self._keys.open()
        await self._publish()
        await self._hearing.start()
        await self._server.start()
        self._heart.start()

    async def drain(self) -> None:
        """Answer what was asked, then leave."""
        await self._server.stop()
        await self._keys.close()
        await self._heart.stop()

    async def _publish(self) -> None:
        settings = self._settings
        text = settings.config.read_text() if settings.config else ""
        names = await self._keys.list()
        view = catalogue.view(
            text,
            settings.config.name if settings.config else "keyrail.yaml",
            sandbox_url=settings.sandbox_url,
            with_key={name.provider for name in names if name.tenant == DEFAULT_TENANT},
        )
        published = self._view = await publishing.publish_config(self._bus.js, view)
        log.info("configuration published", extra={"revision": published.revision})
        if settings.default_key_file.exists():
            key = settings.default_key_file.read_text().strip()
            await publishing.publish_token(self._bus.js, key, DEFAULT_TENANT)

    async def _ask(self, query: LedgerQuery) -> LedgerPage:
        answer = await self._bus.nc.request(subjects.LEDGER, query.encode(), timeout=QUESTION_S)
        return LedgerPage.decode(answer.data)

    async def _providers(self) -> list[providers.Row]:
        return providers.rows(self._view, registry.load(), await self._keys.list(), DEFAULT_TENANT)

    async def _metrics(self) -> bytes:
        return await gather.exposition(self._bus, self._hearing)
