"""The one module that calls providers. Redirects, proxies from the environment and compression are off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import lru_cache

import aiohttp

MAX_ANSWER = 32 << 20
MAX_HEADER = 16 * 1024
EMPTY_S = 1.0
"""How long the rest of a complete answer may take."""


class UpstreamError(Exception):
    """The exchange with the provider broke. `written`: whether the request may have reached it.

    `timeout` names the phase when a time limit passed: connect, first_byte, between_chunks or total.
    """

    def __init__(self, message: str, *, written: bool, timeout: str | None = None) -> None:
        super().__init__(message)
        self.written = written
        self.timeout = timeout


class NotWritten(Exception):
    """The request was not written: `may_write` said no once the connection was there."""


MayWrite = Callable[[], bool]
_may_write: ContextVar[MayWrite] = ContextVar("may_write")


class _Request(aiohttp.ClientRequest):
    """Asks once more before its first byte leaves: connecting takes time, and a process can be paused."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        if not _may_write.get()():
            raise NotWritten
        return await super().send(conn)


class UpstreamResponse:
    """An answer whose status and headers are there and whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.complete = False  # set by who reads: what may still come means nothing
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers  # names in any case

    async def read(self, limit: int = MAX_ANSWER) -> bytes:
        """The whole body. Raises UpstreamError when it breaks off or is larger than `limit` bytes."""
        try:
            parts: list[bytes] = []
            size = 0
            async for part in self._response.content.iter_any():
                size += len(part)
                if size > limit:
                    raise UpstreamError(f"the answer is larger than {limit} bytes", written=True)
                parts.append(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(_what(error), written=True) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives: one item for each read from the socket."""
        try:
            async for part in self._response.content.iter_any():
                yield part
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(_what(error), written=True) from error


class Upstream:
    """A pool of connections to all providers."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._emptying: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the pool; needs the running event loop."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=60)
        self._session = aiohttp.ClientSession(
            connector=connector,
            request_class=_Request,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect_s: float, may_write: MayWrite
    ) -> AsyncGenerator[UpstreamResponse]:
        """POST; yields once status and headers are there. Leaving early closes the connection at once, unless
        the answer is marked `complete`: then its rest is read away, so that the connection can be used again.

        `may_write` is asked right before the request is written. Raises NotWritten and UpstreamError.
        """
        assert self._session is not None
        _may_write.set(may_write)
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._session.post(
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=_timeout(connect_s),
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamError("connecting took too long", written=False, timeout="connect") from error
        except aiohttp.ClientConnectorError as error:
            raise UpstreamError(_what(error), written=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(_what(error), written=True) from error
        answer = UpstreamResponse(response)
        try:
            yield answer
        finally:
            if response.content.at_eof():
                response.release()
            elif answer.complete:
                task = asyncio.create_task(_empty(response))
                self._emptying.add(task)
                task.add_done_callback(self._emptying.discard)
            else:
                response.close()


async def _empty(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(EMPTY_S):
            async for _ in response.content.iter_any():
                pass
        response.release()
    except (aiohttp.ClientError, OSError, TimeoutError):
        response.close()


@lru_cache(maxsize=64)
def _timeout(connect_s: float) -> aiohttp.ClientTimeout:
    """Connecting only: all other waiting is limited by the caller."""
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s)


def _what(error: Exception) -> str:
    """The class alone: messages of the client library can hold URLs."""
    return type(error).__name__
