"""Key stores: files, a real server with Vault's API, and our own fake of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.key_stores import Opened
from support.openbao import NO_SERVER, OpenBao, binary
from support.vault_fake import FakeVault


@pytest.fixture(scope="session")
def shared_bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    if binary() is None:
        pytest.skip(NO_SERVER)
    server = OpenBao(tmp_path_factory.mktemp("bao"))
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def bao(shared_bao: OpenBao) -> OpenBao:
    """A server that runs and holds no key."""
    shared_bao.empty()
    return shared_bao


@pytest.fixture
def own_bao(tmp_path: Path) -> Iterator[OpenBao]:
    """A server that the test may harm."""
    if binary() is None:
        pytest.skip(NO_SERVER)
    server = OpenBao(tmp_path)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeVault]:
    server = FakeVault(tmp_path)
    yield await server.start()
    await server.stop()


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    stores = Opened()
    yield stores
    await stores.close()
