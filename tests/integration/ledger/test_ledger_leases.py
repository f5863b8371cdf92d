"""What a dead router leaves: its leases are closed by what the ledger says, once, and nobody else's."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from keyrail.bus.connection import Bus
from keyrail.contracts import budgets, streams, subjects
from keyrail.contracts.base import Json, encode_all, new_id, now_ms
from keyrail.contracts.budgets import Lease, Period, SpendDocument
from keyrail.contracts.events import AttemptSettled, AttemptStarted
from keyrail.contracts.ledger import LedgerPage, Question, SpendQuery
from keyrail.contracts.signals import Alive
from keyrail.contracts.usage import Price
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.closer import Closer
from keyrail_cost_accounting.ledger import ClickHouse, Ledger, Parameter
from keyrail_cost_accounting.metrics import Metrics
from tests.support.nats import NatsServer

Ask = Callable[[Question], Awaitable[LedgerPage]]
Start = Callable[[Ledger], Awaitable[CostAccounting]]
Settled = Callable[[], Awaitable[None]]

HOUR_MS = 3_600_000
KEY = budgets.key_scope("k1")
TEAM = budgets.team_scope("acme", "a.b/c d")


def started(at_ms: int, **changes: object) -> AttemptStarted:
    values: dict[str, object] = {
        "attempt_id": new_id(),
        "request_id": new_id(),
        "epoch": 1,
        "hop": 0,
        "tenant": "acme",
        "key_id": "k1",
        "team": "a.b/c d",
        "strategy": "direct",
        "revision": 1,
        "provider": "openai",
        "model": "m",
        "worker": "w1",
        "router": "dead",
        "held_usd": "0.25",
        "received_ms": at_ms,
        "started_ms": at_ms + 5,
    }
    return msgspec.convert(values | changes, AttemptStarted)


def ended(start: AttemptStarted, cost: str | Decimal | None) -> AttemptSettled:
    return AttemptSettled(
        started=start,
        status="lost" if cost is None else "ok",
        price=Price(cost_usd=None if cost is None else Decimal(cost)),
        duration_ms=1,
        settled_ms=start.started_ms + 1,
    )


async def publish(bus: Bus, *events: AttemptStarted | AttemptSettled) -> None:
    await bus.js.publish(subjects.EVENT_ATTEMPT, encode_all(list(events)))


@dataclass
class Bucket:
    """The documents of budgets, as a router changes them."""

    bus: Bus

    async def put(self, key: str, document: SpendDocument) -> None:
        await (await self.bus.js.key_value(streams.BUDGETS.name)).put(key, document.encode())

    async def get(self, key: str) -> SpendDocument:
        entry = await (await self.bus.js.key_value(streams.BUDGETS.name)).get(key)
        return SpendDocument.decode(entry.value or b"")

    async def until(self, key: str, condition: Callable[[SpendDocument], bool]) -> SpendDocument:
        async with asyncio.timeout(30):
            while not condition(document := await self.get(key)):
                await asyncio.sleep(0.05)
        return document


def is_closed(*routers: str) -> Callable[[SpendDocument], bool]:
    return lambda document: not any(document.leases[router].granted for router in routers)


@asynccontextmanager
async def beating(bus: Bus, instance: str) -> AsyncGenerator[None]:
    async def beat() -> None:
        while True:
            alive = Alive(service=bus.service, instance=instance, sent_ms=now_ms())
            await bus.publish(subjects.alive(bus.service), alive.encode())
            await asyncio.sleep(0.1)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def process(url: str, directory: Path, mode: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """cost-accounting in a process, killed -9 at the end. It calls silent who was silent for a second."""
    script = Path(__file__).with_name("ledger_process.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), url, str(directory), mode, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield child
    finally:
        child.kill()
        await child.wait()


async def says(child: asyncio.subprocess.Process, word: str) -> None:
    assert child.stdout is not None
    async with asyncio.timeout(30):
        while (line := await child.stdout.readline()).decode().strip() != word:
            assert line, f"the process ended before it said {word}"


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A nats-server with the permissions that every service really has."""
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    server.stop()


