"""One HTTP/1.1 connection: bytes in, requests to the handler, in order.

The parser is llhttp in its strict mode: it refuses a content-length beside a transfer-encoding, either of
them twice, folded headers, lone line feeds, and sizes it can't read. A request that can't be understood is
refused in plain text and the connection closed. The time limits are looked at from outside, by `check`.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import Counter, deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NoReturn
from urllib.parse import unquote

import httptools

from keyrail.http import answers
from keyrail.http.limits import Limits
from keyrail.http.request import Request

log = logging.getLogger(__name__)

Handler = Callable[[Request], None]

_TLS_BUFFER = 64 << 10  # as without TLS, where uvloop would take eight times as much
_VERSIONS = frozenset({"1.0", "1.1"})


class Shared:
    """What the connections of a server have in common."""

    def __init__(self, handler: Handler, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.handler = handler
        self.limits = limits
        self.loop = loop
        self.draining = False
        self.connections: set[Connection] = set()
        self.shaking: weakref.WeakSet[Connection] | None = None  # hands, where there is TLS


class _Refused(Exception):
    """Raised through the parser: the connection knows why."""


class Connection(asyncio.Protocol):
    """Reading pauses while requests wait behind one that is not answered."""

    transport: asyncio.Transport

    def __init__(self, shared: Shared) -> None:
        self.paused = False  # the client does not take what is sent
        self._shared = shared
        self._limits = shared.limits
        self._handler = shared.handler
        self._clock = shared.loop.time
        self._parser: Any = None  # from when there is a connection: under TLS, some never come to be
        self._current: Request | None = None  # being answered
        self._queue: deque[Request] = deque()  # behind it
        self._incoming: Request | None = None  # whose body is being read
        self._url = b""
        self._pairs: list[tuple[bytes, bytes]] = []
        self._midway = False  # the last read ended inside a message
        self._unheard = 0  # bytes since the parser last made something of them
        self._upgrade = self._again = False
        self._deaf = False  # nothing that comes is looked at any more
        self._refusal = 0  # the status to close with, once all before is answered
        self._reading = True
        self._since = self._clock()  # when the connection fell idle, or head or body began to be late
        self._used = False
        self._lingers = False
        self._unsent = 0
        self._moved_at = self._since

    # From the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue] it is one for sockets
        self._parser = httptools.HttpRequestParser(self)
        self._shared.connections.add(self)
        if self._shared.shaking is not None:
            self._shared.shaking.discard(self)
            self.transport.set_write_buffer_limits(_TLS_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.connections.discard(self)
        self._deaf = True
        self._parser = None  # it holds this connection: no cycle is left for the garbage collector
        self._queue.clear()
        self._incoming = None
        current, self._current = self._current, None
        if current is not None:
            self._call(current, current.lose)

    def data_received(self, data: bytes) -> None:
        self._unheard += len(data)
        if self._deaf:
            if self._unheard > self._limits.linger:
                self.transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Refused):
                self._crashed(self._current, error.__context__)
        except httptools.HttpParserError:
            if not self._deaf:
                self._refuse(400)
        if self._incoming is not None or self._url:
            self._wait_for_more()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        current = self._current
        if current is not None and current.on_writable is not None:
            self._call(current, current.on_writable)

    # From the parser

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.url:
            self._stop(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name, value))

    def on_headers_complete(self) -> None:
        if self._again:
            self._pairs = []
            return
        if self._deaf:
            raise _Refused
        self._midway = False
        request = self._incoming = self._request()
        self._unheard = 0
        self._upgrade = not request.complete and self._parser.should_upgrade()
        if self._current is None and not self._queue:
            self._current = request
            self._handler(request)
        elif len(self._queue) < self._limits.pipelined:
            self._queue.append(request)
            self._pause()
        else:
            self._incoming = None
            self._stop(400)

    def on_body(self, body: bytes) -> None:
        self._unheard = 0
        request = self._incoming
        if request is not None:
            request.feed(body)

    def on_message_complete(self) -> None:
        if self._upgrade:
            return  # the body comes by another way
        self._url = b""
        if self._pairs:
            self._pairs = []  # trailers: what came after a body is no header, least of all the next request's
        self._midway = False
        request, self._incoming = self._incoming, None
        if request is None:
            return
        if not request.keep_alive:
            self._deaf = True
        if not request.complete:
            request.fed()
        if self._lingers:
            self.transport.close()  # all that it had to say has come

    # From the request

    @property
    def closing(self) -> bool:
        """Whether no request may follow."""
        return not self._queue and not self._refusal and (self._shared.draining or self._deaf)

    @property
    def skippable(self) -> int:
        """Most bytes of an unread body that are worth skipping."""
        return self._limits.unread

    def wanted(self) -> None:
        """Somebody reads the body now."""
        if not self._reading:
            self._resume()

    def unwanted(self) -> None:
        """Nobody reads the body yet, and enough of it is here."""
        self._pause()

    def answered(self, request: Request) -> None:
        """The answer is written: the next request, or an end."""
        self._current = None
        self._used = True
        self._since = self._clock()
        if not request.keep_alive:
            self._deaf = True
            self._queue.clear()
            if request.complete:
                self.transport.close()
            else:
                self._linger()
        elif self._queue:
            self._shared.loop.call_soon(self._next)
        elif self._refusal:
            self._say(self._refusal)

    # From the server

    def check(self, now: float) -> None:
        """Close what has taken too long."""
        limits = self._limits
        if self._stuck(now, limits.stall_s) or self.transport.is_closing():
            return
        since = now - self._since
        if self._lingers:
            if since > limits.linger_s:
                self.transport.close()
        elif self._incoming is not None:
            late = since > limits.body_s + self._incoming.size / limits.body_rate
            if late and self._reading:
                self._refuse(408)
        elif self._current is not None or self._queue:
            return
        elif self._midway:
            if since > limits.head_s:
                self._refuse(408)
        elif since > limits.idle_s:
            self.transport.close()

    def drain(self, now: float, began: float, idle_s: float, flush_s: float) -> None:
        """Close it when it has been idle for long enough, or since the drain `began`."""
        if self.transport.is_closing():
            self._stuck(now, flush_s)
            return
        busy = self._current or self._queue or self._incoming or self._midway or self._lingers
        since = self._since if self._used else max(self._since, began)
        if not busy and now - since > idle_s:
            self.transport.close()

    def _stuck(self, now: float, patience_s: float) -> bool:
        """Break off when the client has taken nothing for so long.

        Under TLS the last 64 KiB lie beyond what the transport counts: `idle_s` ends who does not take those.
        """
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._moved_at = unsent, now
        if now - self._moved_at <= patience_s:
            return False
        self.transport.abort()
        return True

    def _wait_for_more(self) -> None:
        """A read ended inside a message: from now on the rest is late."""
        if not self._midway:
            self._midway = True
            self._since = self._clock()
        if self._unheard > self._limits.head and not self._deaf:
            self._refuse(400 if self._incoming is not None else 431)

    def _request(self) -> Request:
        pairs, self._pairs = self._pairs, []
        headers = {name.lower(): value for name, value in pairs}
        repeated = () if len(headers) == len(pairs) else _repeated(pairs)
        parser = self._parser
        version = parser.get_http_version()
        modern = version == "1.1"
        method: bytes = parser.get_method()
        length = None if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
        if refusal := self._objection(version, method, pairs, headers, repeated):
            self._stop(refusal)
        try:
            target = _target(self._url)
        except (ValueError, httptools.HttpParserError):
            self._stop(400)
        request = Request(
            self, method.decode("ascii"), target, headers, repeated, length=length, modern=modern
        )
        request.keep_alive = modern and parser.should_keep_alive()
        return request

    def _objection(
        self,
        version: str,
        method: bytes,
        pairs: list[tuple[bytes, bytes]],
        headers: dict[bytes, bytes],
        repeated: tuple[bytes, ...],
    ) -> int:
        """The status to refuse a head with, 0 when nothing is wrong with it."""
        limits = self._limits
        if version not in _VERSIONS:
            return 505
        if len(pairs) > limits.headers:
            return 431
        # What came together is mostly short enough to need no counting.
        if self._unheard > limits.head and sum(len(n) + len(v) for n, v in pairs) > limits.head:
            return 431
        if (version == "1.1" and b"host" not in headers) or b"host" in repeated:
            return 400
        if method == b"CONNECT":
            return 501
        coding = headers.get(b"transfer-encoding", b"chunked")
        if coding.lower() != b"chunked" or (version != "1.1" and b"transfer-encoding" in headers):
            return 501
        if b"expect" in headers and headers[b"expect"].lower() != b"100-continue":
            return 417
        return 0

    def _read_on(self, rest: bytes) -> None:
        """Pass over the wish for another protocol, as HTTP allows: a new parser reads the body, if any."""
        request = self._incoming
        if self._upgrade and request is not None:
            self._upgrade = False
            chunked = request.length is None
            framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % request.length
            self._parser = httptools.HttpRequestParser(self)
            self._again = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
            self._again = False
        if rest:
            self.data_received(rest)

    def _next(self) -> None:
        if self._current is None and self._queue:
            request = self._current = self._queue.popleft()
            if not self._queue:
                self._resume()
            self._call(request, partial(self._handler, request))

    def _call(self, request: Request, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - the edge of the process, and the log gets it
            self._crashed(request, error)

    def _crashed(self, request: Request | None, error: BaseException | None) -> None:
        """The client gets an answer, the log the reason. What else came is not looked at."""
        log.error("a request crashed", exc_info=error)
        if request is None or request.started or request.gone:
            self.transport.abort()
        else:
            request.keep_alive = False
            request.answer(500, (("content-type", "text/plain"),), b"Internal Server Error\n")

    def _stop(self, status: int) -> NoReturn:
        """Refuse, and leave the parser."""
        self._refuse(status)
        raise _Refused

    def _refuse(self, status: int) -> None:
        """Look at nothing more; answer what came before, then this, and close."""
        self._deaf = True
        request, self._incoming = self._incoming, None
        if request is not None and not request.complete:
            if request.started:  # its client would take the refusal for a part of the answer
                self.transport.abort()
                return
            if request is self._current:
                self._current = None
                self._call(request, request.lose)
            else:
                self._queue.remove(request)
        if self._current is None and not self._queue:
            self._say(status)
        else:
            self._refusal = status

    def _say(self, status: int) -> None:
        self.transport.write(answers.plain(status))
        self._linger()

    def _linger(self) -> None:
        """Close when the client has, or soon: while it still sends it would see a reset, not its answer."""
        self._deaf = self._lingers = True
        self._since = self._clock()
        self._unheard = 0
        self._resume()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading:
            self._reading = True
            self._since = self._clock()
            self.transport.resume_reading()


def _repeated(pairs: list[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    counts = Counter(name.lower() for name, _ in pairs)
    return tuple(name for name, count in counts.items() if count > 1)


@lru_cache(maxsize=64)
def _target(url: bytes) -> tuple[str, bytes]:
    """Path and query of a request target; the path decoded."""
    if not url.startswith(b"/") and url != b"*":
        parsed = httptools.parse_url(url)
        url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
    raw, _, query = url.partition(b"?")
    path = raw.decode("ascii")
    return (unquote(path) if "%" in path else path), query
