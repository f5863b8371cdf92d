"""What the client of the providers reads, however it is framed, cut and broken off."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Coroutine
from typing import Any

import pytest
from support.provider import OK, STREAM, Caller, Start, Talk, answers, once

from keyrail.http.upstream import UnreadableAnswer, UpstreamError


@pytest.mark.parametrize(
    "parts",
    [
        (OK,),
        tuple(OK[n : n + 1] for n in range(len(OK))),
        (STREAM, b"1\r\no\r\n", b"1;x=y\r\nk\r\n", b"0\r\n\r\n"),
        (STREAM + b"2\r\nok\r\n0\r\nx-trailer: 1\r\n", b"x-more: 2\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\ncontent-length: 7\r\n\r\n" + OK),
    ],
    ids=["length", "byte by byte", "chunks", "trailers", "1xx before it"],
)
async def test_an_answer_is_read_whole_and_its_connection_used_again(
    start: Start, caller: Caller, parts: tuple[bytes, ...]
) -> None:
    provider = await start(answers(*parts))
    for _ in range(3):
        response = await caller.post(provider.endpoint())
        assert response.status == 200
        assert await response.read() == b"ok"
        assert "x-trailer" not in response.headers
        response.leave()
    assert len(provider.talks) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
    ],
    ids=["to the end", "strange coding", "1.0", "close"],
)
async def test_what_ends_with_its_connection_is_read_and_not_used_again(
    start: Start, caller: Caller, answer: bytes
) -> None:
    provider = await start(once(answer))
    for _ in range(2):
        assert await caller.whole(provider.endpoint()) == b"ok"
    assert len(provider.talks) == 2


async def test_a_request_says_what_it_must_and_nothing_else(start: Start, caller: Caller) -> None:
    provider = await start(answers(OK))
    endpoint = provider.endpoint(path="/a b/ü?x=1&y=%20")
    await caller.whole(endpoint, body=b'{"a":1}', headers={"Authorization": "Bearer k"})
    ((head, body),) = provider.talks[0].requests
    assert head == (
        b"POST /a%%20b/%%C3%%BC?x=1&y=%%20 HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nx-fixed: 1\r\n"
        b"Authorization: Bearer k\r\ncontent-length: 7\r\n\r\n" % provider.port
    )
    assert body == b'{"a":1}'


async def test_headers_are_found_in_any_case_and_the_first_of_several_counts(
    start: Start, caller: Caller
) -> None:
    provider = await start(answers(OK[:-6] + b"\r\nX-Id: a\xe9\r\nx-id: b\r\nX-Id: c\r\n\r\nok"))
    response = await caller.post(provider.endpoint())
    assert (response.headers["x-id"], response.headers.get("X-ID")) == ("aé", "aé")
    assert response.headers.get("nothing") is None
    assert set(response.headers) == {"content-length", "x-id"}
    response.leave()


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_has_none(start: Start, caller: Caller, status: int) -> None:
    provider = await start(answers(b"HTTP/1.1 %d x\r\ncontent-type: x\r\n\r\n" % status))
    for _ in range(2):
        assert await caller.whole(provider.endpoint()) == b""
    assert len(provider.talks) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nxxx",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
        STREAM + b"zz\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 20_000 + b"\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %01000d\r\n" % (n, n) for n in range(80)) + OK[17:],
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
        STREAM + b"2\r\nok\r\n0\r\nx: " + b"a" * 2_000_000,
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b",
    ],
    ids=[
        "no http", "no header", "upgrade", "two lengths", "two framings", "no chunk", "large field",
        "large head", "endless field", "endless 1xx", "endless trailer", "compressed",
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_refused(start: Start, caller: Caller, answer: bytes) -> None:
    provider = await start(answers(answer))
    with pytest.raises(UnreadableAnswer) as refused:
        await caller.whole(provider.endpoint())
    assert refused.value.written
    await asyncio.wait_for(provider.talks[0].over.wait(), 5)  # the connection is closed


async def test_an_encoding_that_changes_nothing_is_read(start: Start, caller: Caller) -> None:
    provider = await start(answers(b"HTTP/1.1 200 OK\r\ncontent-encoding: Identity" + OK[15:]))
    assert await caller.whole(provider.endpoint()) == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        STREAM + b"2\r\nok\r\n",
        STREAM + b"9\r\nok",
        STREAM + b"2\r\nok\r\n0\r\n",
    ],
    ids=["length", "between chunks", "within a chunk", "before the last line"],
)
async def test_a_body_that_breaks_off_is_an_error_after_all_that_came(
    start: Start, caller: Caller, answer: bytes
) -> None:
    provider = await start(once(answer))
    response = await caller.post(provider.endpoint())
    assert await response.chunk() == b"ok"
    with pytest.raises(UpstreamError) as broken:
        await response.chunk()
    response.leave()
    assert (broken.value.written, broken.value.timeout) == (True, None)
    with pytest.raises(UpstreamError):
        await caller.whole(provider.endpoint())


async def test_a_reset_is_no_end_of_a_body(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\nok")
        await caller_has_read.wait()
        talk.writer.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: reset
        talk.writer.transport.abort()

    caller_has_read = asyncio.Event()
    provider = await start(script)
    response = await caller.post(provider.endpoint())
    assert await response.chunk() == b"ok"
    caller_has_read.set()
    with pytest.raises(UpstreamError):
        await response.chunk()
    response.leave()


async def test_a_body_larger_than_the_limit_is_refused(start: Start, caller: Caller) -> None:
    provider = await start(answers(STREAM + b"8\r\n12345678\r\n" * 10 + b"0\r\n\r\n"))
    response = await caller.post(provider.endpoint())
    with pytest.raises(UnreadableAnswer, match="larger than 79 bytes"):
        await response.read(79)
    response.leave()
    response = await caller.post(provider.endpoint())
    assert len(await response.read(80)) == 80
    response.leave()


async def test_chunks_come_as_they_arrive(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(STREAM)
        for word in (b"one", b"two"):
            await go_on.acquire()
            await talk.say(b"3\r\n%b\r\n" % word)
        await go_on.acquire()
        await talk.say(b"0\r\n\r\n")
        await talk.left()

    go_on = asyncio.Semaphore(0)
    provider = await start(script)
    response = await caller.post(provider.endpoint())
    for expected in (b"one", b"two", b""):
        assert await ready(response.chunk()) is False
        go_on.release()
        assert await asyncio.wait_for(response.chunk(), 5) == expected
    response.leave()


async def ready(work: Coroutine[Any, Any, bytes]) -> bool:
    """Whether something is there at once."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return not task.cancelled()


