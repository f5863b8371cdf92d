"""One of each: what leaves or is killed comes back, and whoever waits is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from support.load import Load
from support.stack import Stack, chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

SHORT = chat("sandbox/stall-50ms")
MIB = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("one") / "home")
    await stack.start()
    yield stack
    await stack.close()
    assert stack.stop() == 0, stack.said()


@pytest_asyncio.fixture(loop_scope="module")
async def stack(running: Stack) -> Stack:
    """The module's stack, whole again after what the test before did to it."""
    await running.whole()
    return running


@pytest.mark.parametrize("service", ["ingress", "router", "provider-worker", "cost-accounting", "control"])
async def test_the_only_one_leaves_and_no_request_fails(stack: Stack, service: str) -> None:
    async with Load(stack, SHORT) as load:
        pid = stack.signal(service, signal.SIGTERM)
        await stack.replaced(service, pid)
        await load.more(20)
    assert not load.failures, load.failures[:3]


async def test_a_killed_workers_request_waits_for_its_successor(stack: Stack) -> None:
    async with stack.http() as client:
        request = asyncio.create_task(client.post("/v1/chat/completions", json=chat("sandbox/stall-2s")))
        await the_call(stack, "stall-2s")
        stack.signal("provider-worker", signal.SIGKILL)
        answer = await request
    assert (answer.status_code, answer.headers["x-keyrail-attempts"]) == (200, "2")


async def the_call(stack: Stack, model: str) -> dict[str, Any]:
    """The call of this model that the sandbox is answering."""
    async with asyncio.timeout(15):
        while True:
            for call in await stack.sandbox_calls():
                if (call["model"], call["state"]) == (model, "running"):
                    return call


async def test_when_ingress_is_killed_mid_stream_the_provider_is_left(stack: Stack) -> None:
    body = chat("sandbox/chunks-1000+slow-20ms", stream=True)
    async with stack.http() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        request_id = answer.headers["x-keyrail-request-id"]
        lines = answer.aiter_lines()
        for _ in range(20):
            await anext(lines)
        stack.signal("ingress", signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            async for _ in lines:
                pass
    (attempt,) = await stack.settled(request_id, within_s=30)
    assert attempt["status"] == "cancelled"
    assert attempt["output_tokens"] >= 5
    assert await state_of(stack, attempt["attempt_id"]) == "closed_by_client"


async def state_of(stack: Stack, attempt_id: str) -> str:
    """How the attempt's call ended, as the sandbox saw it; it may see it a moment later than the ledger."""
    async with asyncio.timeout(10):
        while True:
            calls = {call["client_request_id"]: call for call in await stack.sandbox_calls()}
            if calls[attempt_id]["state"] != "running":
                return calls[attempt_id]["state"]


async def test_a_request_that_its_client_left_before_it_was_taken_is_cancelled(stack: Stack) -> None:
    body = chat("sandbox/chunks-1000+slow-20ms", stream=True)
    pid = stack.signal("provider-worker", signal.SIGSTOP)
    try:
        async with stack.http() as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(
                    "/v1/chat/completions", json=body, timeout=0.7, headers={"x-keyrail-team": "early"}
                )
    finally:
        os.kill(pid, signal.SIGCONT)
    async with asyncio.timeout(15):
        while not (rows := [a for a in await stack.attempts() if a["team"] == "early"]):
            await asyncio.sleep(0.05)
    (attempt,) = await stack.settled(rows[0]["request_id"])
    assert attempt["status"] == "cancelled"
    assert attempt["duration_ms"] < 5000
    calls = {call["client_request_id"]: call for call in await stack.sandbox_calls()}
    if attempt["attempt_id"] in calls:
        assert await state_of(stack, attempt["attempt_id"]) == "closed_by_client"


async def test_a_client_that_does_not_read_is_left_and_costs_no_memory(stack: Stack) -> None:
    ingress = stack.pids("ingress")[0]
    before = resident(ingress)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", stack.port))
        await loop.sock_sendall(client, request_text(stack, chat("sandbox/chunks-1000000", stream=True)))
        most = 0
        async with asyncio.timeout(60):
            while not (attempts := [a for a in await stack.attempts() if a["model"] == "chunks-1000000"]):
                most = max(most, resident(ingress) - before)
            while (await stack.attempts(attempts[0]["request_id"]))[0]["status"] == "running":
                most = max(most, resident(ingress) - before)
        assert most < 40 * MIB, most
        assert not (await rest(client)).endswith(b"\r\n0\r\n\r\n"), "it must not look complete"
    (attempt,) = await stack.settled(attempts[0]["request_id"])
    assert attempt["status"] == "cancelled"
    assert 10_000 < attempt["output_tokens"] < 500_000


async def rest(client: socket.socket) -> bytes:
    """The last bytes that come on a connection."""
    last = b""
    while part := await asyncio.get_running_loop().sock_recv(client, MIB):
        last = (last + part)[-100:]
    return last


def resident(pid: int) -> int:
    """Bytes of memory that the process uses."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def request_text(stack: Stack, body: dict[str, Any]) -> bytes:
    payload = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: keyrail\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {stack.key}\r\ncontent-length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload
