"""ClickHouse away while events come in: nothing lost, nothing twice, memory bounded, and it catches up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from support.attempts import ended, started
from support.clickhouse_process import ClickHouseProcess
from support.nats import NatsServer

from keyrail.bus.connection import Bus
from keyrail.bus.events import EventPublisher
from keyrail.contracts import streams, subjects
from keyrail.contracts.ledger import CostsQuery, LedgerPage, LedgerQuery
from keyrail.contracts.usage import Usage
from keyrail.telemetry.metrics import Exposition
from keyrail_cost_accounting.batches import Batches

COST = "0.000000000007"
NOTE = "x" * 300
USAGE = Usage(
    input_tokens=1200,
    output_tokens=200,
    raw={"prompt_tokens": 1200, "completion_tokens": 200, "note": NOTE},
)
MOST_GROWTH = 160 << 20
"""A batch of 16 MB, decoded, as rows and as a block, comes to less; it does not grow with what waits."""
OUTAGE_S = float(os.environ.get("OUTAGE_S", "150"))
"""Of the long form: seven times the time after which the server delivers again what nobody works on."""
OUTAGE_RATE = float(os.environ.get("OUTAGE_RATE", "1600"))
"""Events a second, of the long form."""
CATCH_UP_S = max(120.0, OUTAGE_S / 2)
"""The long form's backlog goes in at least twice as fast as it came."""
TOGETHER = 5


