"""Whether a request is written is decided at the last moment, once its connection is there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from keyrail.contracts.slips import Timeouts
from keyrail.http.upstream import Endpoint, NotWritten, Upstream


async def test_a_request_that_may_not_be_written_any_more_reaches_nobody() -> None:
    connected = asyncio.Event()
    received = asyncio.Queue[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        received.put_nowait(await reader.read(1000))
        writer.close()

    upstream = Upstream()
    await upstream.open()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        endpoint = Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", {})
        limits: Any = {"timeouts": Timeouts(), "deadline": time.monotonic() + 10}
        with pytest.raises(NotWritten):
            await upstream.post(endpoint, {}, b"{}", **limits, may_write=lambda: False)
        await asyncio.wait_for(connected.wait(), 2)
        assert await asyncio.wait_for(received.get(), 2) == b"", "not a byte, and the connection is closed"
    await upstream.close()
