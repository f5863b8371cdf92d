"""Applications do not notice that ingress is restarted."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable

import httpx
from support.stack import Stack, chat


async def test_while_ingress_is_restarted_no_new_connection_is_refused_and_no_key(
    make_stack: Callable[..., Stack],
) -> None:
    stack = await make_stack().start()
    seen: Counter[int] = Counter()
    restarted = asyncio.Event()
    headers = {"authorization": f"Bearer {stack.key}"}
    fresh = httpx.Limits(max_keepalive_connections=0)

    async def ask(client: httpx.AsyncClient) -> None:
        while not restarted.is_set():
            answer = await client.post("/v1/chat/completions", json=chat("sandbox/echo"))
            seen[answer.status_code] += 1

    async with (
        httpx.AsyncClient(base_url=stack.url, headers=headers, limits=fresh, timeout=30) as client,
        asyncio.TaskGroup() as askers,
    ):
        for _ in range(4):
            askers.create_task(ask(client))
        await stack.replaced("ingress", stack.signal("ingress", signal.SIGTERM))
        restarted.set()
    assert set(seen) == {200}, seen
    assert seen[200] >= 8
