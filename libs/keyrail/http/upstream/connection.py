"""One connection: writes a request, parses the answer, holds what nobody has read yet, times all waiting."""

from __future__ import annotations

import asyncio
import re
import select
import time
from typing import Protocol, cast

import httptools

from keyrail.contracts.slips import Timeouts
from keyrail.http.upstream.endpoint import Origin
from keyrail.http.upstream.errors import Phase, StaleConnection, UnreadableAnswer, UpstreamError
from keyrail.http.upstream.headers import Headers, too_large

HELD = 256 * 1024
"""Bytes of an answer that may wait for their reader; beyond that nothing more is taken from the socket."""
SLICE = 256 * 1024
"""Most of a request that is written at a time."""
MAX_HEAD = 64 * 1024
IDLE_S = 60.0
EMPTY_S = 1.0
"""How long the rest of a complete answer may take."""
LOOK_S = 5.0
"""How long a timer may sleep while limits move: it looks again, which is cheaper than being set for each."""
QUIET_S = 1.0
"""A connection that was idle for longer is looked at before its use: the loop may not have been told yet."""

_KEEP_ALIVE = re.compile(rb"timeout\s*=\s*(\d{1,9})")
_MARGIN_S = 1.0  # for a request on its way while the provider's own limit passes

# What a connection does. From AWAITING on, somebody waits for an answer.
IDLE, COMPLETE, CLOSED, AWAITING, READING, EMPTYING = range(6)


class Owner(Protocol):
    """Who keeps idle connections."""

    def made(self, connection: Connection) -> None:
        """This one is open."""
        ...

    def freed(self, connection: Connection) -> None:
        """This one can take another request."""
        ...

    def lost(self, connection: Connection) -> None:
        """This one is closed."""
        ...


