"""What was spent outlives the processes that counted it, all of them killed at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from support.stack import Stack, chat

pytestmark = pytest.mark.timeout(180)

PRICE = Decimal("0.0001")
CONFIG = """
providers:
  dear:
    base_url: "{url}"
    needs_key: false
    prices: {{"*": {{input: 0, output: 1}}}}
"""


async def ask(stack: Stack, key: str, count: int, model: str = "dear/full") -> Counter[int]:
    limits = httpx.Limits(max_connections=100)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=60, limits=limits) as client:
        body = chat(model, max_completion_tokens=100)
        answers = await asyncio.gather(
            *(client.post("/v1/chat/completions", json=body) for _ in range(count)), return_exceptions=True
        )
    return Counter(each.status_code if isinstance(each, httpx.Response) else 0 for each in answers)


async def budgets(stack: Stack) -> dict[str, dict[str, Any]]:
    """By the end of the period's name: each row as the command line tells it."""
    return {row["scope"]: row for row in await stack.ledger("budgets")}


async def spent_and_no_more(stack: Stack, scope: str, usd: Decimal, within_s: float = 60.0) -> None:
    """Return once so much is spent and nobody holds anything."""
    async with asyncio.timeout(within_s):
        while True:
            row = (await budgets(stack))[scope]
            assert Decimal(row["spent_usd"]) <= usd, row
            if Decimal(row["spent_usd"]) == Decimal(row["committed_usd"]) == usd:
                return
            await asyncio.sleep(0.3)


@pytest.mark.proof  # a minute: what dead routers held is closed only when nobody can be wrong about it
async def test_spend_is_neither_forgotten_nor_counted_twice_when_everything_is_killed(
    make_stack: Callable[..., Stack], sandbox_url: str
) -> None:
    stack = make_stack(CONFIG.format(url=f"{sandbox_url}/v1"), scale={"router": 2, "ingress": 2})
    await stack.start()
    issued = stack.cli("tokens", "issue", "--budget", f"{20 * PRICE}/day", "--json")
    token = json.loads(issued.stdout)
    scope = f"key.{token['id']}"
    assert await ask(stack, token["key"], 8) == {200: 8}
    under_way = asyncio.create_task(ask(stack, token["key"], 3, "dear/full+stall-2s"))
    await stack.says("ready: ")
    async with asyncio.timeout(20):
        while sum(row["status"] == "running" for row in await stack.attempts()) < 3:
            await asyncio.sleep(0.05)
    assert stack.process is not None
    pids = [stack.process.pid, *(p["pid"] for p in stack.run_file()["processes"])]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    stack.process.wait()
    await under_way

    await stack.start()
    # Nobody knows what the three that were under way did cost: they count with the most that they could.
    await spent_and_no_more(stack, scope, 11 * PRICE)
    answers = await ask(stack, token["key"], 40)
    assert answers == {200: 9, 429: 31}
    await spent_and_no_more(stack, scope, 20 * PRICE)
    known = [Decimal(a["cost_usd"]) for a in await stack.attempts() if a["cost_usd"] is not None]
    assert sum(known) == 17 * PRICE
