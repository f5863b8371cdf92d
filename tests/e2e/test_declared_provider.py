"""A provider that `keyrail.yaml` declares, with a key of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

import httpx
import pytest
import pytest_asyncio
from support.stack import Stack, chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


async def serve_once(seen: list[bytes]) -> asyncio.Server:
    """A provider that remembers what it was sent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")
        )
        seen.append(head + await reader.readexactly(length))
        body = json.dumps(ANSWER).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


@dataclass
class Declared:
    """A stack, and what its two providers do: one notes what it is asked, one keeps its connection open."""

    stack: Stack
    seen: list[bytes] = field(default_factory=list[bytes])


async def keep_open(
    kept: set[asyncio.Task[None] | None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Say all there is to say, and wait for the other side to leave."""
    kept.add(asyncio.current_task())
    event = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    events = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode()
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%s\r\n" % (len(events), events))  # and no last chunk
    await reader.read()
    writer.close()
    await writer.wait_closed()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def declared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Declared]:
    seen: list[bytes] = []
    kept: set[asyncio.Task[None] | None] = set()
    servers = [await serve_once(seen), await asyncio.start_server(partial(keep_open, kept), "127.0.0.1", 0)]
    mine, late = (f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1" for server in servers)
    config = f'providers: {{my-vllm: {{base_url: "{mine}", needs_key: true}}, late: {{base_url: "{late}"}}}}'
    home = tmp_path_factory.mktemp("declared") / "home"
    stack = await Stack(home, config, environment={"MY_VLLM_API_KEY": "sk-declared-1"}).start()
    yield Declared(stack, seen)
    await stack.close()
    assert stack.stop() == 0, stack.said()
    for server in servers:
        server.close()
        await server.wait_closed()
    await asyncio.gather(*(task for task in kept if task is not None))


async def test_it_is_called_with_its_key_and_its_price_is_unknown(declared: Declared) -> None:
    stack = declared.stack
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat("my-vllm/qwen", "hello"))
    assert answer.json() == ANSWER
    assert "x-keyrail-cost-usd" not in answer.headers
    assert b"Bearer sk-declared-1" in declared.seen[0]
    assert b'"model":"qwen"' in declared.seen[0]
    (attempt,) = await stack.settled(answer.headers["x-keyrail-request-id"])
    assert (attempt["status"], attempt["cost_usd"], attempt["input_tokens"]) == ("ok", None, 3)
    table = stack.cli("costs", "--by", "provider").stdout
    assert any("my-vllm" in line and "unknown" in line for line in table.splitlines()), table
    assert "sk-declared-1" not in stack.said()


async def test_a_stream_ends_with_its_terminator_and_not_with_its_connection(declared: Declared) -> None:
    async with declared.stack.http() as client:
        quickest = min([await seconds(client) for _ in range(4)])
    assert quickest < 0.9, "the client does not wait for what the provider does with its connection"


async def seconds(client: httpx.AsyncClient) -> float:
    """How long a stream took to its end."""
    began = asyncio.get_running_loop().time()
    got = await client.post("/v1/chat/completions", json=chat("late/m", "hello", stream=True))
    assert got.text.endswith("data: [DONE]\n\n")
    return asyncio.get_running_loop().time() - began
