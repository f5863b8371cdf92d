"""Budgets over all services: hard ones hold whatever comes at once, soft ones are told of once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from typing import Any

import httpx
import pytest
import pytest_asyncio
from nats.aio.client import Client
from support.stack import Stack, chat

from keyrail.contracts import streams, subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import Budget, SpendDocument, document_key, key_scope
from keyrail.contracts.config import TokenRecord
from keyrail.contracts.ledger import AlertsQuery, LedgerPage, LedgerQuery
from keyrail.keys import virtual

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENS = 100
PRICE = Decimal(TOKENS) / 1_000_000
"""What a request costs, and the most it can: a million tokens of output are a dollar, input is free."""
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
  twice: {{strategy: fallback, targets: [dear/garbage, dear/full]}}
  mixed: {{strategy: fallback, targets: [vague/echo, dear/full]}}
  trusting: {{strategy: fallback, targets: [vague/echo], unknown_price: allow}}
tenants:
  acme:
    budgets: ["0.0007/day"]
    teams: {{blue: {{budgets: ["0.0004/month"]}}}}
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
        async with asyncio.timeout(15):
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

    async def folded(self, client: httpx.AsyncClient, usd: Decimal, within_s: float = 20.0) -> SpendDocument:
        """The document once so much is closed and nothing is granted any more."""
        async with asyncio.timeout(within_s):
            while True:
                document = await self.document(client)
                if document.closed_usd == usd and document.committed_usd == usd:
                    return document
                assert document.closed_usd <= usd, document
                await asyncio.sleep(0.05)

    async def alerts(self, client: httpx.AsyncClient, within_s: float = 20.0) -> list[dict[str, Any]]:
        """What the ledger has of alerts about this key's budgets, once there is something."""
        id = virtual.id_of(client.headers["authorization"].removeprefix("Bearer "))
        question = LedgerQuery(query=AlertsQuery()).encode()
        async with asyncio.timeout(within_s):
            while True:
                answer = await self._nc.request(subjects.LEDGER, question, timeout=5)
                rows = LedgerPage.decode(answer.data).rows
                found = [row for row in rows if f"key.{id}." in str(row["subject"])]
                if found:
                    return found
                await asyncio.sleep(0.1)

    async def on_ledger(self, client: httpx.AsyncClient, usd: Decimal, within_s: float = 20.0) -> None:
        """Return once the ledger says that this key spent so much."""
        async with asyncio.timeout(within_s):
            while (spent := await self.spent(client)) != usd:
                assert spent < usd
                await asyncio.sleep(0.1)

    async def spent(self, client: httpx.AsyncClient) -> Decimal:
        """What the ledger says that this key spent so far."""
        id = virtual.id_of(client.headers["authorization"].removeprefix("Bearer "))
        rows = [row for row in await self.stack.attempts() if row["key_id"] == id]
        return sum((Decimal(row["cost_usd"]) for row in rows if row["cost_usd"] is not None), Decimal(0))


def day(usd: Decimal | int | str, *, soft: bool = False) -> Budget:
    return Budget(usd=Decimal(usd), per="day", soft=soft)


