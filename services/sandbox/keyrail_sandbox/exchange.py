"""One HTTP exchange over raw ASGI: read, wait, write, and notice at once when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]


class Exchange:
    """`gone`: the client left (known only after `watch`, or while reading). `complete`: all was sent."""

    __slots__ = ("_receive", "_send", "_waiter", "_watcher", "complete", "gone")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._waiter: asyncio.Future[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.gone = False
        self.complete = False

    async def body(self) -> bytes | None:
        """The request's body; None when the client left before its end."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return message.get("body", b"")
        parts: list[bytes] = []
        while message["type"] == "http.request":
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self._receive()
        self.gone = True
        return None

    def watch(self) -> None:
        """Look out for the client's leaving, until `stop`. The body must have been read."""
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._waiter is not None:
            _wake(self._waiter)

    def stop(self) -> None:
        """No more watching."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def pause(self, seconds: float) -> bool:
        """Wait. False, at once, when the client leaves meanwhile (`watch` must have been called)."""
        if self.gone:
            return False
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(seconds, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        return not self.gone

    async def begin(self, status: int, headers: Headers) -> None:
        """Status and headers. With `content-length` among them the body is plain, else it is chunked."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """A part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        """The last part of the body. An exchange left without it is broken off: the connection closes."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})
        self.complete = not self.gone


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