async def test_a_reader_that_does_not_read_holds_the_provider_up(start: Start, caller: Caller) -> None:
    size, sent, stuck = 64 << 20, 0, asyncio.Event()

    async def script(talk: Talk) -> None:
        nonlocal sent
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            talk.writer.write(bytes(1 << 16))
            sent += 1 << 16
            try:
                await asyncio.wait_for(talk.writer.drain(), 0.3)
            except TimeoutError:
                stuck.set()
                await talk.writer.drain()

    provider = await start(script)
    tracemalloc.start()
    response = await caller.post(provider.endpoint(), between_chunks_s=0.1)
    await asyncio.wait_for(stuck.wait(), 20)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent < size // 2
    assert held < 4 << 20
    read = 0
    while part := await response.chunk():  # that it took longer than between_chunks was the reader's doing
        read += len(part)
    assert read == size
    response.leave()


async def test_a_large_request_is_written_as_fast_as_it_is_read(start: Start, caller: Caller) -> None:
    provider = await start(answers(OK))
    body = bytes(range(256)) * (20 << 12)
    for _ in range(2):
        assert await caller.whole(provider.endpoint(), body=body) == b"ok"
    (talk,) = provider.talks
    assert [sent for _, sent in talk.requests] == [body, body]


async def test_an_early_refusal_of_a_large_request_is_read(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        reader = talk.reader
        await reader.readexactly(100_000)
        await talk.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await over.wait()

    over = asyncio.Event()
    provider = await start(script)
    for _ in range(2):
        response = await asyncio.wait_for(caller.post(provider.endpoint(), body=bytes(64 << 20)), 10)
        assert (response.status, await response.read()) == (413, b"no")
        response.leave()
    assert len(provider.talks) == 2, "a connection with half a request on it takes no other"
    over.set()