class Connection(asyncio.Protocol):
    """Takes one request after the other. Errors are kept in `error`, for whoever asks next."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner, origin: Origin) -> None:
        self.origin = origin
        self.state = IDLE
        self.status = 0
        self.headers: Headers = Headers({})
        self.error: UpstreamError | None = None
        self._loop = loop
        self._owner = owner
        self._parts: list[bytes] = []
        self._raw: dict[bytes, bytes] = {}
        # The parser calls these methods of built-in types directly: no Python frame for a header or a chunk.
        # The first of several headers of one name counts.
        self.on_header = self._raw.setdefault
        self.on_body = self._parts.append
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(
            cast("httptools.HTTPProtocol", self)
        )
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._keep = False
        self._used = False
        self._left = False
        self._torn = False  # the answer came before all of the request was written
        self._until_close = False
        self._whole = 0  # when not 0: nobody needs to be woken before so many bytes, or the end
        self._held = 0
        self._barren = 0
        self._read_paused = False
        self._write_paused = False
        self._timeouts = Timeouts()
        self._deadline = 0.0
        self._due = 0.0
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    # what the pool and the response ask for

    async def ask(self, head: bytes, body: bytes, timeouts: Timeouts, deadline: float) -> None:
        """Write a request and return once status and headers are there. `deadline` is on the monotonic clock.

        Raises UpstreamError. The connection is closed after any exception.
        """
        if self.state != IDLE or self._transport is None or self._transport.is_closing():
            raise UpstreamError("ConnectionError", written=False)
        self._timeouts = timeouts
        self._deadline = deadline
        self._left = self._torn = False
        self._keep = self._until_close = False
        self._held = self._barren = self._whole = 0
        self.state = AWAITING
        self._limit(min(time.monotonic() + timeouts.first_byte_s, deadline))
        try:
            if len(body) <= SLICE:
                self._transport.write(head + body)
            else:
                await self._write_large(head, body)
            while self.state == AWAITING:
                await self.wait()
        except BaseException:  # cancelled too: a request half way ends its connection, whoever ended it
            self.abort()
            raise
        self._used = True
        if self.error is not None:
            raise self.error

    def take(self) -> bytes:
        """What has come of the body since the last time; empty when nothing has."""
        parts = self._parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()  # the parser holds its `append`
        self._held = 0
        if self._read_paused:
            self._resume_reading()
        return data

    async def wait(self) -> None:
        """Return once something has changed."""
        waiter = self._waiter = self._loop.create_future()
        await waiter

    async def wait_whole(self, limit: int) -> None:
        """Return once the whole body, more than `limit` bytes of it, or its failure is there."""
        self._whole = limit
        if self._read_paused:
            self._resume_reading()
        while self.state == READING and self._held <= limit:
            await self.wait()
        self._whole = 0

    def leave(self, *, complete: bool) -> None:
        """The answer's reader goes. `complete`: what may still come means nothing, so it is read away."""
        if self.state == COMPLETE:
            self._free()
        elif self.state == READING and complete and self._keep and not self._torn:
            self.state = EMPTYING
            self._left = True
            self._parts.clear()
            if self._read_paused:
                self._resume_reading()
            self._limit(time.monotonic() + EMPTY_S)
        else:
            self.abort()

    def usable(self, now: float) -> bool:
        """Whether an idle connection can take a request: as far as can be seen, the provider still has it."""
        transport = self._transport
        if self.state != IDLE or transport is None or transport.is_closing() or now >= self._due:
            return False
        return now - self._since < QUIET_S or not _readable(transport)

    def close(self) -> None:
        """Close an idle connection in order."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from it
        self._since = time.monotonic()
        self._limit(self._since + IDLE_S)
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if self.state <= CLOSED or parser is None:
            # Nobody asked, so that whatever this is, the next answer could not be told from it.
            self._keep = False
            if self.state == IDLE:
                self.abort()
            return
        parts = len(self._parts)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self.state != COMPLETE:
                self._fail(UnreadableAnswer("the answer is no HTTP", written=True))
                return
            self._keep = False  # the answer is whole, but more came behind it
        if self.error is not None:
            self._fail(self.error)
        elif self.state == AWAITING:
            self._held += len(data)
            if self._held > MAX_HEAD:
                self._fail(UnreadableAnswer("the head of the answer is too large", written=True))
        elif self.state == READING:
            self._on_part(len(data), barren=len(self._parts) == parts)
        elif self.state == COMPLETE:
            if self._left:
                self._free()
            else:
                self._wake()
        elif self.state == EMPTYING:
            self._parts.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        state = self.state
        self.state = CLOSED
        self._transport = None
        self._read_paused = False
        self._parser = None  # the two hold each other
        if self._timer is not None:
            self._timer.cancel()
        if state == AWAITING and self.error is None:
            kind = StaleConnection if self._used and not self._held else UpstreamError
            self.error = kind(type(exc or ConnectionError()).__name__, written=True)
        elif state == READING and self.error is None and not (self._until_close and exc is None):
            self.error = UpstreamError(type(exc or ConnectionError()).__name__, written=True)
        self._owner.lost(self)
        self._wake()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake()

    # httptools

    def on_message_begin(self) -> None:
        if self.state == COMPLETE:
            # Stops the parser: the body would be added to the first one's.
            raise ValueError("a second answer")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        raw = self._raw
        status = self._parser.get_status_code()
        if status < 200:
            raw.clear()  # the answer itself comes after this one
            return
        if too_large(raw, MAX_HEAD):
            self.error = UnreadableAnswer("the head of the answer is too large", written=True)
        # Reversed, so that the first one counts too when they differ in case.
        fields = {name.lower(): value for name, value in reversed(raw.items())}
        raw.clear()
        encoding = fields.get(b"content-encoding") if status < 300 else None  # an error's status says enough
        if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
            self.error = UnreadableAnswer("the answer is compressed, which was not asked for", written=True)
        self.status = status
        self.headers = Headers(fields)
        self._keep = self._parser.should_keep_alive()
        self._until_close = not self._keep and not (
            b"content-length" in fields or b"chunked" in fields.get(b"transfer-encoding", b"").lower()
        )
        self._held = 0
        self.state = READING
        self._wake()

    def on_message_complete(self) -> None:
        self._raw.clear()  # trailers
        if self.state >= READING:  # no 1xx
            self.state = COMPLETE

    # within

    def _on_part(self, size: int, *, barren: bool) -> None:
        self._held += size
        self._limit(min(time.monotonic() + self._timeouts.between_chunks_s, self._deadline))
        if barren:
            # Chunk extensions and trailers are no body: a provider could send them for ever.
            self._barren += size
            if self._barren > MAX_HEAD:
                self._fail(UnreadableAnswer("the answer is no HTTP", written=True))
            return
        self._barren = 0
        if self._held > (self._whole or HELD):
            if not self._whole:
                self._pause_reading()
            self._wake()
        elif not self._whole:
            self._wake()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._read_paused:
            self._read_paused = True
            self._due = self._deadline  # the reader is slow, not the provider
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        self._read_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._limit(min(time.monotonic() + self._timeouts.between_chunks_s, self._deadline))
            self._transport.resume_reading()

    async def _write_large(self, head: bytes, body: bytes) -> None:
        """Slice by slice, as fast as the provider reads, and no further than to its answer."""
        rest = memoryview(body)
        transport = self._transport
        assert transport is not None
        transport.write(head)
        while rest and self.state == AWAITING and not transport.is_closing():
            if self._write_paused:
                await self.wait()
                continue
            transport.write(rest[:SLICE])
            rest = rest[SLICE:]
        self._torn = bool(rest)

    def _free(self) -> None:
        """Wait for the next request, if the last answer left everything in order. Else close."""
        self._parts.clear()
        patience = IDLE_S
        promised = self.headers.raw(b"keep-alive")
        if promised is not None and (match := _KEEP_ALIVE.search(promised)):
            patience = min(IDLE_S, int(match[1]) - _MARGIN_S)
        transport = self._transport
        if not self._keep or self._torn or transport is None or transport.is_closing() or patience <= 0:
            self.state = COMPLETE
            self.close()
            return
        if self._read_paused:
            self._resume_reading()
        self.state = IDLE
        self._since = time.monotonic()
        self._limit(self._since + patience)
        self._owner.freed(self)

    def _fail(self, error: UpstreamError) -> None:
        """End the exchange; what has come of the body can still be taken."""
        self.error = error
        self.state = CLOSED
        self._read_paused = False
        self.abort()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _limit(self, due: float) -> None:
        self._due = due
        if due < self._timer_at:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        delay = max(self._due - now, 0.001)
        if self.state != IDLE:
            delay = min(delay, LOOK_S)
        self._timer_at = now + delay
        self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        now = time.monotonic()
        state = self.state
        if state in (COMPLETE, CLOSED):
            return
        if now < self._due:
            self._set_timer()
        elif state == IDLE:
            self.close()
        elif state == EMPTYING:
            self.abort()
        else:
            phase: Phase = "total"
            if now < self._deadline:
                phase = "first_byte" if state == AWAITING else "between_chunks"
            self._fail(UpstreamError(f"it took too long ({phase})", written=True, timeout=phase))


def _readable(transport: asyncio.Transport) -> bool:
    """Whether the socket has bytes, or its end, that the event loop has not read."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
