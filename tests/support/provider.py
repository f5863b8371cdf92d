"""A provider of bytes: what it says is written down in each test, and what it heard can be looked at."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from keyrail.contracts.slips import Timeouts
from keyrail.http.upstream import Endpoint, Upstream, UpstreamResponse

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Talk:
    """One connection, seen from the provider."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.requests: list[tuple[bytes, bytes]] = []
        self.over = asyncio.Event()
        self.reader = reader

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        self.requests.append((head, await self.reader.readexactly(int(length))))
        return self.requests[-1]

    async def say(self, *parts: bytes) -> None:
        """Each part as a packet of its own, as far as the system lets it."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def left(self) -> bool:
        """Wait until the client is gone."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


Script = Callable[[Talk], Awaitable[None]]


class Provider:
    """Serves every connection by `script`, and closes it when that ends."""

    def __init__(self, script: Script) -> None:
        self.talks: list[Talk] = []
        self.port = 0
        self._script = script
        self._server: asyncio.Server | None = None

    async def open(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=tls, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    def endpoint(self, host: str = "127.0.0.1", scheme: str = "http", path: str = "/v1/chat") -> Endpoint:
        return Endpoint(f"{scheme}://{host}:{self.port}{path}", {"x-fixed": "1"})

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self.talks:
            talk.writer.transport.abort()
        await asyncio.wait_for(self._server.wait_closed(), 5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Talk(reader, writer)
        self.talks.append(talk)
        try:
            await self._script(talk)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            talk.over.set()
            writer.close()


Start = Callable[..., Awaitable[Provider]]


class Caller:
    """The client under test, with short limits and a few shorthands."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.asked = 0

    async def post(
        self,
        endpoint: Endpoint,
        body: bytes = b"{}",
        headers: Mapping[str, str] | None = None,
        *,
        total_s: float = 10.0,
        **limits: float,
    ) -> UpstreamResponse:
        limits = {"connect_s": 5.0, "first_byte_s": 5.0, "between_chunks_s": 5.0, **limits}
        return await self.upstream.post(
            endpoint,
            headers or {},
            body,
            timeouts=Timeouts(**limits),
            deadline=time.monotonic() + total_s,
            may_write=self.may_write,
        )

    def may_write(self) -> bool:
        self.asked += 1
        return True

    async def whole(self, endpoint: Endpoint, **options: Any) -> bytes:
        """The body of an answer, its connection given back."""
        response = await self.post(endpoint, **options)
        try:
            return await response.read()
        finally:
            response.leave()


def answers(*parts: bytes) -> Script:
    """Say the same to each request of a connection, until the client goes."""

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.say(*parts)

    return script


def once(*parts: bytes) -> Script:
    """Answer one request, then close."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(*parts)

    return script
