"""The socket to nats-server: what it gives is read where it arrives, without buffer and task in between."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Callable
from typing import cast
from urllib.parse import ParseResult

from nats.aio.transport import Transport
from nats.errors import ProtocolError

DEFAULT_PORT = 4222


class Wire(asyncio.Protocol, Transport):
    """One connection. Lines are waited for during the handshake; after it, `read_into` takes all there is."""

    def __init__(self, on_writable: Callable[[], None]) -> None:
        self.full = False
        """Whether the socket takes nothing now or any more: what is written would pile up, or be lost."""
        self._on_writable = on_writable
        self._loop = asyncio.get_running_loop()
        self._io: asyncio.Transport | None = None
        self._early = bytearray()
        self._feed: Callable[[bytes], None] = self._keep
        self._came = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost: asyncio.Future[Exception | None] = self._loop.create_future()
        self._failure: ProtocolError | None = None

    def __bool__(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] nats-py says None
        return self._io is not None

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Raises OSError, also when it takes longer than `connect_timeout` seconds."""
        async with asyncio.timeout(connect_timeout):
            await self._loop.create_connection(lambda: self, uri.hostname or "", uri.port or DEFAULT_PORT)

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        """Encrypt the connection from here on."""
        assert self._io is not None, "connect comes first"
        name = uri if isinstance(uri, str) else uri.hostname
        async with asyncio.timeout(connect_timeout):
            self._io = await self._loop.start_tls(self._io, self, ssl_context, server_hostname=name)
        assert self._io is not None, "the handshake was not aborted"

    async def readline(self) -> bytes:
        """The next line of the handshake, or what there is when the connection ended."""
        while b"\n" not in self._early and not self._lost.done():
            self._came.clear()
            await self._came.wait()
        end = self._early.find(b"\n") + 1 or len(self._early)
        line = bytes(self._early[:end])
        del self._early[:end]
        return line

    async def read(self, buffer_size: int) -> bytes:
        """Nothing is to be had here: what comes goes to `read_into`. nats-py's interface has both."""
        raise io.UnsupportedOperation("read")

    async def read_into(self, feed: Callable[[bytes], None]) -> None:
        """Give all that comes to `feed`, as it comes. Returns at the stream's end, raises what broke it."""
        self._loop.call_soon(self._begin, feed)  # from the loop, as all later calls are: no task is current
        try:
            error = await asyncio.shield(self._lost)
        finally:
            self._feed = _ignore
        if self._failure is not None or error is not None:
            raise self._failure or error or OSError()

    def write(self, payload: bytes) -> None:
        """Send, or keep in memory what the socket does not take now."""
        assert self._io is not None, "connected"
        self._io.write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        self.write(b"".join(payload))

    async def drain(self) -> None:
        """Wait until the socket takes more. Raises ConnectionResetError when it never will."""
        await self._writable.wait()
        if self._lost.done():
            raise ConnectionResetError("the connection is lost")

    def close(self) -> None:
        if self._io is not None:
            self._io.close()

    async def wait_closed(self) -> None:
        if self._io is not None:
            await asyncio.shield(self._lost)

    def at_eof(self) -> bool:
        return self._lost.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._io = cast("asyncio.Transport", transport)  # uvloop's own does not inherit from it

    def data_received(self, data: bytes) -> None:
        try:
            self._feed(data)
        except ProtocolError as error:
            self._failure = error
            self.full = True
            if self._io is not None:
                self._io.abort()

    def eof_received(self) -> None:
        self.full = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.full = True
        if not self._lost.done():
            self._lost.set_result(exc)
        self._came.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self.full = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self.full = False
        self._writable.set()
        self._on_writable()

    def _keep(self, data: bytes) -> None:
        self._early += data
        self._came.set()

    def _begin(self, feed: Callable[[bytes], None]) -> None:
        if self._feed == self._keep:
            self._feed = feed
            if self._early:
                self.data_received(bytes(self._early))


def _ignore(data: bytes) -> None:
    pass
