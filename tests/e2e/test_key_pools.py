"""Several keys for one provider: no client sees an error while a good one is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from support.keyed_provider import KeyedProvider
from support.stack import Stack, chat

from keyrail.bus.connection import Bus, BusSettings, connect
from keyrail.contracts import streams, subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.keys import KeyHealth, KeyRecord, key_name
from keyrail.contracts.signals import KeyTest, KeyTested
from keyrail.keys.keystore import KeystoreWriter
from keyrail.keys.secret import Secret

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PROVIDER = '  {name}: {{base_url: "{url}", needs_key: true}}'
ROUTE = "  saved-by-{name}: {{strategy: fallback, targets: [{name}/m, sandbox/echo]}}"
TESTS = 6


@dataclass
class Pool:
    """A running stack with two workers, a provider of many keys, and control's place on the bus."""

    stack: Stack
    name: str
    provider: KeyedProvider
    bus: Bus

    async def put(self, id: str, value: str, *, version: int = 1, weight: int = 1) -> None:
        """As control does: the store first, then the record."""
        writer = KeystoreWriter(self.stack.home / "keystore")
        await writer.put("default", self.name, id, Secret(value), weight)
        record = KeyRecord(
            tenant="default",
            provider=self.name,
            id=id,
            weight=weight,
            version=version,
            changed_ms=now_ms(),
        )
        bucket = await self.bus.js.key_value(streams.KEYS.name)
        await bucket.put(key_name("default", self.name, id), record.encode())

    async def health(self) -> dict[str, KeyHealth]:
        """What the bucket says, by id."""
        bucket = await self.bus.js.key_value(streams.KEY_HEALTH.name)
        found: dict[str, KeyHealth] = {}
        watcher = await bucket.watchall(ignore_deletes=True)
        async for entry in watcher:
            if entry is None:
                break
            _, provider, id = entry.key.split(".")
            if provider == self.name:
                found[id] = KeyHealth.decode(entry.value or b"")
        await watcher.stop()
        return found

    async def attempts(self) -> list[dict[str, Any]]:
        return [row for row in await self.stack.attempts() if row["provider"] == self.name]

    async def until(self, condition: Callable[[dict[str, KeyHealth]], bool], within_s: float = 15.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition(await self.health()):
                await asyncio.sleep(0.02)

    async def test(self, id: str) -> KeyTested:
        asked = KeyTest(tenant="default", provider=self.name, id=id)
        answer = await self.bus.nc.request(subjects.KEY_TEST, asked.encode(), timeout=10)
        return KeyTested.decode(answer.data)

    async def ask(self, count: int, model: str = "", at_once: int = 8) -> list[httpx.Response]:
        model = model or f"{self.name}/m"
        gate = asyncio.Semaphore(at_once)

        async with self.stack.http() as client:

            async def one() -> httpx.Response:
                async with gate:
                    return await client.post("/v1/chat/completions", json=chat(model, "hello"))

            return list(await asyncio.gather(*(one() for _ in range(count))))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pools(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Iterator[Pool]]:
    """On one stack, a provider for each test: what one does to its keys is nothing to the others."""
    providers = {f"pooled-{number}": await KeyedProvider().open() for number in range(TESTS)}
    lines = [PROVIDER.format(name=name, url=provider.url) for name, provider in providers.items()]
    config = "\n".join(["providers:", *lines, "routes:", *(ROUTE.format(name=name) for name in providers)])
    scale = {"provider-worker": 2, "router": 2}
    stack = Stack(tmp_path_factory.mktemp("pools") / "home", config, scale=scale)
    await stack.start()
    password = (stack.home / "run" / "control.password").read_text().strip()
    nats_port = json.loads((stack.home / "run" / "nats-server.conf").read_text())["port"]
    bus = await connect(BusSettings(f"nats://127.0.0.1:{nats_port}", "control", "control", password))
    yield (Pool(stack, name, provider, bus) for name, provider in providers.items())
    await bus.close()
    await stack.close()
    assert stack.stop() == 0, stack.said()
    for provider in providers.values():
        await provider.close()


@pytest_asyncio.fixture(loop_scope="module")
async def pool(pools: Iterator[Pool]) -> Pool:
    return next(pools)


def statuses(answers: list[httpx.Response]) -> set[int]:
    return {answer.status_code for answer in answers}


async def test_no_client_sees_an_error_while_a_good_key_is_left(pool: Pool) -> None:
    provider = pool.provider
    provider.limited, provider.broke, provider.good = {"sk-slow": "60"}, {"sk-broke"}, {"sk-good"}
    for id, value in (("slow", "sk-slow"), ("broke", "sk-broke"), ("good", "sk-good")):
        await pool.put(id, value)
    answers = await pool.ask(200)
    assert statuses(answers) == {200}
    await pool.until(lambda healths: set(healths) == {"slow", "broke"})
    healths = await pool.health()
    slow, broke = healths["slow"], healths["broke"]
    assert slow.until_ms is not None
    assert (slow.reason, broke.reason, broke.until_ms) == ("rate", "money", None)
    assert slow.until_ms - slow.since_ms == pytest.approx(60_000, abs=1_000)
    before = len(provider.calls)
    assert statuses(await pool.ask(100)) == {200}
    assert {key for _, key, _ in provider.calls[before:]} == {"sk-good"}, "the others are left alone"
    calls = len(provider.calls)
    async with asyncio.timeout(20):
        while len(rows := await pool.attempts()) < calls or any(r["status"] == "running" for r in rows):
            await asyncio.sleep(0.1)
    refused = {(r["provider_key_id"], r["failure"]) for r in rows if r["status"] == "failed"}
    assert len(rows) == calls, "each attempt has a row of its own"
    assert refused == {("slow", "rate"), ("broke", "money")}


async def test_when_all_keys_are_out_nobody_is_called_and_the_client_hears_for_how_long(pool: Pool) -> None:
    pool.provider.limited = {"sk-1": "50", "sk-2": "30"}
    await pool.put("one", "sk-1")
    await pool.put("two", "sk-2")
    (first,) = await pool.ask(1)
    assert first.status_code == 429
    await pool.until(lambda healths: set(healths) == {"one", "two"})
    before = len(pool.provider.calls)
    answers = await pool.ask(20)
    assert statuses(answers) == {429}
    assert {answer.json()["error"]["code"] for answer in answers} == {"provider_keys_out"}
    assert all(25 <= int(answer.headers["retry-after"]) <= 30 for answer in answers)
    assert len(pool.provider.calls) == before
    saved = await pool.ask(10, f"saved-by-{pool.name}")
    assert statuses(saved) == {200}
    assert {answer.headers["x-keyrail-provider"] for answer in saved} == {"sandbox"}
    assert len(pool.provider.calls) == before


async def test_a_key_is_rotated_under_load_without_a_failed_request(pool: Pool) -> None:
    provider = pool.provider
    provider.good = {"sk-old"}
    await pool.put("main", "sk-old")
    load = asyncio.create_task(pool.ask(600))
    while provider.times("sk-old") < 100:
        await asyncio.sleep(0.005)
    provider.good.add("sk-new")  # as with a real provider: the new value is good before the old one is not
    await pool.put("main", "sk-new", version=2)
    rotated = asyncio.get_running_loop().time()
    while not provider.times("sk-new"):
        await asyncio.sleep(0.001)
    took_s = asyncio.get_running_loop().time() - rotated
    provider.good.remove("sk-old")
    answers = await load
    assert statuses(answers) == {200}
    assert took_s < 5
    assert provider.times("sk-new", 200) > 100
    assert await pool.health() == {}, "the new value was not taken out for what the old one did"


async def test_a_value_that_is_revoked_in_the_same_moment_is_replaced_without_a_failed_request(
    pool: Pool,
) -> None:
    provider = pool.provider
    provider.good = {"sk-old"}
    await pool.put("main", "sk-old")
    load = asyncio.create_task(pool.ask(400))
    while provider.times("sk-old") < 100:
        await asyncio.sleep(0.005)
    writer = KeystoreWriter(pool.stack.home / "keystore")
    await writer.put("default", pool.name, "main", Secret("sk-new"))
    provider.good = {"sk-new"}  # nobody has told the workers yet
    answers = await load
    assert statuses(answers) == {200}
    assert await pool.health() == {}


async def test_a_bad_key_goes_out_with_one_alert_and_a_test_brings_it_back(pool: Pool) -> None:
    provider = pool.provider
    provider.good = {"sk-good"}
    await pool.put("bad", "sk-bad", weight=3)
    await pool.put("good", "sk-good")
    answers = await pool.ask(40, at_once=1)
    assert statuses(answers) == {200}
    await pool.until(lambda healths: set(healths) == {"bad"})
    bad = (await pool.health())["bad"]
    assert (bad.reason, bad.until_ms, bad.version) == ("auth", None, 1)
    assert await alerts(pool) == 1
    refused = await pool.test("bad")
    assert (refused.result, refused.status) == ("refused", 401)
    assert (await pool.test("nobody")).result == "missing"
    assert set(await pool.health()) == {"bad"}
    before = provider.times("sk-bad")
    assert statuses(await pool.ask(20)) == {200}
    assert provider.times("sk-bad") == before
    provider.good.add("sk-bad")
    tested = await pool.test("bad")
    assert (tested.result, tested.status) == ("ok", 200)
    assert provider.tests == ["sk-bad", "sk-bad"]
    await pool.until(lambda healths: healths == {})
    assert statuses(await pool.ask(40)) == {200}
    assert provider.times("sk-bad", 200) > 10
    assert await alerts(pool) == 1


async def alerts(pool: Pool) -> int:
    """How many alerts the workers have raised for this provider, by the metrics of all of them."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{pool.stack.run_file()['admin_url']}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("keyrail_key_alerts_total{")]
    lines = [line for line in lines if f'provider="{pool.name}"' in line]
    assert all('kind="key-auth"' in line for line in lines), lines
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


async def test_a_changed_value_that_nobody_told_of_is_noticed(pool: Pool) -> None:
    pool.provider.good = {"sk-new"}
    await pool.put("main", "sk-wrong")
    (refused,) = await pool.ask(1)
    assert refused.status_code >= 500
    await pool.until(lambda healths: set(healths) == {"main"})
    writer = KeystoreWriter(pool.stack.home / "keystore")
    await writer.put("default", pool.name, "main", Secret("sk-new"))
    await pool.until(lambda healths: healths == {})
    assert statuses(await pool.ask(5)) == {200}
