"""Reading NATS' wire protocol, however the socket cuts it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from keyrail.bus.protocol import LONGEST_LINE, OnMessage, Reader, headers

Message = tuple[int, bytes, bytes, bytes, bytes]

MESSAGES = [
    (7, b"kr.v1.req", b"", b"hello", b""),
    (12, b"a.b", b"_INBOX.x.1", b"", b""),
    (3, b"a", b"", b"MSG\r\n", b"NATS/1.0 503\r\nKey: value\r\n\r\n"),
    (3, b"a", b"answer.to", b"\r\n", b"NATS/1.0 503\r\n\r\n"),
    (1, b"last", b"", b"\r\n\x00", b""),
]
CONTROLS = [b"INFO {}", b"PING", b"PONG"]


def wire(message: Message) -> bytes:
    sid, subject, reply, payload, block = message
    sizes = b"%d %d" % (len(block), len(block + payload)) if block else b"%d" % len(payload)
    fields = [b"HMSG" if block else b"MSG", subject, b"%d" % sid, *([reply] if reply else []), sizes]
    return b" ".join(fields) + b"\r\n" + block + payload + b"\r\n"


STREAM = b"".join(
    part
    for control, message in zip([*CONTROLS, b"+OK", b"+OK"], MESSAGES, strict=True)
    for part in (control + b"\r\n", wire(message))
)


def collect(into: list[Message]) -> OnMessage:
    return lambda sid, subject, reply, data, block: into.append((sid, subject, reply, data, block))


def read(parts: list[bytes]) -> tuple[list[Message], list[bytes]]:
    messages: list[Message] = []
    controls: list[bytes] = []
    reader = Reader(collect(messages), controls.append)
    for part in parts:
        reader.feed(part)
    return messages, controls


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_however_the_stream_is_cut_the_same_messages_come_out(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[a:b] for a, b in pairwise(edges)]
    assert read(parts) == (MESSAGES, [*CONTROLS, b"+OK", b"+OK"])


def test_every_byte_alone_is_read_too() -> None:
    assert read([STREAM[n : n + 1] for n in range(len(STREAM))]) == (MESSAGES, [*CONTROLS, b"+OK", b"+OK"])


@pytest.mark.parametrize(
    "bad", [b"MSG a x 5\r\n", b"MSG a\r\n", b"HMSG a 1 5\r\n", b"x" * (LONGEST_LINE + 1)]
)
def test_what_is_no_nats_is_an_error(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        read([bad])


def test_after_a_reset_half_a_message_is_forgotten() -> None:
    messages: list[Message] = []
    reader = Reader(collect(messages), print)
    reader.feed(b"MSG a 1 10\r\nhal")
    reader.reset()
    reader.feed(b"MSG b 2 1\r\nx\r\n")
    assert messages == [(2, b"b", b"", b"x", b"")]


def test_headers_carry_values_and_the_status_of_the_first_line() -> None:
    assert headers(b"") is None
    assert headers(b"NATS/1.0\r\nA: 1\r\nB:2\r\n\r\n") == {"A": "1", "B": "2"}
    assert headers(b"NATS/1.0 404 No Messages\r\n\r\n") == {"Status": "404", "Description": "No Messages"}
    assert headers(b"NATS/1.0 408 Request Timeout\r\nN: 5\r\n\r\n") == {
        "Status": "408",
        "Description": "Request Timeout",
        "N": "5",
    }
