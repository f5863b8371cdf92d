"""uvicorn inside a service: an inherited socket, our signals, and a shutdown that fails no request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

IDLE_S = 5.5
"""A kept-alive connection is closed after so long without a request: clients of httpx, and so the official
ones, use no connection again that was idle for 5 s, and none is closed under a request on its way."""
POLL_S = 0.05
ABORT_S = 5.0
"""How long a closed connection may take to send what its client does not read."""


class _Protocol(HttpToolsProtocol):
    """Sends what one turn of the event loop writes to a connection in one go: head and body together."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(_Gathering(transport, self.loop))


class _Gathering(asyncio.Transport):
    """A transport in front of another one."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._to = transport
        self._loop = loop
        self._parts: list[bytes] = []
        for name in ("get_extra_info", "is_closing", "pause_reading", "resume_reading", "set_protocol"):
            setattr(self, name, getattr(transport, name))

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(bytes(data))

    def close(self) -> None:
        self._flush()
        self._to.close()

    def abort(self) -> None:
        self._parts.clear()
        self._to.abort()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._to.is_closing():
            self._to.write(parts[0] if len(parts) == 1 else b"".join(parts))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # the process has its own handlers


class HttpServer:
    """Serves an ASGI app. `draining` turns true before the last connections are closed."""

    def __init__(self, app: App, *, fd: int | None = None, port: int = 0) -> None:
        if fd is not None:
            self._socket = socket.socket(fileno=fd)
        else:
            self._socket = socket.create_server(("127.0.0.1", port), backlog=2048)
        config = uvicorn.Config(
            app,
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
        )
        self.draining = False
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Return once connections are accepted."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise RuntimeError("the HTTP server ended at once")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Accept nothing more; answer, and close, every connection as it falls idle.

        All answers from now on say `connection: close`. Streams whose head has left can't: their connections
        are good for one more request.
        """
        if self._task is None:
            return
        self.draining = True
        for server in self._server.servers:
            server.close()
        self._close_after_answers()
        await self._until_idle()
        self._server.should_exit = True
        await self._task

    def _close_after_answers(self) -> None:
        config, state = self._server.config, self._server.server_state
        config.encoded_headers = [*config.encoded_headers, (b"connection", b"close")]
        state.default_headers = config.encoded_headers  # copied again from there each second
        for connection in cast(set[HttpToolsProtocol], state.connections):
            if connection.cycle:
                connection.cycle.default_headers = config.encoded_headers

    async def _until_idle(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        closed: dict[HttpToolsProtocol, float] = {}
        connections = cast(set[HttpToolsProtocol], self._server.server_state.connections)
        while connections:
            for connection in list(connections):
                if connection in closed:
                    if clock() - closed[connection] > ABORT_S:
                        connection.transport.abort()
                elif clock() - _idle_since(connection, began, clock()) > IDLE_S:
                    closed[connection] = clock()
                    connection.transport.close()
            await asyncio.sleep(POLL_S)


def _idle_since(connection: HttpToolsProtocol, began: float, now: float) -> float:
    """When the last answer on it ended; `now` while there is one to be given."""
    cycle = cast(RequestResponseCycle | None, connection.cycle)  # None before the first request
    if cycle is not None and not cycle.response_complete:
        return now
    timer = connection.timeout_keep_alive_task
    return began if timer is None else timer.when() - connection.timeout_keep_alive


def abort(send: Send) -> None:
    """Break the connection of a request off, dropping what its client does not read."""
    cycle = getattr(send, "__self__", None)
    if isinstance(cycle, RequestResponseCycle):
        cycle.transport.abort()