async def test_the_lease_of_a_dead_router_is_closed_and_that_of_a_living_one_is_not_touched(
    guarded: NatsServer, tmp_path: Path
) -> None:
    now = now_ms()
    at = now - 60_000
    before_today, _ = budgets.period_bounds("day", at)
    key, team = budgets.document_key(KEY, "day", at), budgets.document_key(TEAM, "month", at)
    router, worker = await guarded.bus("router"), await guarded.bus("provider-worker")
    bucket = Bucket(router)
    running = started(at)
    await publish(
        worker,
        ended(started(at), "0.1"),
        ended(started(at, team=None), "0.000000000001"),
        ended(started(at), None),  # 0.25 stays spent
        ended(started(before_today - 1), "64"),  # another day
        ended(started(at, key_id="k2", router="rested"), "0.5"),
        ended(started(at, router="alive"), "8"),
        ended(started(at, tenant="other", key_id="k3"), "16"),
        running,
    )
    alive = Lease(granted=Decimal(2), folded=Decimal(1))
    lease = Lease(granted=Decimal(5), folded=Decimal("0.1"))
    await bucket.put(key, SpendDocument(closed_usd=Decimal(2), leases={"dead": lease, "alive": alive}))
    await bucket.put(team, SpendDocument(closed_usd=Decimal(3), leases={"rested": Lease(granted=Decimal(1))}))

    async with (
        beating(router, "alive"),
        beating(worker, "w1"),
        process(guarded.url, tmp_path / "ledger", "serve"),
    ):
        after = await bucket.until(team, is_closed("rested"))
        assert (after.closed_usd, after.leases["rested"]) == (Decimal("3.5"), Lease(folded=Decimal("0.5")))
        assert (await bucket.get(key)).leases["dead"] == lease, "one of its attempts still runs"

        await publish(worker, ended(running, "0.03"))
        after = await bucket.until(key, is_closed("dead"))

    spent = Decimal("0.380000000001")
    assert after.leases == {"dead": Lease(folded=spent), "alive": alive}
    assert after.closed_usd == Decimal(2) + spent - lease.folded
    await router.close()
    await worker.close()


async def test_cost_accounting_killed_before_it_knows_that_a_lease_is_closed_closes_it_no_second_time(
    guarded: NatsServer, tmp_path: Path
) -> None:
    at = now_ms() - 60_000
    first, canary = (budgets.document_key(budgets.key_scope(id), "day", at) for id in ("k1", "k9"))
    router, worker = await guarded.bus("router"), await guarded.bus("provider-worker")
    bucket = Bucket(router)
    await publish(worker, ended(started(at), "0.1"), ended(started(at), None))
    await bucket.put(first, SpendDocument(closed_usd=Decimal(1), leases={"dead": Lease(granted=Decimal(1))}))

    async with process(guarded.url, tmp_path / "ledger", "hang-closing") as killed:
        await says(killed, "changed")
    closed = await bucket.get(first)
    assert (closed.closed_usd, closed.committed_usd) == (Decimal("1.35"), Decimal("1.35"))

    await bucket.put(canary, SpendDocument(leases={"dead": Lease(granted=Decimal(1))}))
    async with process(guarded.url, tmp_path / "ledger", "serve"):
        await bucket.until(canary, is_closed("dead"))

    assert await bucket.get(first) == closed
    await router.close()
    await worker.close()


def scenario(chance: random.Random) -> list[AttemptStarted | AttemptSettled]:
    """Attempts of a few routers, keys, teams and tenants, over the end of a day; none runs."""
    _, midnight = budgets.period_bounds("day", now_ms() - 30 * HOUR_MS)
    events: list[AttemptStarted | AttemptSettled] = []
    for _ in range(300):
        tenant = chance.choice(["acme", "o.t=h er"])
        start = started(
            midnight + chance.randint(-HOUR_MS, HOUR_MS),
            tenant=tenant,
            key_id=f"{chance.choice('xy')}{tenant[0]}",
            team=chance.choice([None, "a.b/c d", "T"]),
            router=chance.choice(["r1", "r2", "r3"]),
            held_usd=chance.choice(["0.25", "0.000000000007"]),
        )
        cost = None if chance.random() < 0.2 else Decimal(chance.randint(0, 10**11)).scaleb(-12)
        events += [start, ended(start, cost)]
    return events


def documents(
    chance: random.Random, events: list[AttemptStarted | AttemptSettled]
) -> dict[str, SpendDocument]:
    """What the routers would leave: each has folded what some of its attempts did cost."""
    found: dict[str, SpendDocument] = {}
    for event in events:
        if isinstance(event, AttemptStarted):
            continue
        start = event.started
        assert start.router is not None
        assert start.received_ms is not None
        cost = event.price.cost_usd if event.price.cost_usd is not None else start.held_usd
        for key in counted(start):
            document = found.get(key, SpendDocument())
            lease = document.leases.get(start.router, Lease(granted=Decimal(chance.randint(0, 3))))
            if cost is not None and chance.random() < 0.5:
                lease = lease.replace(folded=lease.folded + cost)
                document = document.replace(closed_usd=document.closed_usd + cost)
            found[key] = document.replace(leases={**document.leases, start.router: lease})
    return found


