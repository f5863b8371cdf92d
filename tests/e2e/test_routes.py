"""Every strategy on the running stack: who serves, and what the client and the ledger are told."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from support.stack import Stack, chat

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

PAIR = ("dear/echo+stall-1ms", "fair/echo+stall-1ms")
CONFIG = """
providers:
  dear: {{base_url: "{url}", needs_key: false, prices: {{"*": {{input: 5, output: 25}}}}}}
  fair: {{base_url: "{url}", needs_key: false, prices: {{"*": {{input: 1, output: 5}}}}}}
  free: {{base_url: "{url}", needs_key: false}}
routes:
  cheapest: {{strategy: cheapest, targets: [free/echo, dear/echo, fair/echo]}}
  fastest: {{strategy: fastest, targets: [dear/stall-300ms, fair/echo]}}
  smart:
    strategy: smart
    targets: [fair/echo, {{model: dear/echo, quality: 0.9}}]
    reference: dear/echo
  thrifty:
    strategy: smart
    targets: [dear/echo+stall-1ms, fair/echo+stall-1ms]
    reference: dear/echo+stall-1ms
    smart: {{keep: 0.9}}
  spread: {{strategy: weighted, targets: [dear/echo, fair/echo], stick: 10m}}
  saved: {{strategy: smart, targets: [dear/status-500, fair/echo], reference: dear/status-500, cache: off}}
  sized:
    strategy: fallback
    targets:
      - {{model: dear/echo, window: 200, tools: false}}
      - {{model: fair/echo, window: 2000}}
tenants:
  europe: {{providers: [fair]}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def routed(tmp_path_factory: pytest.TempPathFactory, sandbox_url: str) -> AsyncIterator[Stack]:
    """A stack with two routers."""
    home = tmp_path_factory.mktemp("routes") / "home"
    running = Stack(home, CONFIG.format(url=sandbox_url), scale={"router": 2})
    await running.start()
    yield running
    await running.close()
    assert running.stop() == 0, running.said()


@pytest_asyncio.fixture(loop_scope="module")
async def client(routed: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with routed.http() as http:
        yield http


async def served(client: httpx.AsyncClient, body: dict[str, Any]) -> str:
    """`provider/model`, as the headers say."""
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return f"{answer.headers['x-keyrail-provider']}/{answer.headers['x-keyrail-model']}"


async def test_the_cheapest_serves_and_an_unknown_price_comes_last(client: httpx.AsyncClient) -> None:
    for stream in (False, True):
        assert await served(client, chat("cheapest", stream=stream)) == "fair/echo"


async def test_the_fastest_serves_once_both_were_measured(client: httpx.AsyncClient) -> None:
    assert await served(client, chat("fastest")) in ("dear/stall-300ms", "fair/echo")
    for model in ("dear/stall-300ms", "fair/echo"):
        for _ in range(6):
            assert await served(client, chat(model, max_tokens=50)) == model
    counts = Counter([await served(client, chat("fastest", max_tokens=50)) for _ in range(40)])
    # What routers hear of the last attempts may lag behind the first of these requests.
    assert counts["fair/echo"] >= 30


async def test_a_smart_route_begins_at_its_reference_and_falls_back_in_order(
    client: httpx.AsyncClient, routed: Stack
) -> None:
    assert await served(client, chat("smart")) == "dear/echo"
    answer = await client.post("/v1/chat/completions", json=chat("saved"))
    assert (answer.status_code, answer.headers["x-keyrail-provider"]) == (200, "fair")
    assert answer.headers["x-keyrail-attempts"] == "2"
    rows = await routed.settled(answer.headers["x-keyrail-request-id"], 2)
    assert sorted((row["provider"], row["status"], row["route"]) for row in rows) == [
        ("dear", "failed", "saved"),
        ("fair", "ok", "saved"),
    ]


async def test_a_route_keeps_a_share_of_quality_with_what_its_routers_find_out(
    client: httpx.AsyncClient, routed: Stack, tmp_path: Path
) -> None:
    line = {"route": "thrifty", "task": "any"}
    verdicts = [line | {"target": target, "score": 1 - (n % 10 == 0)} for target in PAIR for n in range(100)]
    file = tmp_path / "verdicts.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in verdicts))
    assert (await routed.ledger("verdicts", "import", str(file)))["new"] == 200
    async with asyncio.timeout(60):
        while await served(client, chat("thrifty", max_tokens=8)) != "fair/echo+stall-1ms":
            pass
    shown = await routed.ledger("routes", "show", "thrifty")
    (tuned,) = shown["tuned"]
    assert tuned["tenant"] == "default"
    assert tuned["requests"] >= 50
    assert tuned["kept"] == pytest.approx(1, abs=0.02)
    assert tuned["saved"] == pytest.approx(0.8, abs=0.02)


async def test_a_conversation_keeps_its_target_whichever_router_it_meets(client: httpx.AsyncClient) -> None:
    firsts: dict[str, str] = {}
    for n in range(8):
        said = f"conversation {n}"
        turns = [{"role": "user", "content": said}]
        served_by = [await served(client, {"model": "spread", "messages": turns})]
        for turn in range(3):
            turns += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": f"{turn}"}]
            served_by.append(await served(client, {"model": "spread", "messages": turns}))
        assert len(set(served_by)) == 1
        firsts[said] = served_by[0]
    assert set(firsts.values()) == {"dear/echo", "fair/echo"}


async def test_gates_come_before_the_order_of_targets(client: httpx.AsyncClient) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert await served(client, chat("sized")) == "dear/echo"
    assert await served(client, chat("sized", tools=[tool])) == "fair/echo"
    assert await served(client, chat("sized", "word " * 200)) == "fair/echo"
    assert await served(client, chat("sized", max_tokens=199)) == "fair/echo"


async def test_what_no_target_takes_is_told_in_the_clients_own_format(client: httpx.AsyncClient) -> None:
    long = chat("sized", "word " * 4_000)
    answer = await client.post("/v1/chat/completions", json=long)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    message = await client.post("/v1/messages", json=long | {"max_tokens": 10})
    assert (message.status_code, message.json()["type"]) == (400, "error")
    assert message.json()["error"]["type"] == "invalid_request_error"
    assert "context window" in message.json()["error"]["message"]


async def test_a_tenants_requests_stay_at_its_providers(routed: Stack) -> None:
    issued = await routed.ledger("tokens", "issue", "--tenant", "europe")
    headers = {"authorization": f"Bearer {issued['key']}"}
    async with httpx.AsyncClient(base_url=routed.url, headers=headers, timeout=60.0) as client:
        assert await served(client, chat("smart")) == "fair/echo"
        answer = await client.post("/v1/chat/completions", json=chat("dear/echo"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "provider_not_allowed")