def codes(answers: Iterable[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def post(client: httpx.AsyncClient, model: str = "dear/full", **more: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=chat(model, max_completion_tokens=TOKENS, **more))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bank(tmp_path_factory: pytest.TempPathFactory, sandbox_url: str) -> AsyncIterator[Bank]:
    """Three routers, and keys of each test's own."""
    home = tmp_path_factory.mktemp("bank") / "home"
    stack = Stack(home, CONFIG.format(url=f"{sandbox_url}/v1"), scale={"router": 3})
    bank = Bank(await stack.start())
    await bank.open()
    yield bank
    await bank.close()
    assert stack.stop() == 0, stack.said()


async def test_of_a_hundred_at_once_exactly_those_pass_that_the_budget_pays_for(bank: Bank) -> None:
    client = await bank.key(day(10 * PRICE))
    answers = await asyncio.gather(*(post(client) for _ in range(100)))
    assert codes(answers) == {200: 10, 429: 90}
    for answer in answers:
        if answer.status_code == 200:
            assert Decimal(answer.headers["x-keyrail-cost-usd"]) == PRICE
            continue
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exceeded")
        assert answer.headers["x-should-retry"] == "false"
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
    document = await bank.folded(client, 10 * PRICE)
    assert document.alerted == (str(10 * PRICE),)
    await bank.on_ledger(client, 10 * PRICE)
    assert (await post(client)).status_code == 429


async def test_a_large_budget_is_given_out_in_leases_and_still_to_the_last_request(bank: Bank) -> None:
    client = await bank.key(day(100 * PRICE))
    answers = [
        answer for _ in range(3) for answer in await asyncio.gather(*(post(client) for _ in range(50)))
    ]
    assert codes(answers)[200] >= 92, (
        "an eighth of what was left is the most that a lease kept from the others"
    )
    spent = codes(answers)[200] * PRICE
    assert spent <= 100 * PRICE
    await bank.folded(client, spent)
    more = [(await post(client)).status_code for _ in range(101 - codes(answers)[200])]
    assert more.count(200) == 100 - codes(answers)[200]
    assert more[-1] == 429
    await bank.folded(client, 100 * PRICE)


async def test_a_request_that_costs_less_than_it_could_leaves_room_for_more(bank: Bank) -> None:
    client = await bank.key(day(PRICE * 3 / 2))
    for number in range(1, 6):
        answer = await post(client, "dear/echo")
        assert answer.status_code == 200, "ten words are a tenth of what it could cost"
        await bank.folded(client, number * PRICE / 10)
    assert (await bank.document(client)).alerted == ()


async def test_a_stream_that_its_client_leaves_is_settled_too(bank: Bank) -> None:
    client = await bank.key(day(PRICE))
    body = chat("dear/full+slow-20ms", max_completion_tokens=TOKENS, stream=True)
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for _ in answer.aiter_bytes():
            break
    async with asyncio.timeout(15):
        while (await bank.document(client)).committed_usd == PRICE:
            await asyncio.sleep(0.05)
    document = await bank.document(client)
    assert 0 < document.closed_usd < PRICE


async def test_the_month_and_the_day_each_hold(bank: Bank) -> None:
    client = await bank.key(day(5 * PRICE), Budget(usd=3 * PRICE, per="month"))
    answers = await asyncio.gather(*(post(client) for _ in range(12)))
    assert codes(answers) == {200: 3, 429: 9}
    await bank.folded(client, 3 * PRICE)  # of those at once, some found the day's money held for others
    refused = await post(client)
    assert "monthly budget of this key" in refused.json()["error"]["message"]
    month = await bank.document(client, "month")
    assert (month.closed_usd, month.committed_usd) == (3 * PRICE, 3 * PRICE)


async def test_keys_of_one_team_and_tenant_share_what_these_have(bank: Bank) -> None:
    team = [await bank.key(tenant="acme", team="blue") for _ in range(2)]
    other = await bank.key(tenant="acme")
    answers = await asyncio.gather(*(post(client) for client in team for _ in range(6)))
    assert codes(answers) == {200: 4, 429: 8}
    assert "of its team" in next(a for a in answers if a.status_code == 429).json()["error"]["message"]
    rest = await asyncio.gather(*(post(other) for _ in range(6)))
    assert codes(rest) == {200: 3, 429: 3}
    assert "of its tenant" in next(a for a in rest if a.status_code == 429).json()["error"]["message"]


async def test_requests_of_all_dialects_count_alike(bank: Bank) -> None:
    client = await bank.key(day(9 * PRICE))
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", chat("dear/full", max_tokens=TOKENS)),
        ("/v1/responses", {"model": "dear/full", "input": "hi", "max_output_tokens": TOKENS}),
        ("/v1/messages", chat("dear/full", max_tokens=TOKENS)),
    ]
    answers = await asyncio.gather(
        *(client.post(path, json=body) for path, body in bodies for _ in range(6)),
        *(client.post(path, json=body | {"stream": True}) for path, body in bodies for _ in range(6)),
    )
    assert codes(answers) == {200: 9, 429: 27}
    await bank.folded(client, 9 * PRICE)


async def test_a_fallback_is_called_with_the_money_that_the_first_target_did_not_cost(bank: Bank) -> None:
    client = await bank.key(day(PRICE))
    answer = await post(client, "careful")
    assert (answer.status_code, answer.headers["x-keyrail-attempts"]) == (200, "2")
    await bank.folded(client, PRICE)
    assert (await post(client, "careful")).status_code == 429


async def test_a_fallback_is_not_called_where_nobody_knows_what_the_first_target_did_cost(bank: Bank) -> None:
    poor, rich = await bank.key(day(PRICE * 3 / 2)), await bank.key(day(2 * PRICE))
    assert (await post(poor, "twice")).status_code == 502
    await bank.folded(poor, PRICE)
    answer = await post(rich, "twice")
    assert (answer.status_code, answer.headers["x-keyrail-attempts"]) == (200, "2")
    await bank.folded(rich, 2 * PRICE)


async def test_a_soft_budget_is_told_of_once_and_refuses_nobody(bank: Bank) -> None:
    client = await bank.key(day(2 * PRICE, soft=True))
    answers = await asyncio.gather(*(post(client) for _ in range(6)))
    assert codes(answers) == {200: 6}
    document = await bank.folded(client, 6 * PRICE)
    assert document.alerted == (f"{2 * PRICE}/soft",)
    assert (await post(client)).status_code == 200
    await bank.folded(client, 7 * PRICE)
    assert [alert["kind"] for alert in await bank.alerts(client)] == ["budget-soft"]


async def test_who_is_refused_is_told_of_once(bank: Bank) -> None:
    client = await bank.key(day(PRICE / 2))
    assert codes(await asyncio.gather(*(post(client) for _ in range(9)))) == {429: 9}
    assert [alert["kind"] for alert in await bank.alerts(client)] == ["budget-hard"]


async def test_without_a_known_price_nothing_is_called_unless_the_route_allows_it(bank: Bank) -> None:
    client = await bank.key(day(10 * PRICE))
    refused = await post(client, "vague/echo")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "price_unknown")
    passed_over = await post(client, "mixed")
    assert (passed_over.status_code, passed_over.headers["x-keyrail-provider"]) == (200, "dear")
    await bank.folded(client, PRICE)
    assert (await post(client, "trusting")).status_code == 200
    await bank.folded(client, PRICE)