def counted(start: AttemptStarted) -> list[str]:
    scopes = [budgets.key_scope(start.key_id), budgets.tenant_scope(start.tenant)]
    if start.team is not None:
        scopes.append(budgets.team_scope(start.tenant, start.team))
    periods: tuple[Period, ...] = ("day", "month")
    received = start.received_ms or 0
    return [budgets.document_key(scope, per, received) for scope in scopes for per in periods]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_with_all_leases_closed_every_document_says_what_the_ledger_says(
    bus: Bus,
    ledger: ClickHouse,
    metrics: Metrics,
    start: Start,
    ask: Ask,
    settled: Settled,
    seed: int,
) -> None:
    chance = random.Random(seed)
    events = scenario(chance)
    left = documents(chance, events)
    bucket = Bucket(bus)
    await start(ledger)
    closers = [Closer(bus, ledger, metrics, silence_s=0.2, every_s=0.05, tick_s=0.02) for _ in range(2)]
    tasks = [asyncio.create_task(closer.run()) for closer in closers]
    repeated = events + chance.sample(events, 200)
    chance.shuffle(repeated)
    for part in range(0, len(repeated), 50):
        await publish(bus, *repeated[part : part + 50])
    for key, document in left.items():
        await bucket.put(key, document)
    await settled()

    for key in left:
        document = await bucket.until(key, lambda found: found.closed_usd == found.committed_usd)
        about = budgets.account(key)
        assert about is not None
        tenant = about.tenant or {"a": "acme", "o": "o.t=h er"}[(about.key_id or "")[1]]
        query = SpendQuery(
            tenant=tenant,
            team=about.team,
            key_id=about.key_id,
            since_ms=about.since_ms,
            until_ms=about.until_ms,
        )
        (row,) = (await ask(query)).rows
        await bucket.until(key, lambda found, row=row: found.closed_usd == Decimal(str(row["cost_usd"])))
        assert document.leases.keys() == left[key].leases.keys()
    assert len(left) > 12
    for task in tasks:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Held:
    """A ledger whose inserts wait until they are let through. `early`: it was asked before."""

    def __init__(self, inner: ClickHouse) -> None:
        self._inner = inner
        self.let_through = threading.Event()
        self.early = False

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        self.let_through.wait()
        self._inner.insert(table, columns, block, token)

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        self.early = self.early or ("a.router" in sql and not self.let_through.is_set())
        return self._inner.ask(sql, parameters)

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        self._inner.command(sql, parameters)


async def test_nothing_is_closed_before_what_was_published_is_in_the_ledger(
    bus: Bus, ledger: ClickHouse, metrics: Metrics, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now_ms() - 60_000
    key = budgets.document_key(KEY, "day", at)
    bucket = Bucket(bus)
    looks: list[object] = []
    consumer_info = bus.js.consumer_info

    async def counted_info(stream: str, consumer: str) -> object:
        looks.append(await consumer_info(stream, consumer))
        return looks[-1]

    monkeypatch.setattr(bus.js, "consumer_info", counted_info)
    held = Held(ledger)
    await start(held)
    await publish(bus, ended(started(at), "0.5"))
    await bucket.put(key, SpendDocument(leases={"dead": Lease(granted=Decimal(1))}))
    closer = Closer(bus, held, metrics, silence_s=0.2, every_s=0.05, tick_s=0.02)
    task = asyncio.create_task(closer.run())
    try:
        async with asyncio.timeout(10):
            while len(looks) < 5:
                await asyncio.sleep(0.02)
        assert not held.early
    finally:
        held.let_through.set()

    after = await bucket.until(key, is_closed("dead"))
    assert after.closed_usd == Decimal("0.5")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_empty_lease_is_forgotten_after_a_long_time(
    bus: Bus, ledger: ClickHouse, metrics: Metrics, start: Start, settled: Settled
) -> None:
    at = now_ms() - 60_000
    key = budgets.document_key(KEY, "day", at)
    bucket = Bucket(bus)
    await start(ledger)
    await publish(bus, ended(started(at), "0.5"))
    await settled()
    await bucket.put(key, SpendDocument(leases={"dead": Lease(granted=Decimal(1))}))
    closer = Closer(bus, ledger, metrics, silence_s=0.2, every_s=0.05, tick_s=0.02, forget_s=1.0)
    task = asyncio.create_task(closer.run())

    assert await bucket.until(key, lambda document: not document.leases) == SpendDocument(
        closed_usd=Decimal("0.5")
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_spent_before_a_document_was_made_is_counted_once(
    bus: Bus, ledger: ClickHouse, metrics: Metrics, start: Start, settled: Settled
) -> None:
    at = now_ms() - 60_000
    key = budgets.document_key(KEY, "month", at)
    bucket = Bucket(bus)
    await start(ledger)
    await publish(bus, ended(started(at - 1), "0.5"), ended(started(at), "0.25"))
    await settled()
    seeded = SpendDocument(
        closed_usd=Decimal("0.5"), leases={"dead": Lease(granted=Decimal(1))}, seeded_ms=at
    )
    await bucket.put(key, seeded)
    closer = Closer(bus, ledger, metrics, silence_s=0.2, every_s=0.05, tick_s=0.02)
    task = asyncio.create_task(closer.run())

    after = await bucket.until(key, is_closed("dead"))
    assert after.closed_usd == Decimal("0.75")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
