"""An HTTP/1.1 server inside a service: an inherited socket, and a shutdown that fails no request."""

from __future__ import annotations

import asyncio
import socket
import weakref

from keyrail.http.connection import Connection, Handler, Shared
from keyrail.http.limits import Limits
from keyrail.http.tls import LOOK_S, Certificate

IDLE_S = 5.5
"""A kept-alive connection is closed after so long without a request: clients of httpx, and so the official
ones, use no connection again that was idle for 5 s, and none is closed under a request on its way."""
POLL_S = 0.05
ABORT_S = 5.0
"""How long a closed connection may take to send what its client does not read."""


class HttpServer:
    """Gives requests to `handler`. `draining` turns true before the last connections are closed.

    With a certificate it speaks TLS only, and follows the certificate's files.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        fd: int | None = None,
        port: int = 0,
        limits: Limits | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        if fd is not None:
            self._socket = socket.socket(fileno=fd)
        else:
            self._socket = socket.create_server(("127.0.0.1", port), backlog=2048)
        self._handler = handler
        self._limits = limits or Limits()
        self._certificate = certificate
        self._shared: Shared | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def draining(self) -> bool:
        """Whether it was asked to stop."""
        return self._shared is not None and self._shared.draining

    async def start(self) -> None:
        """Return once connections are accepted."""
        loop = asyncio.get_running_loop()
        shared = self._shared = Shared(self._handler, self._limits, loop)
        if self._certificate is None:
            self._server = await loop.create_server(
                lambda: Connection(shared), sock=self._socket, backlog=2048
            )
        else:
            self._server = await self._start_tls(shared, self._certificate)
        self._check(shared)

    async def _start_tls(self, shared: Shared, certificate: Certificate) -> asyncio.Server:
        shaking = shared.shaking = weakref.WeakSet[Connection]()

        def connection() -> Connection:
            accepted = Connection(shared)
            shaking.add(accepted)
            return accepted

        server = await shared.loop.create_server(
            connection,
            sock=self._socket,
            backlog=2048,
            ssl=certificate.context,
            ssl_handshake_timeout=self._limits.handshake_s,
            ssl_shutdown_timeout=ABORT_S,
        )
        self._look(shared, certificate)
        return server

    async def stop(self) -> None:
        """Accept nothing more; answer, and close, every connection as it falls idle.

        All answers from now on say `connection: close`. Streams whose head has left can't: their connections
        are good for one more request.
        """
        shared = self._shared
        if shared is None or self._server is None:
            return
        shared.draining = True
        self._server.close()
        began = shared.loop.time()
        while shared.connections or (
            shared.shaking and shared.loop.time() - began < self._limits.handshake_s
        ):
            for connection in list(shared.connections):
                connection.drain(shared.loop.time(), began, IDLE_S, ABORT_S)
            await asyncio.sleep(POLL_S)
        for timer in (self._timer, self._looking):
            if timer is not None:
                timer.cancel()

    def _look(self, shared: Shared, certificate: Certificate) -> None:
        certificate.look()
        self._looking = shared.loop.call_later(LOOK_S, self._look, shared, certificate)

    def _check(self, shared: Shared) -> None:
        now = shared.loop.time()
        for connection in list(shared.connections):
            connection.check(now)
        self._timer = shared.loop.call_later(self._limits.check_s, self._check, shared)
