"""However the bytes are cut, and whatever they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.http import Echo

from keyrail.http.connection import Connection, Shared
from keyrail.http.limits import Limits


class Loop:
    """Turns when told to."""

    def __init__(self) -> None:
        self.ready: deque[Callable[[], None]] = deque()

    def time(self) -> float:
        return 0.0

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def turn(self) -> None:
        while self.ready:
            self.ready.popleft()()


class Transport:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = self.eof = False

    def write(self, data: bytes) -> None:
        assert not self.eof, "nothing may follow the end"
        self.written += b"" if self.closed else data

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def conversation(pieces: list[bytes]) -> tuple[bytes, list[Any], bool]:
    """What a client that sends these pieces gets, what was asked, and whether the connection is closed."""
    loop: Any = Loop()
    transport: Any = Transport()
    echo = Echo()
    connection = Connection(Shared(echo, Limits(), loop))
    connection.connection_made(transport)
    for piece in pieces:
        if not transport.closed:
            connection.data_received(piece)
            loop.turn()
    connection.connection_lost(None)
    return transport.written, echo.seen, transport.closed or transport.eof


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


UPGRADE = b"connection: upgrade\r\nupgrade: h2c\r\n"
body = st.binary(max_size=40)
path = st.sampled_from([b"/a", b"/a%20b?c", b"http://x/y"])
unread = st.just(b"/refuse")  # answered before its body has come: that may end the connection


def with_length(target: bytes, extra: bytes, content: bytes) -> bytes:
    head = b"POST %b HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n"
    return head % (target, extra, len(content)) + content


def in_chunks(target: bytes, extra: bytes, parts: list[bytes]) -> bytes:
    head = b"POST %b HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\n" % (target, extra)
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\nx: y\r\n\r\n"


extras = st.sampled_from([b"", b"x-a: b\r\n", UPGRADE])
chunks = st.lists(st.binary(min_size=1, max_size=20), max_size=4)
requests = st.builds(with_length, path, extras, body) | st.builds(in_chunks, path, extras, chunks)
refused = st.builds(with_length, unread, extras, body) | st.builds(in_chunks, unread, extras, chunks)
broken = st.sampled_from([b"", b"\x00", b"GET", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"])


@given(st.lists(requests, min_size=1, max_size=6), broken, st.lists(st.integers(0, 10_000), max_size=12))
def test_however_requests_are_cut_they_mean_the_same(
    sent: list[bytes], tail: bytes, places: list[int]
) -> None:
    data = b"".join(sent) + tail
    whole = conversation([data])
    assert len(whole[1]) == len(sent)
    assert conversation(cut(data, places)) == whole
    assert conversation([data[n : n + 1] for n in range(len(data))]) == whole


@given(
    st.lists(requests | refused, max_size=3),
    st.binary(max_size=200),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_no_garbage_kills_the_server(sent: list[bytes], garbage: bytes, places: list[int]) -> None:
    data = b"".join(sent) + garbage
    written, seen, _ = conversation(cut(data, places))
    assert b"HTTP/1.1 500" not in written
    assert bool(seen) >= bool(sent)


@given(
    requests | refused,
    st.integers(0, 10_000),
    st.integers(0, 255),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_one_wrong_byte_is_served_or_refused_and_never_a_crash(
    sent: bytes, place: int, byte: int, places: list[int]
) -> None:
    wrong = bytearray(sent)
    wrong[place % len(wrong)] = byte
    written, _, _ = conversation(cut(bytes(wrong), places))
    assert b"HTTP/1.1 500" not in written
