"""One HTTP request, and its answer: what a handler gets to see of a connection. Callbacks, no tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from keyrail.http import answers

Headers = Iterable[tuple[str, str]]
GATHER = 64 << 10
"""A head and a body together up to here leave as one piece of memory; beyond, copying costs more."""


class Wire(Protocol):
    """The connection, as a request sees it."""

    transport: asyncio.Transport
    paused: bool

    @property
    def closing(self) -> bool:
        """Whether no request may follow."""
        ...

    @property
    def skippable(self) -> int:
        """Most bytes of an unread body that are worth skipping."""
        ...

    def wanted(self) -> None:
        """Somebody reads the body now."""
        ...

    def unwanted(self) -> None:
        """Nobody reads the body yet, and enough of it is here."""
        ...

    def answered(self, request: Request) -> None:
        """The answer is written."""
        ...


class Request:
    """`headers` are by lower-case name, the last one counts; `repeated` names those sent more than once.

    Answer with `answer`, or with `start`, `send` and `end`. What is written after the client left goes
    nowhere. `on_gone` is called once when the client leaves before the end of its answer, `on_writable` when
    `writable` turns true again.
    """

    __slots__ = (
        "_head",
        "_left",
        "_limit",
        "_parts",
        "_then",
        "_waits",
        "_wire",
        "chunked",
        "complete",
        "ended",
        "gone",
        "headers",
        "keep_alive",
        "length",
        "method",
        "modern",
        "on_gone",
        "on_writable",
        "path",
        "query",
        "repeated",
        "size",
        "started",
    )

    def __init__(
        self,
        wire: Wire,
        method: str,
        target: tuple[str, bytes],
        headers: dict[bytes, bytes],
        repeated: tuple[bytes, ...],
        *,
        length: int | None,
        modern: bool,
    ) -> None:
        self.method = method
        self.path, self.query = target
        self.headers = headers
        self.repeated = repeated
        self.length = length  # of the body; None: sent in chunks
        self.complete = length == 0
        self.size = 0  # bytes of the body so far
        self.modern = modern  # HTTP/1.1
        self.keep_alive = True
        self.started = self.ended = self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.chunked = False
        self._head = b""
        self._wire = wire
        self._waits = b"expect" in headers  # for a 100, before it sends its body
        self._parts: list[bytes] | None = []  # None: thrown away
        self._limit: int | None = None
        self._then: Callable[[bytes | None], None] | None = None
        self._left: int | None = None  # bytes of the answer still to come, where its head said how many

    def read(self, limit: int, then: Callable[[bytes | None], None]) -> None:
        """Call `then` with the whole body, or with None as soon as it is known to be longer than `limit`.

        That may be at once. It is not called when the client leaves, or does not send on.
        """
        if (self.length or 0) > limit or self.size > limit:
            self._parts = None
            then(None)
        elif self.complete:
            then(self._whole())
        else:
            self._limit, self._then = limit, then
            if self._waits and self.modern:
                self._waits = False
                self._wire.transport.write(answers.CONTINUE)
            self._wire.wanted()

    def answer(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """The whole answer, in one write; its `content-length` is added."""
        self.start(status, (*headers, ("content-length", str(len(body)))))
        self.end(body)

    def start(self, status: int, headers: Headers) -> None:
        """Begin to answer. The head leaves with the first bytes. Raises ValueError for impossible headers.

        Without a `content-length` the body is sent in chunks; with one it must be exactly as long.
        """
        if self.keep_alive and (not (self.complete or self._skippable()) or self._wire.closing):
            self.keep_alive = False
        bodiless = self.method == "HEAD" or status in (204, 304)
        chunk = self.modern and not bodiless
        self._head, length = answers.head(status, headers, close=not self.keep_alive, chunk=chunk)
        self.chunked = chunk and length is None
        self._left = None if bodiless else length
        self.started = True

    @property
    def writable(self) -> bool:
        """Whether the client has taken enough of what was sent for more to be written."""
        return not self._wire.paused

    def send(self, data: bytes) -> None:
        """Write a part of the body."""
        if not self.gone and data:
            self._write(data)

    def end(self, data: bytes = b"") -> None:
        """Write the last part of the body. One shorter than announced is cut."""
        if self.gone or self.ended:
            return
        self.ended = True
        self._write(data)
        self.on_gone = self.on_writable = None
        if self._left:
            self._wire.transport.close()
        else:
            self._wire.answered(self)

    def cut(self) -> None:
        """Close the connection in the middle of the answer, after what was written: so it shows as cut."""
        self.on_gone = self.on_writable = None
        self._wire.transport.close()

    def abort(self) -> None:
        """Break the connection off, dropping what its client has not read."""
        self._wire.transport.abort()

    def feed(self, data: bytes) -> None:
        """From the connection: a part of the body."""
        self.size += len(data)
        if self._parts is None or self.ended:
            return
        self._parts.append(data)
        if self._limit is None:
            if self.size > self._wire.skippable:
                self._wire.unwanted()
        elif self.size > self._limit:
            self._parts = None
            self._tell(None)

    def fed(self) -> None:
        """From the connection: the body is complete."""
        self.complete = True
        if self._then is not None:
            self._tell(self._whole())

    def lose(self) -> None:
        """From the connection: the client is gone, or can't be understood any more."""
        self.gone = True
        self._then = self.on_writable = None
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None and not self.ended:
            on_gone()

    def _tell(self, body: bytes | None) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(body)

    def _whole(self) -> bytes:
        parts, self._parts = self._parts or [], None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _skippable(self) -> bool:
        """Whether the rest of the body is short, and will come: then another request may follow it."""
        return self.length is not None and not self._waits and self.length - self.size <= self._wire.skippable

    def _write(self, data: bytes) -> None:
        if not self.started:
            raise RuntimeError("the answer has no head yet")
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise RuntimeError("the answer is longer than it said")
        head, self._head = self._head, b""
        if self.chunked:
            chunk = b"%b%x\r\n%b\r\n" % (head, len(data), data) if data else head
            self._wire.transport.write(chunk + b"0\r\n\r\n" if self.ended else chunk)
        elif self.method == "HEAD":
            self._wire.transport.write(head)
        elif len(data) > GATHER:
            self._wire.transport.writelines((head, data) if head else (data,))
        else:
            self._wire.transport.write(head + data)
