"""The pool: connections to all providers, used again and again."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Mapping

from keyrail.contracts.slips import Timeouts
from keyrail.http.upstream.connection import Connection
from keyrail.http.upstream.dial import Dialer
from keyrail.http.upstream.endpoint import Endpoint, Origin, render
from keyrail.http.upstream.errors import NotWritten, UpstreamError
from keyrail.http.upstream.response import UpstreamResponse

CLOSING_S = 2.0

MayWrite = Callable[[], bool]


class Upstream:
    """Calls providers. `tls` says whom to trust: by default whom the system trusts."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dialer: Dialer | None = None
        self._idle: dict[Origin, dict[Connection, None]] = {}  # dicts as stacks: any member can leave at once
        self._all: set[Connection] = set()
        self._closed = False
        self._none_left = asyncio.Event()

    async def open(self) -> None:
        """Open the pool; needs the running event loop."""
        self._loop = asyncio.get_running_loop()
        tls = self._tls or ssl.create_default_context()
        tls.set_alpn_protocols(["http/1.1"])
        self._dialer = Dialer(tls, self._make)

    async def close(self) -> None:
        """Close all connections, those in use too."""
        if self._dialer is None or self._closed:
            return
        self._closed = True
        await self._dialer.close()
        for connection in list(self._all):
            connection.abort()
        if self._all:
            self._none_left.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), CLOSING_S)

    @property
    def connections(self) -> int:
        """How many there are, in use or not."""
        return len(self._all)

    @property
    def idle(self) -> int:
        """How many of them wait for a request."""
        return sum(map(len, self._idle.values()))

    async def post(
        self,
        endpoint: Endpoint,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeouts: Timeouts,
        deadline: float,
        may_write: MayWrite,
    ) -> UpstreamResponse:
        """POST; returns once status and headers are there. `leave` what is returned.

        `headers` come on top of the endpoint's. `deadline` is an instant of the monotonic clock; all waiting,
        for the body too, is limited by it and by `timeouts`. `may_write` is asked right before the request
        is written. Raises NotWritten and UpstreamError.
        """
        head = b"%b%bcontent-length: %d\r\n\r\n" % (endpoint.head, render(headers), len(body))
        connection = self._idle_one(endpoint.origin)
        if connection is None:
            connection = await self._dial(endpoint.origin, timeouts.connect_s, deadline)
        if not may_write():
            connection.abort()
            raise NotWritten
        await connection.ask(head, body, timeouts, deadline)
        return UpstreamResponse(connection)

    async def get(
        self, endpoint: Endpoint, headers: Mapping[str, str], *, timeouts: Timeouts, deadline: float
    ) -> UpstreamResponse:
        """As `post`, for an endpoint whose method is GET, over a connection of its own."""
        connection = await self._dial(endpoint.origin, timeouts.connect_s, deadline)
        await connection.ask(b"%b%b\r\n" % (endpoint.head, render(headers)), b"", timeouts, deadline)
        return UpstreamResponse(connection)

    def made(self, connection: Connection) -> None:
        """Know an open connection."""
        self._all.add(connection)

    def freed(self, connection: Connection) -> None:
        """Keep an idle connection."""
        if self._closed:
            connection.close()
            return
        idle = self._idle.get(connection.origin)
        if idle is None:
            idle = self._idle[connection.origin] = {}
        idle[connection] = None

    def lost(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._all.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle is not None:
            idle.pop(connection, None)
            if not idle:
                del self._idle[connection.origin]
        if not self._all:
            self._none_left.set()

    def _idle_one(self, origin: Origin) -> Connection | None:
        """The one used last, which is the least likely to be closed by now."""
        idle = self._idle.get(origin)
        now = time.monotonic()
        while idle:
            connection, _ = idle.popitem()
            if connection.usable(now):
                return connection
            connection.abort()
        return None

    async def _dial(self, origin: Origin, connect_s: float, deadline: float) -> Connection:
        if self._dialer is None or self._closed:
            raise UpstreamError("the client is closed", written=False)
        connection = await self._dialer.dial(origin, connect_s, deadline)
        if self._closed:  # meanwhile
            connection.abort()
            raise UpstreamError("the client is closed", written=False)
        return connection

    def _make(self, origin: Origin) -> Connection:
        assert self._loop is not None
        return Connection(self._loop, self, origin)
