"""One sandbox for all tests, and a client to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from support.sandbox_process import Running, running


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Running]:
    with running() as process:
        yield process


@pytest.fixture
async def http(sandbox: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=10) as client:
        yield client
