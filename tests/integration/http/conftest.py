"""The client of the providers, and providers that follow a script."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from support.provider import Caller, Provider, Script, Start

from keyrail.http.upstream import Upstream


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Services run on uvloop; what the standard library's loop does differently must not matter."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def start() -> AsyncGenerator[Start]:
    """Starts a provider that follows a script; it is stopped after the test."""
    async with AsyncExitStack() as stack:

        async def begin(script: Script, **options: Any) -> Provider:
            provider = Provider(script)
            await provider.open(**options)
            stack.push_async_callback(provider.close)
            return provider

        yield begin


@pytest.fixture(scope="session")
def system_trust() -> ssl.SSLContext:
    """What the client makes for itself; reading all authorities of the system takes as long as a test."""
    return ssl.create_default_context()


@pytest.fixture
async def caller(system_trust: ssl.SSLContext) -> AsyncGenerator[Caller]:
    """An open client; closed after the test."""
    upstream = Upstream(system_trust)
    await upstream.open()
    yield Caller(upstream)
    await upstream.close()
