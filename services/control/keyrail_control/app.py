"""The composition root of control: the only wiring."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Final

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError
from keyrail.bus.events import EventPublisher
from keyrail.bus.liveness import Hearing, Heart
from keyrail.bus.scores import Scores
from keyrail.contracts import streams, subjects
from keyrail.http.server import HttpServer
from keyrail.keys import stores
from keyrail.keys.base import KeyStoreError
from keyrail.providers import registry
from keyrail_control import gather, providers
from keyrail_control.api import table
from keyrail_control.api.handler import Api
from keyrail_control.buckets import Bucket
from keyrail_control.configuration import FILENAME, Configuration
from keyrail_control.kept_answers import KeptAnswers
from keyrail_control.learned import Learned
from keyrail_control.provider_keys import ProviderKeys
from keyrail_control.questions import Questions
from keyrail_control.revisions import Revisions
from keyrail_control.seeding import Seeder
from keyrail_control.settings import ControlSettings
from keyrail_control.virtual_keys import VirtualKeys

log = logging.getLogger(__name__)

DEFAULT_TENANT: Final = "default"
LOOK_S: Final = 30.0
"""How often what the store has is compared with what is published of it."""


class Control:
    """The admin API; publishes the configuration, provider keys and the first virtual key at start."""

    def __init__(self, bus: Bus, settings: ControlSettings, *, look_s: float = LOOK_S) -> None:
        self._bus = bus
        self._settings = settings
        self._look_s = look_s
        writer = self._writer = stores.writer(settings)
        self._heart = Heart(bus)
        self._hearing = Hearing(bus, ("ingress", "router", "racer", "provider-worker", "cost-accounting"))
        self._leaving = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        questions = Questions(bus)
        spent = Bucket(bus, streams.BUDGETS.name)
        self._keys = ProviderKeys(
            writer,
            Bucket(bus, streams.KEYS.name),
            Bucket(bus, streams.KEY_HEALTH.name),
            self._provider_names,
            questions.key_test,
            self._keys_changed,
        )
        self._configuration = Configuration(
            Revisions(Bucket(bus, streams.CONFIG.name)),
            Seeder(spent, questions.ledger),
            self._with_key,
            settings.sandbox_url,
        )
        self._verdicts = EventPublisher(bus, subjects.EVENT_VERDICT)
        self._tokens = VirtualKeys(Bucket(bus, streams.TOKENS.name))
        routes = table.whole(
            table.Behind(
                metrics=self._metrics,
                providers=self._providers,
                ledger=questions.ledger,
                keys=self._keys,
                tokens=self._tokens,
                configuration=self._configuration,
                spent=spent,
                learned=Learned(self._verdicts, Scores(bus), self._configuration.view),
                kept=KeptAnswers(bus),
            )
        )
        token = settings.admin_token_file.read_text().strip()
        self.api = Api(routes, hashlib.sha256(token.encode()).hexdigest())
        self._server: HttpServer | None = None

    @property
    def port(self) -> int:
        """Where the API listens, once it is started."""
        assert self._server is not None
        return self._server.port

    async def start(self) -> None:
        """Publish, then listen."""
        await self._writer.open()
        await self._keys.publish(at_start=True)
        config = self._settings.config
        await self._configuration.begin(
            config.read_text() if config else "", config.name if config else FILENAME
        )
        key_file = self._settings.default_key_file
        if key_file.exists():
            await self._tokens.let_in(key_file.read_text().strip(), DEFAULT_TENANT)
        self._verdicts.start()
        await self._hearing.start()
        self._server = HttpServer(self.api, fd=self._settings.listen_fd, port=self._settings.admin_port)
        await self._server.start()
        self._heart.start()
        self._looking = asyncio.create_task(self._look(), name="look at the key store")

    async def drain(self) -> None:
        """Answer what was asked, then leave."""
        self._leaving.set()
        if self._looking is not None:
            await self._looking
        if self._server is not None:
            await self._server.stop()
            await self._verdicts.stop()
        await self._writer.close()
        await self._heart.stop()

    async def _look(self) -> None:
        while not await self._leaves_within(self._look_s):
            try:
                await self._keys.publish()
                await self._configuration.keys_changed()
            except (KeyStoreError, BusError) as error:
                log.warning("provider keys can't be compared", extra={"error": str(error)})

    async def _leaves_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._leaving.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _keys_changed(self) -> None:
        await self._configuration.keys_changed()

    async def _with_key(self) -> set[str]:
        return {name.provider for name in await self._keys.names() if name.tenant == DEFAULT_TENANT}

    async def _provider_names(self) -> set[str]:
        return set((await self._configuration.view()).providers)

    async def _providers(self) -> list[providers.Row]:
        view, names = await self._configuration.view(), await self._keys.names()
        return providers.rows(view, registry.load(), names, DEFAULT_TENANT)

    async def _metrics(self) -> bytes:
        return await gather.exposition(self._bus, self._hearing)
