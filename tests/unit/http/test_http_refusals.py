"""What the HTTP server does with clients that are broken, slow or hostile."""

from __future__ import annotations

import asyncio

import pytest
from support.http import CLOSE_S, MAX_BODY, TEXT, Client, serving

from keyrail.http.limits import Limits

HOST = b"host: x\r\n"
HEAD = b"POST /p HTTP/1.1\r\n" + HOST
NEXT = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
QUICK = Limits(head_s=0.1, body_s=0.1, idle_s=0.1, stall_s=0.3, linger_s=0.1, check_s=0.02)

AMBIGUOUS = {
    "two lengths": HEAD + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "two different lengths": HEAD + b"content-length: 0\r\ncontent-length: 36\r\n\r\n",
    "a list of lengths": HEAD + b"content-length: 3, 3\r\n\r\nabc",
    "length and chunks": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "a signed length": HEAD + b"content-length: +3\r\n\r\nabc",
    "a negative length": HEAD + b"content-length: -3\r\n\r\nabc",
    "a hexadecimal length": HEAD + b"content-length: 0x3\r\n\r\nabc",
    "a huge length": HEAD + b"content-length: 99999999999999999999\r\n\r\nabc",
    "an empty length": HEAD + b"content-length:\r\n\r\nabc",
    "chunks twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": HEAD + b"transfer-encoding: gzip\r\n\r\n0\r\n\r\n",
    "another coding before": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another coding after": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "almost chunked": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": HEAD + b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in 1.0": b"POST /p HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": HEAD + b"content-length : 3\r\n\r\nabc",
    "a folded header": HEAD + b"x: a\r\n content-length: 3\r\n\r\nabc",
    "a bare line feed": HEAD + b"x: a\ncontent-length: 3\r\n\r\nabc",
    "a bare carriage return": HEAD + b"x: a\rcontent-length: 3\r\n\r\nabc",
    "a null": HEAD + b"x: a\x00b\r\n\r\n",
    "a name with a space": HEAD + b"x y: a\r\n\r\n",
    "no name": HEAD + b": a\r\n\r\n",
    "two hosts": HEAD + b"host: y\r\n\r\n",
    "no host": b"POST /p HTTP/1.1\r\n\r\n",
    "no version": b"GET /p\r\n\r\n",
    "version 2.0": b"GET /p HTTP/2.0\r\nhost: x\r\n\r\n",
    "version 1.2": b"GET /p HTTP/1.2\r\nhost: x\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a space in the path": b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
    "a byte in the path": b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    "an unknown method": b"FETCH /p HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tunnel": b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "another expectation": HEAD + b"expect: a-miracle\r\ncontent-length: 3\r\n\r\nabc",
}


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_what_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(data: bytes) -> None:
    async with serving() as served:
        client = await served.connect()
        status, headers, _ = await client.ask(data + NEXT)
        assert 400 <= status < 600
        assert headers["connection"] == "close"
        assert await client.rest() == b""
        assert served.echo.seen == []


