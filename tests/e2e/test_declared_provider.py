"""A provider that `keyrail.yaml` declares, with a key of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
from support.stack import Stack, chat

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


async def test_it_is_called_with_its_key_and_its_price_is_unknown(make_stack: Callable[..., Stack]) -> None:
    seen: list[bytes] = []
    server = await serve_once(seen)
    port = server.sockets[0].getsockname()[1]
    stack = make_stack(
        f'providers: {{my-vllm: {{base_url: "http://127.0.0.1:{port}/v1", needs_key: true}}}}',
        environment={"MY_VLLM_API_KEY": "sk-declared-1"},
    )
    await stack.start()
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat("my-vllm/qwen", "hello"))
    assert answer.json() == ANSWER
    assert "x-keyrail-cost-usd" not in answer.headers
    assert b"Bearer sk-declared-1" in seen[0]
    assert b'"model":"qwen"' in seen[0]
    (attempt,) = await stack.settled(answer.headers["x-keyrail-request-id"])
    assert (attempt["status"], attempt["cost_usd"], attempt["input_tokens"]) == ("ok", None, 3)
    table = stack.cli("costs", "--by", "provider").stdout
    assert any("my-vllm" in line and "unknown" in line for line in table.splitlines()), table
    assert "sk-declared-1" not in stack.said()
    server.close()
    await server.wait_closed()


async def test_a_stream_ends_with_its_terminator_and_not_with_its_connection(
    make_stack: Callable[..., Stack],
) -> None:
    leave = asyncio.Event()
    event = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    events = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        writer.write(b"%x\r\n%s\r\n" % (len(events), events))  # and no last chunk
        await leave.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stack = await make_stack(f'providers: {{late: {{base_url: "http://127.0.0.1:{port}/v1"}}}}').start()
    async with stack.http() as client:
        quickest = min([await seconds(client) for _ in range(4)])
    assert quickest < 0.9, "the client does not wait for what the provider does with its connection"
    leave.set()
    server.close()
    await server.wait_closed()


async def seconds(client: httpx.AsyncClient) -> float:
    """How long a stream took to its end."""
    began = asyncio.get_running_loop().time()
    got = await client.post("/v1/chat/completions", json=chat("late/m", "hello", stream=True))
    assert got.text.endswith("data: [DONE]\n\n")
    return asyncio.get_running_loop().time() - began