class World:
    """nats-server, ClickHouse and the one who publishes."""

    def __init__(self, nats: NatsServer, clickhouse: ClickHouseProcess, folder: Path) -> None:
        self.nats = nats
        self.clickhouse = clickhouse
        self._folder = folder
        self.published = 0
        self.publisher: EventPublisher
        self.control: Bus
        self.admin: JetStreamContext
        self.admin_bus: Bus

    async def connect(self) -> None:
        worker, self.control, admin = [
            await self.nats.bus(name) for name in ("provider-worker", "control", "setup")
        ]
        self.admin, self.admin_bus = admin.js, admin
        self.publisher = EventPublisher(worker, subjects.EVENT_ATTEMPT)
        self.publisher.start()
        self._buses = (worker, self.control, admin)

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()

    @asynccontextmanager
    async def accounting(self) -> AsyncGenerator[subprocess.Popen[bytes]]:
        """The service's own process; killed at the end."""
        password = self._folder / "password"
        password.write_text("cost-accounting")
        environment = {
            **os.environ,
            "KEYRAIL_NATS_URL": self.nats.url,
            "KEYRAIL_NATS_USER": "cost-accounting",
            "KEYRAIL_NATS_PASSWORD_FILE": str(password),
            "KEYRAIL_LEDGER": self.clickhouse.url,
            "KEYRAIL_LEDGER_MIGRATE": "auto",
        }
        with (self._folder / "log").open("ab") as sink:
            child = subprocess.Popen(
                [sys.executable, "-m", "keyrail_cost_accounting"], env=environment, stderr=sink
            )
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    async def publish(self, attempts: int, seconds: float = 0.0) -> None:
        """Two events for each attempt, in messages of ten and fewer; spread evenly over `seconds`."""
        began = time.monotonic()
        parts = max(1, attempts // TOGETHER)
        for part in range(1, parts + 1):
            for _ in range(TOGETHER):
                start = started()
                self.publisher.post(start)
                self.publisher.post(ended(start, COST, usage=USAGE))
            self.published += TOGETHER
            await self.publisher.flush()
            await asyncio.sleep(max(0.0, began + seconds * part / parts - time.monotonic()))

    async def ask(self) -> LedgerPage:
        question = LedgerQuery(query=CostsQuery()).encode()
        return LedgerPage.decode((await self.control.nc.request(subjects.LEDGER, question, timeout=10)).data)

    async def metric(self, name: str) -> float:
        answer = await self.control.nc.request(subjects.METRICS, b"", timeout=5)
        families = Exposition.model_validate_json(answer.data).families
        return next(each.value for family in families for each in family.samples if each.name == name)

    async def waiting(self) -> int:
        info = await self.admin.consumer_info(streams.EVENTS.name, streams.COST_ACCOUNTING.name)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def bytes_waiting(self) -> int:
        return (await self.admin.stream_info(streams.EVENTS.name)).state.bytes

    async def take_as_another_instance(self) -> list[Msg]:
        """What the server would give to a second process: what it delivers again comes first."""
        batches = Batches(self.admin_bus.nc, streams.EVENTS.name, streams.COST_ACCOUNTING.name)
        await batches.open()
        taken = await batches.take(100, 1 << 20)
        await batches.close()
        return taken

    async def until_settled(self, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while await self.waiting():
                await asyncio.sleep(0.05)

    async def says(self, text: str, within_s: float = 15) -> None:
        async with asyncio.timeout(within_s):
            while text not in self.log:
                await asyncio.sleep(0.05)

    async def is_exact(self) -> None:
        """The ledger has every attempt once."""
        page = await self.ask()
        assert page.error is None, page.error
        (sums,) = page.rows
        expected = format((Decimal(COST) * self.published).normalize(), "f")
        assert (sums["attempts"], sums["cost_usd"]) == (self.published, expected)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    nats, clickhouse = NatsServer(tmp_path), ClickHouseProcess(tmp_path / "clickhouse")
    clickhouse.start()
    await nats.start()
    one = World(nats, clickhouse, tmp_path)
    await one.connect()
    yield one
    await one.close()
    nats.stop()
    clickhouse.kill()


class Watch:
    """The resident memory of a process, looked at all the time."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/status")
        self.first = self.most = self._now()
        self._task = asyncio.create_task(self._run())

    def _now(self) -> int:
        line = next(line for line in self._path.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    async def _run(self) -> None:
        while True:
            self.most = max(self.most, self._now())
            await asyncio.sleep(0.1)

    def grew(self) -> int:
        self._task.cancel()
        return self.most - self.first


async def shorter_ack_wait(js: JetStreamContext, seconds: float) -> None:
    durable = streams.COST_ACCOUNTING
    await js.add_consumer(
        durable.stream,
        ConsumerConfig(
            durable_name=durable.name,
            filter_subject=durable.subject,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.ALL,
            ack_wait=seconds,
            max_ack_pending=durable.max_ack_pending,
            max_deliver=-1,
        ),
    )


async def test_clickhouse_away_under_load_loses_nothing_and_counts_nothing_twice(world: World) -> None:
    await shorter_ack_wait(world.admin, 1.0)  # what is in hand is due again all the time
    async with world.accounting() as first:
        await world.says('"ready"')
        await world.publish(500)
        await world.until_settled(10)
        world.clickhouse.kill()
        memory = Watch(first.pid)
        await world.publish(8_000)
        await world.says("insert failed")
        assert (await world.ask()).error == "the ledger does not answer at the moment"
        assert await world.metric("keyrail_ledger_insert_failures_total") > 0
        await world.nats.restart()
        await world.publish(2_000)
        grew = memory.grew()
        assert grew < MOST_GROWTH, f"{grew >> 20} MB"
        assert await world.waiting() >= 2_000
        first.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait, 20) == 0, "it hands back what it has"

    async with world.accounting() as second:
        await world.says("the ledger cannot be opened")
        world.clickhouse.start()
        memory = Watch(second.pid)
        await world.until_settled(30)
        await world.is_exact()
        assert memory.grew() < MOST_GROWTH
    assert NOTE not in world.log


@pytest.mark.proof
@pytest.mark.timeout(OUTAGE_S + CATCH_UP_S + 300)
async def test_clickhouse_away_for_several_times_the_ack_wait(world: World) -> None:
    async with world.accounting() as process:
        await world.says('"ready"')
        await world.publish(500)
        await world.until_settled(10)
        memory = Watch(process.pid)
        world.clickhouse.kill()
        began = time.monotonic()
        half = int(OUTAGE_S * OUTAGE_RATE / 4)  # two events an attempt
        await world.publish(half, OUTAGE_S / 2)
        others = await world.take_as_another_instance()
        assert {msg.metadata.num_delivered for msg in others} == {1}, "what is in hand is told to be"
        for msg in others:
            await msg.nak()
        await world.nats.restart()
        await world.publish(half, OUTAGE_S / 2)
        waited = await world.bytes_waiting()
        world.clickhouse.start()
        back = time.monotonic()
        await world.until_settled(CATCH_UP_S)
        took = time.monotonic() - back
        await world.is_exact()
        grew = memory.grew()
        sys.stdout.write(
            f"{2 * world.published:,} events, {waited >> 20} MB, {back - began:.0f} s away,"
            f" caught up in {took:.1f} s, grew by {grew >> 20} MB from {memory.first >> 20}\n"
        )
        assert grew < MOST_GROWTH