async def test_an_answer_without_a_limit_gets_one_and_the_client_is_told(bank: Bank) -> None:
    client = await bank.key(day(1))
    answer = await client.post("/v1/chat/completions", json=chat("dear/full"))
    assert answer.headers["x-keyrail-output-cap"] == "16384"
    assert answer.json()["usage"]["completion_tokens"] == 16_384
    await bank.folded(client, Decimal("0.016384"))
    assert "x-keyrail-output-cap" not in (await post(client)).headers


async def test_a_key_may_ask_for_what_it_names_alone(bank: Bank) -> None:
    client = await bank.key(models=("cheap/*", "careful"))
    assert (await post(client, "cheap/full")).status_code == 200
    assert (await post(client, "careful")).status_code == 200
    refused = await post(client, "dear/full")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert (await post(client, "mixed")).status_code == 403


async def test_a_router_that_leaves_returns_what_it_does_not_need_and_one_that_is_killed_forgets_nothing(
    bank: Bank,
) -> None:
    client = await bank.key(day(40 * PRICE))
    assert codes(await asyncio.gather(*(post(client) for _ in range(10)))) == {200: 10}
    await bank.folded(client, 10 * PRICE)
    slow = [asyncio.create_task(post(client, "dear/full+stall-2s")) for _ in range(9)]
    async with asyncio.timeout(15):
        while (await bank.document(client)).committed_usd < 19 * PRICE:
            await asyncio.sleep(0.02)
    killed = bank.stack.signal("router", signal.SIGKILL)
    left = bank.stack.signal("router", signal.SIGTERM, 1)
    assert codes(await asyncio.gather(*slow)) == {200: 9}, "their workers need no router"
    await bank.stack.replaced("router", killed)
    await bank.stack.replaced("router", left)
    answers = await asyncio.gather(*(post(client) for _ in range(60)))
    passed = codes(answers)[200]
    document = await bank.document(client)
    assert document.committed_usd <= 40 * PRICE
    spent = (19 + passed) * PRICE
    assert spent <= 40 * PRICE
    await bank.on_ledger(client, spent)
    async with asyncio.timeout(60):  # until what the killed router held is closed from the ledger
        while True:
            document = await bank.document(client)
            assert document.closed_usd <= spent
            if document.closed_usd == document.committed_usd == spent:
                break
            await asyncio.sleep(0.2)
    rest = await asyncio.gather(*(post(client) for _ in range(30)))
    assert codes(rest)[200] == 21 - passed
    await bank.folded(client, 40 * PRICE)
