"""Budgets over all services: hard ones hold whatever comes at once, soft ones are told of once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
from nats.aio.client import Client
from support.stack import Stack, chat

from keyrail.contracts import streams
from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import Budget, SpendDocument, document_key, key_scope
from keyrail.contracts.config import TokenRecord
from keyrail.keys import virtual

TOKENS = 100
PRICE = Decimal(TOKENS) / 1_000_000
"""What a request costs, and the most it can, at a dollar for a million tokens of output and nothing for input."""
CONFIG = """
providers:
  dear:
    base_url: "{url}"
    needs_key: false
    prices: {{"*": {{input: 0, output: 1}}}}
  cheap:
    base_url: "{url}"
    needs_key: false
    prices: {{"*": {{input: 0, output: 0.1}}}}
  vague:
    base_url: "{url}"
    needs_key: false
routes:
  careful: {{strategy: fallback, targets: [dear/status-500, dear/full]}}
  mixed: {{strategy: fallback, targets: [vague/echo, dear/full]}}
"""


class Bank:
    """A stack with virtual keys and the documents of their budgets."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._nc = Client()
        self._clients: list[httpx.AsyncClient] = []

    async def open(self) -> None:
        run = self.stack.home / "run"
        url = f"nats://127.0.0.1:{json.loads((run / 'nats-server.conf').read_text())['port']}"
        password = (run / "control.password").read_text().strip()
        await self._nc.connect(url, user="control", password=password, inbox_prefix=b"_INBOX_control")

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()
        await self._nc.close()

    async def key(self, *budgets: Budget, **more: Any) -> httpx.AsyncClient:
        """A client with a key of its own, once all ingresses know the key."""
        issued = virtual.issue()
        record = TokenRecord(
            id=issued.id,
            sha256=hashlib.sha256(issued.key.encode()).hexdigest(),
            created_ms=now_ms(),
            budgets=budgets,
            **more,
        )
        bucket = await self._nc.jetstream().key_value(streams.TOKENS.name)
        await bucket.put(record.id, record.encode())
        client = httpx.AsyncClient(
            base_url=self.stack.url,
            headers={"authorization": f"Bearer {issued.key}"},
            timeout=60.0,
            limits=httpx.Limits(max_connections=200),
        )
        self._clients.append(client)
        async with asyncio.timeout(5):
            while (await client.get("/v1/models")).status_code != 200:
                await asyncio.sleep(0.02)
        return client

    async def document(self, client: httpx.AsyncClient, per: Any = "day") -> SpendDocument:
        scope = key_scope(virtual.id_of(client.headers["authorization"].removeprefix("Bearer ")))
        return await self.of(document_key(scope, per, now_ms()))

    async def of(self, key: str) -> SpendDocument:
        bucket = await self._nc.jetstream().key_value(streams.BUDGETS.name)
        entry = await bucket.get(key)
        return SpendDocument.decode(entry.value or b"")

    async def folded(self, client: httpx.AsyncClient, usd: Decimal, within_s: float = 5.0) -> SpendDocument:
        """The document once so much is closed and nothing is granted any more."""
        async with asyncio.timeout(within_s):
            while True:
                document = await self.document(client)
                if document.closed_usd == usd and document.committed_usd == usd:
                    return document
                assert document.closed_usd <= usd, document
                await asyncio.sleep(0.05)

    async def spent(self, client: httpx.AsyncClient) -> Decimal:
        """What the ledger says that this key spent."""
        id = virtual.id_of(client.headers["authorization"].removeprefix("Bearer "))
        rows = [row for row in await self.stack.attempts() if row["key_id"] == id]
        return sum((Decimal(row["cost_usd"]) for row in rows if row["cost_usd"] is not None), Decimal(0))


def day(usd: Decimal | int | str, *, soft: bool = False) -> Budget:
    return Budget(usd=Decimal(usd), per="day", soft=soft)


async def post(client: httpx.AsyncClient, model: str = "dear/full", **more: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=chat(model, max_completion_tokens=TOKENS, **more))


@asynccontextmanager
async def bank(make_stack: Callable[..., Stack], sandbox_url: str, **scale: int) -> AsyncIterator[Bank]:
    stack = make_stack(CONFIG.format(url=f"{sandbox_url}/v1"), scale=scale)
    await stack.start()
    opened = Bank(stack)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def test_of_a_hundred_at_once_exactly_those_pass_that_the_budget_pays_for(
    make_stack: Callable[..., Stack], sandbox_url: str
) -> None:
    async with bank(make_stack, sandbox_url, router=3) as at:
        client = await at.key(day(10 * PRICE))
        answers = await asyncio.gather(*(post(client) for _ in range(100)))
        assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 90}
        for answer in answers:
            if answer.status_code == 200:
                assert Decimal(answer.headers["x-keyrail-cost-usd"]) == PRICE
                continue
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exceeded")
            assert answer.headers["x-should-retry"] == "false"
            assert 0 < int(answer.headers["retry-after"]) <= 86_400
        document = await at.folded(client, 10 * PRICE)
        assert document.alerted == (str(10 * PRICE),)
        await at.stack.all_settled([])
        assert await at.spent(client) == 10 * PRICE
        assert (await post(client)).status_code == 429
