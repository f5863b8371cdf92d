from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.control import Begin, Controlled, Home, Ledger
from support.nats import NatsServer


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server of the test's own."""
    directory = tmp_path / "nats"
    directory.mkdir()
    server = NatsServer(directory)
    await server.start()
    yield server
    server.stop()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    path = tmp_path / "home"
    path.mkdir()
    return Home(path)


@pytest.fixture
async def begin(nats: NatsServer, home: Home) -> AsyncIterator[Begin]:
    """Starts controls on this home, and stops those that still run."""
    running: list[Controlled] = []

    async def start(**more: Any) -> Controlled:
        running.append(await Controlled.start(nats, home, **more))
        return running[-1]

    yield start
    for each in running:
        await each.stop()


@pytest.fixture
async def ledger(nats: NatsServer) -> AsyncIterator[Ledger]:
    """Somebody who answers for the ledger."""
    answering = await Ledger.start(nats)
    yield answering
    await answering.bus.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wrong_for(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Controlled]:
    """A control that several tests ask, and none changes."""
    directory = tmp_path_factory.mktemp("nats")
    server = NatsServer(directory)
    await server.start()
    running = await Controlled.start(server, Home(tmp_path_factory.mktemp("home")))
    yield running
    await running.stop()
    server.stop()
