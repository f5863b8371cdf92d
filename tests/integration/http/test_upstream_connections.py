"""Which connection a request takes, when one is given back, and when it is closed."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from support.provider import OK, STREAM, Caller, Provider, Start, Talk, answers, once

from keyrail.http.upstream import (
    Endpoint,
    NotWritten,
    StaleConnection,
    Upstream,
    UpstreamError,
    UpstreamResponse,
    connection,
)


async def first(caller: Caller, provider: Provider) -> UpstreamResponse:
    """An answer of which something has come."""
    response = await caller.post(provider.endpoint())
    assert await response.chunk() != b""
    return response


async def test_requests_at_one_time_have_a_connection_each_and_the_last_one_is_used_next(
    start: Start, caller: Caller
) -> None:
    provider = await start(answers(OK))
    responses = [await caller.post(provider.endpoint()) for _ in range(3)]
    assert len(provider.talks) == 3
    for response in responses:
        await response.read()
        response.leave()
    for _ in range(4):
        await caller.whole(provider.endpoint())
    assert [len(talk.requests) for talk in provider.talks] == [1, 1, 5]


async def test_every_origin_has_connections_of_its_own(start: Start, caller: Caller) -> None:
    one, other = await start(answers(OK)), await start(answers(OK))
    for provider in (one, other, one):
        await caller.whole(provider.endpoint())
    assert (len(one.talks), len(other.talks)) == (1, 1)


async def test_a_connection_that_the_provider_closed_while_idle_is_not_used(
    start: Start, caller: Caller
) -> None:
    provider = await start(once(OK))
    for number in range(3):
        assert await caller.whole(provider.endpoint()) == b"ok"
        await asyncio.wait_for(provider.talks[number].over.wait(), 5)
        await gone(caller.upstream)
    assert len(provider.talks) == 3


async def gone(upstream: Upstream) -> None:
    """Wait until the client knows of no connection."""
    async with asyncio.timeout(5):
        while upstream.connections:
            await asyncio.sleep(0.001)


async def test_bytes_that_nobody_asked_for_end_an_idle_connection(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(OK)
        await leave.wait()
        await talk.say(b"HTTP/1.1 408 Timeout\r\ncontent-length: 0\r\n\r\n")
        await talk.left()

    leave = asyncio.Event()
    provider = await start(script)
    assert await caller.whole(provider.endpoint()) == b"ok"
    leave.set()
    await asyncio.wait_for(provider.talks[0].over.wait(), 5)
    await gone(caller.upstream)
    assert await caller.whole(provider.endpoint()) == b"ok"


@pytest.mark.parametrize(
    "more", [OK, b"x", b"HTTP/1.1 200 OK\r\n"], ids=["an answer", "garbage", "half of one"]
)
async def test_what_comes_behind_an_answer_is_not_taken_for_the_next_one(
    start: Start, caller: Caller, more: bytes
) -> None:
    provider = await start(answers(OK[:-2] + b"me" + more))
    for _ in range(2):
        assert await caller.whole(provider.endpoint()) == b"me"
    assert [len(talk.requests) for talk in provider.talks] == [1, 1]


async def test_a_close_that_the_loop_has_not_seen_yet_is_seen(
    start: Start, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pause of the process: the provider's close waits in the system."""
    monkeypatch.setattr(connection, "QUIET_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        loop = asyncio.get_running_loop()
        endpoint = Endpoint(f"http://127.0.0.1:{server.getsockname()[1]}/", {})
        for _ in range(2):
            asked = asyncio.create_task(caller.whole(endpoint))
            peer, _ = await loop.sock_accept(server)
            with peer:
                await loop.sock_recv(peer, 1000)
                await loop.sock_sendall(peer, OK)
                assert await asked == b"ok"
            # Closed by now, and the loop has not run since.
            assert caller.upstream.connections == 1


async def test_a_connection_that_closes_under_a_request_says_so_and_nothing_is_sent_twice(
    start: Start, caller: Caller
) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(OK)
        await talk.request()

    provider = await start(script)
    assert await caller.whole(provider.endpoint()) == b"ok"
    with pytest.raises(StaleConnection) as stale:
        await caller.whole(provider.endpoint())
    assert stale.value.written
    assert [len(talk.requests) for talk in provider.talks] == [2]


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2"])
async def test_a_new_connection_that_closes_is_not_stale(start: Start, caller: Caller, said: bytes) -> None:
    provider = await start(once(said))
    with pytest.raises(UpstreamError) as broken:
        await caller.whole(provider.endpoint())
    assert type(broken.value) is UpstreamError
    assert broken.value.written


async def test_a_providers_own_limit_of_idling_is_kept(start: Start, caller: Caller) -> None:
    short = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: max=5, timeout=1\r\n\r\n")
    provider = await start(answers(short))
    for _ in range(2):
        assert await caller.whole(provider.endpoint()) == b"ok"
    assert len(provider.talks) == 2


async def test_an_idle_connection_is_closed_in_time(
    start: Start, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.05)
    provider = await start(answers(OK))
    await caller.whole(provider.endpoint())
    await asyncio.wait_for(provider.talks[0].over.wait(), 5)
    await gone(caller.upstream)


async def test_leaving_early_closes_the_connection_at_once(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(STREAM, b"2\r\nok\r\n")
        await talk.left()

    provider = await start(script)
    response = await first(caller, provider)
    response.leave()
    await asyncio.wait_for(provider.talks[0].over.wait(), 5)
    await gone(caller.upstream)


async def test_the_rest_of_a_complete_answer_is_read_away(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        for _ in range(2):
            await talk.request()
            await talk.say(STREAM, b"2\r\nok\r\n")
            await go_on.acquire()
            await talk.say(b"4\r\nmore\r\n0\r\n\r\n")
        await talk.left()

    go_on = asyncio.Semaphore(0)
    provider = await start(script)
    for _ in range(2):
        response = await first(caller, provider)
        response.complete = True
        response.leave()
        go_on.release()
        async with asyncio.timeout(5):
            while not caller.upstream.idle:
                await asyncio.sleep(0.001)
    assert len(provider.talks) == 1


async def test_a_complete_answer_that_goes_on_is_left_after_a_second(
    start: Start, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "EMPTY_S", 0.05)

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(STREAM)
        while True:
            await talk.say(b"2\r\nok\r\n")
            await asyncio.sleep(0.01)

    provider = await start(script)
    response = await first(caller, provider)
    response.complete = True
    response.leave()
    await asyncio.wait_for(provider.talks[0].over.wait(), 5)


async def test_a_cancelled_request_closes_its_connection(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        asked.set()
        await talk.left()

    asked = asyncio.Event()
    provider = await start(script)
    call = asyncio.create_task(caller.whole(provider.endpoint()))
    await asyncio.wait_for(asked.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(provider.talks[0].over.wait(), 5)
    await gone(caller.upstream)


async def test_closing_the_client_closes_everything(start: Start, caller: Caller) -> None:
    provider, slow = await start(answers(OK)), await start(answers(STREAM, b"2\r\nok\r\n"))
    assert await caller.whole(provider.endpoint()) == b"ok"
    busy = [await first(caller, slow) for _ in range(2)]
    reading = asyncio.create_task(busy[1].chunk())
    await asyncio.sleep(0)
    assert (caller.upstream.connections, caller.upstream.idle) == (3, 1)
    await caller.upstream.close()
    assert caller.upstream.connections == 0
    for response in busy:
        with pytest.raises(UpstreamError):
            await (reading if response is busy[1] else response.chunk())
        response.leave()
    with pytest.raises(UpstreamError) as closed:
        await caller.post(provider.endpoint())
    assert not closed.value.written


@pytest.mark.parametrize(
    ("said", "phase", "limits"),
    [
        (b"", "first_byte", {"first_byte_s": 0.05}),
        (b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\n", "first_byte", {"first_byte_s": 0.05}),
        (STREAM + b"2\r\nok\r\n", "between_chunks", {"between_chunks_s": 0.05}),
        (b"", "total", {"total_s": 0.3}),
        (STREAM + b"2\r\nok\r\n", "total", {"total_s": 0.3}),
    ],
)
async def test_whoever_is_too_slow_is_left(
    start: Start, caller: Caller, said: bytes, phase: str, limits: dict[str, float]
) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(said)
        await talk.left()

    provider = await start(script)
    began = time.monotonic()
    with pytest.raises(UpstreamError) as slow:
        await caller.whole(provider.endpoint(), **limits)
    assert 0.04 < time.monotonic() - began < 4
    assert (slow.value.timeout, slow.value.written) == (phase, True)
    await asyncio.wait_for(provider.talks[0].over.wait(), 5)


async def test_a_slow_answer_that_keeps_coming_is_read(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(STREAM)
        for _ in range(10):
            await asyncio.sleep(0.03)
            await talk.say(b"2\r\nok\r\n")
        await talk.say(b"0\r\n\r\n")
        await talk.left()

    provider = await start(script)
    assert await caller.whole(provider.endpoint(), between_chunks_s=0.15) == b"ok" * 10


async def test_limits_hold_on_a_connection_that_was_used_before(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(OK)
        await talk.request()
        await talk.left()

    provider = await start(script)
    await caller.whole(provider.endpoint())
    with pytest.raises(UpstreamError) as slow:
        await asyncio.wait_for(caller.whole(provider.endpoint(), first_byte_s=0.05), 3)
    assert slow.value.timeout == "first_byte"


async def test_a_request_that_may_not_be_written_is_not(start: Start, caller: Caller) -> None:
    provider = await start(answers(OK))
    await caller.whole(provider.endpoint())
    caller.may_write = lambda: False
    with pytest.raises(NotWritten):
        await caller.post(provider.endpoint())
    assert len(provider.talks[0].requests) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "a\rb"), ("x", "a\0b"), ("x", "ä"), ("x\r\ny", "a"),
        ("x:", "a"), ("", "a"), ("x y", "a"), ("Content-Length", "9"), ("transfer-encoding", "chunked"),
        ("host", "b"),
    ],
)  # fmt: skip
async def test_a_header_cannot_bring_another_one_in(
    start: Start, caller: Caller, name: str, value: str
) -> None:
    provider = await start(answers(OK))
    with pytest.raises(UpstreamError) as refused:
        await caller.post(provider.endpoint(), headers={name: value})
    assert not refused.value.written
    assert str(refused.value) == "a header cannot be sent"
    with pytest.raises(UpstreamError):
        Endpoint("http://127.0.0.1/", {name: value})
    assert provider.talks == []
