import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

import pytest

from bench.bodies import chat_body
from bench.client import Load
from bench.loadgen import run
from bench.mock import CHUNKS, EVENTS, STREAM_HEAD, Upstream


class Broken(asyncio.Protocol):
    """Answers every request with the same bytes, then closes if told so."""

    def __init__(self, answer: bytes, closes: bool) -> None:
        self._answer = answer
        self._closes = closes
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if self._asked.endswith(b"}"):
            self._asked = b""
            self._transport.write(self._answer)
            if self._closes:
                self._transport.close()


@asynccontextmanager
async def served(make: Callable[[], asyncio.Protocol]) -> AsyncGenerator[str]:
    """Serve for the time of the block; the block ends when all connections are closed on both sides."""
    ended: list[asyncio.Future[None]] = []

    def accept() -> asyncio.Protocol:
        protocol, end = make(), asyncio.get_running_loop().create_future()
        lost = protocol.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            lost(exc)
            end.set_result(None)

        protocol.connection_lost = connection_lost
        ended.append(end)
        return protocol

    async with await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions"
    await asyncio.gather(*ended)


def mock() -> AbstractAsyncContextManager[str]:
    return served(lambda: Upstream(asyncio.get_running_loop()))


def broken(answer: bytes, *, closes: bool = False) -> AbstractAsyncContextManager[str]:
    return served(lambda: Broken(answer, closes))


def load(url: str, *, stream: bool = False, paced: bool = False, **more: object) -> Load:
    body = chat_body("gpt-5.4-mini", stream=stream, paced=paced)
    return Load.model_validate({"url": url, "body": body, "stream": stream, **more})


def plain(status: str, body: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b\r\n%b" % (status.encode(), len(body), more, body)


async def test_a_closed_loop_sends_exactly_its_count() -> None:
    async with mock() as url:
        found = await run(load(url, connections=4, count=50))
    assert (found.sent, found.answered, found.errors) == (50, 50, {})
    assert found.latency_ms.samples == 50
    assert found.cpu_us > 0


async def test_a_closed_loop_ends_with_its_time_and_waits_for_what_is_under_way() -> None:
    async with mock() as url:
        found = await run(load(url, connections=3, seconds=0.1))
    assert found.answered == found.sent > 3
    assert found.errors == {}
    assert 0.05 < found.seconds < 2


async def test_every_stream_is_counted_event_by_event() -> None:
    async with mock() as url:
        found = await run(load(url, stream=True, connections=4, count=12, exact_events=EVENTS))
    assert (found.answered, found.events, found.errors) == (12, 12 * EVENTS, {})
    assert found.first_byte_ms.samples == 12


async def test_an_open_loop_sends_at_its_rate_whatever_the_answers_do() -> None:
    async with mock() as url:
        found = await run(load(url, connections=1, rate=200, count=20))
    assert (found.sent, found.answered, found.errors) == (20, 20, {})
    assert found.seconds >= 19 / 200


async def test_an_open_loop_opens_more_connections_when_all_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.mock.GAP_S", 0.005)
    async with mock() as url:
        found = await run(load(url, stream=True, paced=True, connections=1, rate=100, count=5))
    assert (found.answered, found.errors) == (5, {})
    assert found.seconds < 1.5  # one after the other these would take 2.5 s


async def test_what_had_to_wait_is_timed_from_when_it_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.mock.GAP_S", 0.002)
    monkeypatch.setattr("bench.loadgen.MAX_CONNECTIONS", 1)
    async with mock() as url:
        found = await run(load(url, stream=True, paced=True, connections=1, rate=100, count=3))
    assert (found.answered, found.errors) == (3, {})
    assert found.latency_ms.max is not None
    assert found.latency_ms.max > 500  # each takes 200 ms, one after the other
    assert found.first_byte_ms.max is not None
    assert found.first_byte_ms.max > 300


@pytest.mark.parametrize(
    ("answer", "stream", "problem"),
    [
        (plain("500 Oops", b'{"choices":[]}'), False, "status 500"),
        (plain("200 OK", b'{"error":"none"}'), False, "no choices"),
        (plain("200 OK", b""), False, "no choices"),
        (plain("200 OK", b"data: {}\n\n"), True, "stream without [DONE]"),
        (plain("200 OK", b""), True, "stream without [DONE]"),
        (plain("200 OK", b"data: [DONE]\n\n"), True, "stream of 0 events"),
        (STREAM_HEAD + b"".join(CHUNKS[1:]), True, f"stream of {EVENTS - 1} events"),
        (b"nonsense\r\n\r\n", False, "not HTTP: HttpParserError"),
    ],
)
async def test_a_wrong_answer_is_an_error(answer: bytes, stream: bool, problem: str) -> None:
    events = EVENTS if answer.startswith(STREAM_HEAD) else None
    async with broken(answer) as url:
        found = await run(load(url, stream=stream, count=1, exact_events=events))
    assert (found.sent, found.answered) == (1, 0)
    assert found.errors == {problem: 1}


async def test_a_connection_that_is_cut_in_the_answer_is_an_error_and_the_next_is_tried() -> None:
    async with broken(plain("200 OK", b"12345")[:-1], closes=True) as url:
        found = await run(load(url, count=3))
    assert (found.sent, found.answered, found.errors) == (3, 0, {"connection lost": 3})


async def test_a_server_that_closes_after_each_answer_is_served_over_new_connections() -> None:
    answer = plain("200 OK", b'{"choices":[]}', b"connection: close\r\n")
    async with broken(answer, closes=True) as url:
        found = await run(load(url, connections=2, count=6))
    assert (found.sent, found.answered, found.errors) == (6, 6, {})


async def test_an_answer_that_never_comes_is_an_error_after_the_grace() -> None:
    async with broken(b"") as url:
        found = await run(load(url, connections=2, seconds=0.02, grace_s=0.1))
    assert (found.sent, found.answered, found.errors) == (2, 0, {"no answer in time": 2})


@pytest.mark.parametrize("rate", [None, 50.0])
async def test_a_server_that_is_not_there_is_an_error_and_no_hang(rate: float | None) -> None:
    async with mock() as url:
        pass
    found = await asyncio.wait_for(run(load(url, connections=2, count=4, rate=rate)), 10)
    assert (found.sent, found.answered) == (0, 0)
    assert found.errors["connect: ConnectionRefusedError"] >= 2


async def test_the_mock_answers_only_chat() -> None:
    async with mock() as url:
        found = await run(load(url.replace("/chat/", "/other/"), count=2))
    assert found.errors == {"status 404": 2}