CHUNKS = {
    "a sign": b"-1\r\n",
    "a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "too large": b"f" * 17 + b"\r\nabc",
    "a space": b"3 \r\nabc\r\n0\r\n\r\n",
    "bare line feeds": b"3\nabc\n0\n\n",
    "more than it said": b"3\r\nabcd\r\n0\r\n\r\n",
    "less than it said": b"5\r\nabc\r\n0\r\n\r\n",
    "a length as trailer": b"3\r\nabc\r\n0\r\ncontent-length: 3\r\n\r\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS.keys())
async def test_a_bad_chunk_is_refused(chunks: bytes) -> None:
    async with serving() as served:
        client = await served.connect()
        status, _, _ = await client.ask(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks + NEXT)
        assert status == 400
        assert await client.rest() == b""
        assert served.echo.seen == []


async def test_garbage_behind_a_request_is_refused_after_the_answer_to_it() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n\x00\x00")
        request = await served.stream()
        request.answer(200, TEXT, b"x")
        assert (await client.answer())[::2] == (200, b"x")
        assert (await client.answer())[0] == 400
        assert await client.rest() == b""


TOO_MUCH = {
    "a long path": (414, b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"),
    "a long path without end": (414, b"GET /" + b"a" * 9_000),
    "a long header": (431, HEAD + b"x: " + b"a" * 70_000 + b"\r\n\r\n"),
    "a long header without end": (431, HEAD + b"x: " + b"a" * 70_000),
    "a long name without end": (431, HEAD + b"a" * 70_000),
    "much in all": (431, HEAD + b"".join(b"x%d: %b\r\n" % (n, b"a" * 1_000) for n in range(70)) + b"\r\n"),
    "many headers": (431, HEAD + b"".join(b"x%d: a\r\n" % n for n in range(130)) + b"\r\n"),
    "a long extension of a chunk": (
        400,
        HEAD + b"transfer-encoding: chunked\r\n\r\n3;" + b"a" * 400_000,
    ),
    "a long trailer": (
        400,
        HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: " + b"a" * 400_000,
    ),
}


@pytest.mark.parametrize(("status", "data"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
async def test_too_much_is_refused(status: int, data: bytes) -> None:
    async with serving() as served:
        client = await served.connect()
        assert (await client.ask(data))[0] == status
        assert await client.rest() == b""
        assert served.echo.seen == []


async def test_what_is_just_small_enough_is_served() -> None:
    headers = b"".join(b"x%d: %b\r\n" % (n, b"a" * 500) for n in range(120))
    async with serving() as served:
        client = await served.connect()
        assert (await client.ask(b"GET /" + b"a" * 8_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"))[0] == 200
        assert (await client.ask(HEAD + headers + b"content-length: 200000\r\n\r\n" + b"x" * 200_000))[
            0
        ] == 200


@pytest.mark.parametrize("framing", [b"content-length: 1048577", b"transfer-encoding: chunked"])
async def test_a_body_beyond_its_readers_bound_is_given_up_and_its_sender_hears_why(framing: bytes) -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(HEAD + framing + b"\r\n\r\n")
        if b"chunked" in framing:
            client.writer.write((b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 17)
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert served.echo.seen == [("POST", "/p", None)]
        client.writer.write(b"x" * (4 << 20))
        assert await client.rest() == b""
        assert MAX_BODY == 1048576


async def test_too_many_requests_at_once_are_not_kept() -> None:
    async with serving(Limits(pipelined=3)) as served:
        client = await served.connect()
        client.writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n" + NEXT * 10)
        request = await served.stream()
        request.answer(200, TEXT, b"x")
        statuses = [(await client.answer())[0] for _ in range(5)]
        assert statuses == [200, 200, 200, 200, 400]
        assert await client.rest() == b""


async def test_nothing_more_is_read_while_requests_wait() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n" + NEXT)
        request = await served.stream()
        client.writer.write(HEAD + b"content-length: %d\r\n\r\n" % (64 << 20))
        flood = asyncio.ensure_future(client.flood(64 << 20))
        done, _ = await asyncio.wait({flood}, timeout=0.3)
        assert not done, "the kernel's buffers hold the rest back"
        request.answer(200, TEXT, b"x")
        assert [(await client.answer())[0] for _ in range(3)] == [200, 200, 413]


SLOW = {
    "a head that never ends": (408, HEAD + b"x: 1\r\n"),
    "a body that never ends": (408, HEAD + b"content-length: 5\r\n\r\nab"),
    "chunks that never end": (408, HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"),
}


@pytest.mark.parametrize(("status", "data"), SLOW.values(), ids=SLOW.keys())
async def test_whoever_does_not_go_on_is_told_and_closed(status: int, data: bytes) -> None:
    async with serving(QUICK) as served:
        client = await served.connect()
        assert (await client.ask(data))[0] == status
        assert await client.rest() == b""


async def drip(client: Client, data: bytes) -> None:
    for byte in data:
        client.writer.write(bytes((byte,)))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nx: ", HEAD + b"content-length: 1000\r\n\r\n"])
async def test_a_byte_at_a_time_gains_nobody_time(start: bytes) -> None:
    async with serving(QUICK) as served:
        client = await served.connect()
        client.writer.write(start)
        dripping = asyncio.ensure_future(drip(client, b"x" * 500))
        try:
            assert (await client.answer())[0] == 408
        finally:
            dripping.cancel()


async def test_a_body_that_is_slow_but_comes_is_read_to_its_end() -> None:
    limits = Limits(body_s=0.1, body_rate=50, check_s=0.02)
    async with serving(limits) as served:
        client = await served.connect()
        client.writer.write(HEAD + b"content-length: 100\r\n\r\n")
        for _ in range(10):
            client.writer.write(b"x" * 10)
            await asyncio.sleep(0.03)
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("data", [b"", b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"])
async def test_an_idle_connection_is_closed_without_a_word(data: bytes) -> None:
    async with serving(QUICK) as served:
        client = await served.connect()
        if data:
            assert (await client.ask(data))[0] == 200
        assert await client.rest() == b""


async def test_a_request_under_way_is_not_idle() -> None:
    async with serving(QUICK) as served:
        client = await served.connect()
        client.writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        request = await served.stream()
        await asyncio.sleep(0.4)
        request.answer(200, TEXT, b"x")
        assert (await client.answer())[0] == 200


async def test_a_client_that_takes_nothing_is_broken_off() -> None:
    async with serving(QUICK) as served:
        client = await served.connect(limit=1)
        client.writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue] it reads, too
        client.writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        request = await served.stream()
        gone = asyncio.Event()
        request.on_gone = gone.set
        request.start(200, TEXT)
        request.send(b"x" * (32 << 20))
        assert not request.writable
        await asyncio.wait_for(gone.wait(), CLOSE_S)


async def test_requests_that_come_behind_one_another_are_left_unread_until_their_turn() -> None:
    async with serving(Limits(pipelined=3)) as served:
        client = await served.connect()
        client.writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        request = await served.stream()
        for _ in range(10):
            client.writer.write(NEXT)
            await asyncio.sleep(0.005)
        request.answer(200, TEXT, b"x")
        assert [(await client.answer())[0] for _ in range(11)] == [200] * 11


async def test_whoever_is_refused_while_still_sending_hears_why() -> None:
    async with serving() as served:
        client = await served.connect()
        transport = client.writer.transport
        transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue] it reads, too
        client.writer.write(HEAD + b"content-length: x\r\n\r\n")
        await client.flood(4 << 20)
        transport.resume_reading()  # pyright: ignore[reportAttributeAccessIssue]
        assert (await client.answer())[0] == 400
