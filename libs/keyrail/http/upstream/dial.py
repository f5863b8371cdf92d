"""Opening connections: names looked up once for all who ask, addresses tried a quarter of a second apart."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from itertools import zip_longest

from keyrail.http.upstream.connection import Connection
from keyrail.http.upstream.endpoint import Origin
from keyrail.http.upstream.errors import UpstreamError

TTL_S = 60.0
"""How long an answer of the resolver is used."""
STAGGER_S = 0.25
"""How long an address may keep the next one waiting (RFC 8305): a dead IPv6 route costs this much."""

Attempt = Callable[[str], Awaitable[Connection]]


class Dialer:
    """Connects to origins."""

    def __init__(self, tls: ssl.SSLContext, make: Callable[[Origin], Connection]) -> None:
        self._tls = tls
        self._make = make
        self._names = _Names()

    async def dial(self, origin: Origin, connect_s: float, deadline: float) -> Connection:
        """A new connection, certificate and host name verified. Raises UpstreamError."""
        try:
            async with asyncio.timeout(min(connect_s, deadline - time.monotonic())):
                addresses = await self._names.addresses(origin.host, origin.port)
                return await first_of(addresses, lambda address: self._connect(origin, address))
        except TimeoutError:
            self._names.forget(origin.host, origin.port)
            phase = "connect" if time.monotonic() < deadline else "total"
            raise UpstreamError("connecting took too long", written=False, timeout=phase) from None
        except OSError as error:
            self._names.forget(origin.host, origin.port)
            # The class alone: the words of these errors hold names and addresses.
            raise UpstreamError(type(error).__name__, written=False) from None

    async def close(self) -> None:
        """Give up what is being looked up."""
        await self._names.close()

    async def _connect(self, origin: Origin, address: str) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: self._make(origin),
            address,
            origin.port,
            ssl=self._tls if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
        return connection


async def first_of(addresses: list[str], connect: Attempt) -> Connection:
    """The first connection that is there. Raises the last OSError when none can be had."""
    if len(addresses) == 1:
        return await connect(addresses[0])
    running: set[asyncio.Task[Connection]] = set()
    waiting = addresses[::-1]
    failure: OSError | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(connect(waiting.pop())))
            stagger = STAGGER_S if waiting else None
            done, _ = await asyncio.wait(running, timeout=stagger, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    running.discard(task)
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                failure = error
            running -= done
    finally:
        for task in running:
            task.add_done_callback(_too_late)
            task.cancel()
    raise failure or OSError("no address")


def _too_late(task: asyncio.Task[Connection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


class _Names:
    """Addresses by name; several who ask for one name at a time share one look-up."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[float, asyncio.Task[list[str]]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """Raises OSError when there are none."""
        if _is_address(host):
            return [host]
        now = time.monotonic()
        until, lookup = self._known.get((host, port), (0.0, None))
        if lookup is None or now >= until:
            lookup = asyncio.create_task(_look_up(host, port))
            lookup.add_done_callback(_note)
            self._known[host, port] = (now + TTL_S, lookup)
        return await asyncio.shield(lookup)  # one who gives up leaves it to the others

    def forget(self, host: str, port: int) -> None:
        """Look it up anew next time."""
        _, lookup = self._known.get((host, port), (0.0, None))
        if lookup is not None and lookup.done():
            del self._known[host, port]

    async def close(self) -> None:
        """Cancel what is under way."""
        lookups = [lookup for _, lookup in self._known.values()]
        self._known.clear()
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)


def _note(lookup: asyncio.Task[list[str]]) -> None:
    """Look at a failure that everybody may have stopped waiting for, so that nobody complains."""
    if not lookup.cancelled():
        lookup.exception()


async def _look_up(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first: list[str] = []
    second: list[str] = []
    for family, _, _, _, address in found:
        (first if family == found[0][0] else second).append(str(address[0]))
    # The two families take turns, beginning with the one that the system prefers.
    return [address for pair in zip_longest(first, second) for address in pair if address is not None]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
