"""What well-behaved clients of the HTTP server rely on."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.http import TEXT, serving

GET = b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving() as served:
        client = await served.connect()
        status, headers, body = await client.ask(POST)
        assert (status, body) == (200, b"POST /p hello")
        assert headers == {"content-type": "text/plain", "content-length": "13"}
        assert (await client.ask(GET % b"b"))[2] == b"GET /b "


async def test_requests_sent_together_are_answered_in_order() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(b"".join(GET % str(n).encode() for n in range(20)) + POST)
        answers = [(await client.answer())[2] for _ in range(21)]
        assert answers == [*(f"GET /{n} ".encode() for n in range(20)), b"POST /p hello"]


async def test_requests_behind_a_stream_wait_for_its_end() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(GET % b"stream" + GET % b"after")
        request = await served.stream()
        assert served.echo.seen == []
        request.start(200, TEXT)
        request.send(b"one")
        client.writer.write(GET % b"later")
        request.end(b"two")
        assert (await client.answer())[2] == b"onetwo"
        assert (await client.answer())[2] == b"GET /after "
        assert (await client.answer())[2] == b"GET /later "


async def test_a_body_may_come_in_chunks_with_trailers() -> None:
    chunked = b"POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n"
    async with serving() as served:
        client = await served.connect()
        trailers = b"x-sum: 1\r\nauthorization: Bearer y\r\n"
        data = chunked + b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n" + trailers + b"\r\n"
        client.writer.write(data + GET % b"stream")
        assert (await client.answer())[2] == b"POST /c abc0123456789"
        following = await served.stream()
        assert following.headers == {b"host": b"x"}, "a trailer is no header of the next request"
        following.answer(200, TEXT, b"x")
        assert (await client.answer())[2] == b"x"


async def test_whoever_waits_for_100_continue_gets_it_and_then_the_answer() -> None:
    head = b"POST /e HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
    async with serving() as served:
        client = await served.connect()
        assert await client.ask(head) == (100, {}, b"")
        assert (await client.ask(b"abc"))[2] == b"POST /e abc"


async def test_whoever_waits_for_100_continue_and_is_refused_may_not_go_on_on_this_connection() -> None:
    head = b"POST /refuse HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
    async with serving() as served:
        client = await served.connect()
        status, headers, _ = await client.ask(head)
        assert (status, headers["connection"]) == (401, "close")
        client.writer.write(GET % b"smuggled")  # it may be the body, or not
        assert await client.rest() == b""
        assert served.echo.seen == [("POST", "/refuse", None)]


@pytest.mark.parametrize("extra", [b"", b"connection: keep-alive\r\n"])
async def test_a_client_of_http_1_0_gets_no_chunks_and_a_close(extra: bytes) -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(b"GET /stream HTTP/1.0\r\n%b\r\n" % extra)
        request = await served.stream()
        request.start(200, TEXT)
        request.send(b"one,")
        request.end(b"two")
        status, headers, body = await client.answer()
        assert (status, body) == (200, b"one,two")
        assert headers == {"content-type": "text/plain", "connection": "close"}


async def test_connection_close_is_obeyed() -> None:
    async with serving() as served:
        client = await served.connect()
        data = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + GET % b"more"
        status, headers, _ = await client.ask(data)
        assert (status, headers["connection"]) == (200, "close")
        assert await client.rest() == b""
        assert len(served.echo.seen) == 1


async def test_an_answer_to_head_has_no_body() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(b"HEAD /h HTTP/1.1\r\nhost: x\r\n\r\n" + GET % b"b")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 8" in head
        assert (await client.answer())[2] == b"GET /b "


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a%20b?c=d", "/a b"),
        (b"http://host/p?q", "/p"),
        (b"http://host", "/"),
        (b"//x/y", "//x/y"),
        (b"/%C3%A9", "/é"),
        (b"/a%0d%0ab", "/a\r\nb"),
    ],
)
async def test_the_path_is_decoded_and_the_query_is_apart(target: bytes, path: str) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.ask(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
        assert served.echo.seen == [("GET", path, b"")]


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"content-length: 3", b"abc"),
        (b"transfer-encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
    ],
)
async def test_a_wish_for_another_protocol_is_passed_over(framing: bytes, body: bytes) -> None:
    upgrade = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\n"
    head = b"POST /u HTTP/1.1\r\nhost: x\r\n%b%b\r\n\r\n" % (upgrade, framing)
    plain = b"GET /w HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    async with serving() as served:
        client = await served.connect()
        client.writer.write(head + body[:2])
        await asyncio.sleep(0)
        client.writer.write(body[2:] + plain + POST)
        answers = [(await client.answer())[2] for _ in range(3)]
        assert answers == [b"POST /u abc", b"GET /w ", b"POST /p hello"]


async def test_a_short_body_that_nobody_reads_is_skipped() -> None:
    data = b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"
    async with serving() as served:
        client = await served.connect()
        status, headers, _ = await client.ask(data)
        assert (status, "connection" in headers) == (401, False)
        client.writer.write(b"x" * 1000)
        assert (await client.ask(GET % b"b"))[2] == b"GET /b "


async def test_a_long_body_that_nobody_reads_closes_the_connection_after_the_answer() -> None:
    data = b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 500_000
    async with serving() as served:
        client = await served.connect()
        status, headers, _ = await client.ask(data)
        assert (status, headers["connection"]) == (401, "close")
        client.writer.write(b"x" * 500_000)
        await client.writer.drain()
        assert await client.rest() == b""


async def test_a_header_sent_twice_is_named() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
        request = await served.stream()
        assert request.headers == {b"host": b"x", b"x-a": b"2"}
        assert request.repeated == (b"x-a",)


async def test_a_crash_is_a_500_and_a_log_line_and_the_server_lives(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as served:
        client = await served.connect()
        with caplog.at_level(logging.ERROR):
            status, headers, _ = await client.ask(GET % b"crash")
        assert (status, headers["connection"]) == (500, "close")
        assert "on purpose" in caplog.text
        assert await client.rest() == b""
        assert (await (await served.connect()).ask(GET % b"b"))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        (("x-a", "1\r\nset-cookie: y"),),
        (("x-a", "1\n"),),
        (("x-a", "1\x00"),),
        (("x-a\r\nset-cookie", "y"),),
        (("x-a: b", "y"),),
        (("X-A", "y"),),
        (("", "y"),),
        (("transfer-encoding", "chunked"),),
        (("connection", "close"),),
    ],
)
async def test_no_header_can_be_smuggled_into_an_answer(headers: tuple[tuple[str, str], ...]) -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(GET % b"stream")
        request = await served.stream()
        with pytest.raises(ValueError, match="header"):
            request.answer(200, headers, b"x")
        request.answer(200, (("x-model", "модель\té"),), b"x")
        assert (await client.answer())[1]["x-model"] == "??????\té"


async def test_an_answer_that_is_shorter_than_announced_shows_as_cut() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(GET % b"stream")
        request = await served.stream()
        request.start(200, (("content-length", "10"),))
        request.end(b"short")
        assert (await client.rest()).endswith(b"\r\n\r\nshort")


async def test_an_answer_can_t_be_longer_than_announced() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(GET % b"stream")
        request = await served.stream()
        request.start(200, (("content-length", "4"),))
        with pytest.raises(RuntimeError, match="longer"):
            request.end(b"too long")
