from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.nats import NatsServer


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server of the test's own, to be killed at will."""
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    server.stop()
