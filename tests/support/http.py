"""A server on loopback and clients that write bytes, not requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

from keyrail.http.limits import Limits
from keyrail.http.request import Request
from keyrail.http.server import HttpServer
from keyrail.http.tls import Certificate

TEXT = (("content-type", "text/plain"),)
MAX_BODY = 1 << 20
CLOSE_S = 5.0


@dataclass
class Echo:
    """Answers with method, path and body; `/stream` is left to the test, which finds it in `streams`."""

    seen: list[tuple[str, str, bytes | None]] = field(default_factory=list[tuple[str, str, bytes | None]])
    streams: asyncio.Queue[Request] = field(default_factory=asyncio.Queue[Request])

    def __call__(self, request: Request) -> None:
        if request.path == "/stream":
            self.streams.put_nowait(request)
        elif request.path == "/refuse":
            self.seen.append((request.method, request.path, None))
            request.answer(401, TEXT, b"no\n")
        elif request.path == "/crash":
            raise RuntimeError("on purpose")
        else:
            request.read(MAX_BODY, lambda body: self._answer(request, body))

    def _answer(self, request: Request, body: bytes | None) -> None:
        self.seen.append((request.method, request.path, body))
        if body is None:
            request.answer(413, TEXT, b"too long\n")
        else:
            request.answer(200, TEXT, f"{request.method} {request.path} ".encode() + body)


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send, and read one answer."""
        self.writer.write(data)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        async with asyncio.timeout(CLOSE_S):
            status, headers = parse_head(await self.reader.readuntil(b"\r\n\r\n"))
            if headers.get("transfer-encoding") == "chunked":
                return status, headers, await self._chunks()
            if "content-length" in headers:
                return status, headers, await self.reader.readexactly(int(headers["content-length"]))
            return status, headers, b"" if status < 200 else await self.reader.read()

    async def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while size := int(await self.reader.readline(), 16):
            parts.append(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return b"".join(parts)

    async def flood(self, size: int) -> None:
        """Send so many bytes, as fast as they are taken; a server that closes ends it."""
        block = b"x" * (1 << 16)
        try:
            for _ in range(size // len(block)):
                self.writer.write(block)
                await self.writer.drain()
        except ConnectionError:
            pass

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as a close."""
        async with asyncio.timeout(CLOSE_S):
            parts: list[bytes] = []
            try:
                while data := await self.reader.read(1 << 16):
                    parts.append(data)
            except ConnectionError:
                pass
            return b"".join(parts)


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers, by lower-case name."""
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(": ") for line in lines if line]
    return int(first.split(" ")[1]), {name: value for name, _, value in pairs}


class Served:
    """A server with the echo behind it."""

    def __init__(self, server: HttpServer, echo: Echo) -> None:
        self.server = server
        self.echo = echo
        self._clients: list[Client] = []

    async def connect(self, limit: int = 1 << 16, ssl: SSLContext | None = None) -> Client:
        """A new connection; it reads ahead at most twice `limit`."""
        port = self.server.port
        client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=limit, ssl=ssl))
        self._clients.append(client)
        return client

    async def stream(self) -> Request:
        """The next request for `/stream`."""
        return await asyncio.wait_for(self.echo.streams.get(), CLOSE_S)

    def close(self) -> None:
        """Break all connections off."""
        for client in self._clients:
            client.writer.transport.abort()


@asynccontextmanager
async def serving(
    limits: Limits | None = None, certificate: Certificate | None = None
) -> AsyncGenerator[Served]:
    """A server until the end of the block; its clients are gone before."""
    echo = Echo()
    server = HttpServer(echo, limits=limits, certificate=certificate)
    await server.start()
    served = Served(server, echo)
    try:
        yield served
    finally:
        served.close()
        await asyncio.wait_for(server.stop(), CLOSE_S)
