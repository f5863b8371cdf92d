"""One client connection: writes a request that is always the same, and checks every answer."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools
from pydantic import BaseModel

from bench.sse import EventCounter

clock = time.perf_counter


class Load(BaseModel):
    """One load. `seconds` or `count` bounds it; with `rate` (requests/s) it is an open loop.

    `exact_events` is how many events each stream must have; None accepts any number from one up. Answers may
    be `grace_s` late before they count as lost.
    """

    url: str
    headers: dict[str, str] = {}
    body: str
    stream: bool = False
    connections: int = 1
    seconds: float | None = None
    count: int | None = None
    rate: float | None = None
    exact_events: int | None = None
    grace_s: float = 30.0


def _times() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Tally:
    """What the connections of a load add up to. Times are in seconds."""

    latencies: array[float] = field(default_factory=_times)
    first_bytes: array[float] = field(default_factory=_times)
    errors: Counter[str] = field(default_factory=Counter[str])
    sent: int = 0
    outstanding: int = 0
    events: int = 0
    last: float = 0.0


def render(load: Load) -> bytes:
    """The request as bytes."""
    parts = urlsplit(load.url)
    body = load.body.encode()
    headers = {"host": parts.netloc, "content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in {**headers, **load.headers}.items()]
    return "\r\n".join([f"POST {parts.path or '/'} HTTP/1.1", *lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """Sends when told; calls `idle` when it may be told again, and `lost` once it is closed."""

    def __init__(
        self,
        load: Load,
        tally: Tally,
        idle: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self._request = render(load)
        self._stream = load.stream
        self._exact = load.exact_events
        self._tally = tally
        self._idle = idle
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._events = EventCounter()
        self._body = b""
        self._started = 0.0
        self._first = True
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from it
        self._idle(self)

    def send(self, scheduled: float) -> None:
        """Send the request; its times count from `scheduled`."""
        assert self._transport is not None
        self._started = scheduled
        self._body = b""
        self._first = True
        self._busy = True
        self._tally.sent += 1
        self._tally.outstanding += 1
        self._transport.write(self._request)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish(f"not HTTP: {type(error).__name__}")
            self.abort()

    def on_body(self, body: bytes) -> None:
        if self._stream:
            if self._first:
                self._tally.first_bytes.append(clock() - self._started)
                self._events.reset()
            self._events.feed(body)
        else:
            self._body = body if self._first else self._body + body
        self._first = False

    def on_message_complete(self) -> None:
        if not self._busy:
            return
        self._finish(self._problem(self._parser.get_status_code()))
        if self._parser.should_keep_alive():
            self._idle(self)
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._finish("connection lost")
        self._lost(self)

    def _problem(self, status: int) -> str | None:
        if status != 200:
            return f"status {status}"
        if not self._stream:
            return None if b'"choices"' in self._body else "no choices"
        if self._first or not self._events.done:
            return "stream without [DONE]"
        events = self._events.events
        self._tally.events += events
        if events == self._exact or (self._exact is None and events > 0):
            return None
        return f"stream of {events} events"

    def _finish(self, problem: str | None) -> None:
        if not self._busy:
            return
        tally = self._tally
        tally.last = now = clock()
        tally.outstanding -= 1
        self._busy = False
        if problem is None:
            tally.latencies.append(now - self._started)
        else:
            tally.errors[problem] += 1
