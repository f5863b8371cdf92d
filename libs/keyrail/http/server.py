"""uvicorn inside a service: an inherited socket, our signals, and a shutdown that fails no request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any

import uvicorn

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LAME_DUCK_S = 1.5
"""How long kept-alive connections still get answers, with `connection: close`, after the last accept."""


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
            http="httptools",
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
        """Accept nothing more, let kept-alive clients finish, close."""
        if self._task is None:
            return
        self.draining = True
        for server in self._server.servers:
            server.close()
        if self._server.server_state.connections:
            await asyncio.sleep(LAME_DUCK_S)
        self._server.should_exit = True
        await self._task
