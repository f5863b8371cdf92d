"""Long answers, leaving clients, and the end of the server itself."""

from __future__ import annotations

import asyncio

import pytest
from support.http import CLOSE_S, TEXT, Served, serving

from keyrail.http import server as module
from keyrail.http.request import Request

STREAM = b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_each_part_of_a_stream_reaches_the_client_when_it_is_sent() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(STREAM)
        request = await served.stream()
        request.start(200, TEXT)
        request.send(b"one")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert await client.reader.readexactly(8) == b"3\r\none\r\n"
        request.send(b"")  # would be the end
        request.send(b"two")
        assert await client.reader.readexactly(8) == b"3\r\ntwo\r\n"
        request.end()
        assert await client.reader.readexactly(5) == b"0\r\n\r\n"
        assert (await client.ask(GET))[0] == 200


async def test_a_client_that_leaves_is_noticed_and_what_is_written_then_goes_nowhere() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(STREAM)
        request = await served.stream()
        gone = asyncio.Event()
        request.on_gone = gone.set
        request.start(200, TEXT)
        request.send(b"one")
        client.writer.close()
        await asyncio.wait_for(gone.wait(), CLOSE_S)
        assert request.gone
        request.send(b"two")
        request.end()


async def test_whoever_left_in_the_middle_of_a_body_is_forgotten() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
        client.writer.close()
        await client.writer.wait_closed()
        assert (await (await served.connect()).ask(GET))[0] == 200
        assert served.echo.seen == [("GET", "/a", b"")]


async def test_a_stream_stops_while_its_client_does_not_read_and_goes_on_when_it_does() -> None:
    async with serving() as served:
        client = await served.connect(limit=1024)
        transport = client.writer.transport
        transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue] it reads, too
        client.writer.write(STREAM)
        request = await served.stream()
        writable = asyncio.Event()
        request.on_writable = writable.set
        request.start(200, TEXT)
        sent = 0
        while request.writable:
            request.send(b"x" * 65_536)
            sent += 65_536
            await asyncio.sleep(0)
            assert sent < 256 << 20
        assert not writable.is_set()
        transport.resume_reading()  # pyright: ignore[reportAttributeAccessIssue]
        answer = asyncio.ensure_future(client.answer())
        await asyncio.wait_for(writable.wait(), CLOSE_S)
        assert request.writable
        request.end(b"end")
        _, _, body = await answer
        assert len(body) == sent + 3
        assert body.endswith(b"xend")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.3)
    monkeypatch.setattr(module, "ABORT_S", 0.3)


async def draining(served: Served) -> asyncio.Task[None]:
    stopping = asyncio.ensure_future(served.server.stop())
    await asyncio.sleep(0)
    assert served.server.draining
    return stopping


@pytest.mark.usefixtures("hurried")
async def test_a_drain_refuses_connections_answers_what_came_and_closes_what_is_idle() -> None:
    async with serving() as served:
        port = served.server.port
        fresh, used = await served.connect(), await served.connect()
        assert "connection" not in (await used.ask(GET))[1]
        stopping = await draining(served)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        status, headers, _ = await used.ask(GET)
        assert (status, headers["connection"]) == (200, "close")
        assert await used.rest() == b""
        assert await fresh.rest() == b""
        await asyncio.wait_for(stopping, CLOSE_S)


@pytest.mark.usefixtures("hurried")
async def test_a_drain_waits_for_a_stream_and_takes_one_more_request_after_it() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(STREAM)
        request = await served.stream()
        request.start(200, TEXT)
        request.send(b"one")
        stopping = await draining(served)
        await asyncio.sleep(0.5)
        assert not stopping.done()
        request.end(b"two")
        status, headers, body = await client.answer()
        assert (status, body, "connection" in headers) == (200, b"onetwo", False)
        status, headers, _ = await client.ask(GET)
        assert (status, headers["connection"]) == (200, "close")
        await asyncio.wait_for(stopping, CLOSE_S)


@pytest.mark.usefixtures("hurried")
async def test_a_drain_answers_all_that_was_sent_together_before_it_closes() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(STREAM + GET + GET)
        request = await served.stream()
        stopping = await draining(served)
        request.answer(200, TEXT, b"x")
        heads = [(await client.answer())[1] for _ in range(3)]
        assert ["connection" in head for head in heads] == [False, False, True]
        await asyncio.wait_for(stopping, CLOSE_S)


@pytest.mark.usefixtures("hurried")
async def test_a_drain_does_not_wait_for_whoever_does_not_read_its_answer() -> None:
    async with serving() as served:
        client = await served.connect(limit=1024)
        client.writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue] it reads, too
        client.writer.write(STREAM)
        request = await served.stream()
        stopping = await draining(served)
        request.answer(200, TEXT, b"x" * (32 << 20))
        await asyncio.wait_for(stopping, CLOSE_S)


class Recorded:
    """A transport that keeps each write apart."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)


class Wire:
    paused = closing = False
    skippable = 0

    def __init__(self) -> None:
        self.transport = Recorded()

    def answered(self, request: Request) -> None:
        pass


def written(stream: bool) -> list[bytes]:
    wire = Wire()
    request = Request(wire, "GET", ("/", b""), {}, (), length=0, modern=True)  # pyright: ignore[reportArgumentType]
    if stream:
        request.start(200, TEXT)
        request.send(b"one")
        request.end(b"two")
    else:
        request.answer(200, TEXT, b"whole")
    return wire.transport.writes


def test_a_whole_answer_is_one_write_and_a_head_leaves_with_the_first_bytes() -> None:
    (whole,) = written(stream=False)
    assert whole.endswith(b"content-length: 5\r\n\r\nwhole")
    first, last = written(stream=True)
    assert first.endswith(b"\r\n\r\n3\r\none\r\n")
    assert last == b"3\r\ntwo\r\n0\r\n\r\n"
