"""When batches are inserted: soon after a pause, then together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from nats.js import JetStreamContext
from support.attempts import started
from support.nats import NatsServer, eventually
from test_ledger_outage import shorter_ack_wait

from keyrail.bus.client import LeanClient
from keyrail.bus.connection import Bus
from keyrail.bus.permissions import ADMIN
from keyrail.contracts import streams, subjects
from keyrail.contracts.base import Json, encode_all
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.batches import Batches
from keyrail_cost_accounting.consumer import Pace
from keyrail_cost_accounting.ledger import ClickHouse, Parameter
from keyrail_cost_accounting.metrics import Metrics

EVERY_S = 4.0


class Watched:
    """A ledger that notes when inserts began, and tells when one is done."""

    def __init__(self, inner: ClickHouse) -> None:
        self.inner = inner
        self.times: list[float] = []
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        began = time.monotonic()
        self.inner.insert(table, columns, block, token)
        self.times.append(began)
        self._loop.call_soon_threadsafe(self.changed.set)

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        return self.inner.ask(sql, parameters)

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        self.inner.command(sql, parameters)


async def test_what_comes_after_a_pause_is_inserted_soon_and_what_follows_waits_for_company(
    bus: Bus,
    js: JetStreamContext,
    ledger: ClickHouse,
    metrics: Metrics,
    settled: Callable[[], Awaitable[None]],
) -> None:
    watched = Watched(ledger)
    service = CostAccounting(bus, watched, metrics, pace=Pace(every_s=EVERY_S, settle_s=0.05))
    await service.start()

    async def publish() -> None:
        await js.publish(subjects.EVENT_ATTEMPT, encode_all([started()]))

    began = time.monotonic()
    await publish()
    await asyncio.wait_for(watched.changed.wait(), 10)
    assert watched.times[0] - began < EVERY_S, "nobody waits for company after a pause"
    for _ in range(10):
        await publish()
    await settled()
    assert len(watched.times) <= 3, "ten messages, one insert, or two when the first took its time"
    assert watched.times[-1] - began >= EVERY_S, "counted from when the first was taken"
    assert ledger.ask("SELECT count() AS n FROM attempts FINAL", {}) == [{"n": 11}]
    await service.drain()


class Held(Watched):
    """A ledger whose inserts wait until they are let through."""

    def __init__(self, inner: ClickHouse) -> None:
        super().__init__(inner)
        self.reached = asyncio.Event()
        self.let_through = threading.Event()

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        self._loop.call_soon_threadsafe(self.reached.set)
        self.let_through.wait()
        super().insert(table, columns, block, token)


async def test_a_batch_that_takes_longer_than_the_ack_wait_is_given_to_nobody_else(
    bus: Bus,
    js: JetStreamContext,
    ledger: ClickHouse,
    metrics: Metrics,
    settled: Callable[[], Awaitable[None]],
) -> None:
    await shorter_ack_wait(js, 0.8)
    held = Held(ledger)
    service = CostAccounting(bus, held, metrics, pace=Pace(settle_s=0.01, progress_s=0.1))
    other = Batches(bus.nc, streams.EVENTS.name, streams.COST_ACCOUNTING.name)
    await other.open()
    await service.start()
    try:
        await js.publish(subjects.EVENT_ATTEMPT, encode_all([started()]))
        await asyncio.wait_for(held.reached.wait(), 10)
        await other.some(2.5)  # as long as three times what the server waits for an acknowledgement
        assert await other.take(10, 1 << 20) == []
        held.let_through.set()
        await settled()
    finally:
        held.let_through.set()
        await service.drain()
        await other.close()


async def test_a_pull_that_the_server_forgot_is_not_waited_for(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    client = LeanClient()
    await client.connect(
        server.url,
        user=ADMIN,
        password=ADMIN,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,  # pyright: ignore[reportArgumentType] seconds, slept as they are
        error_cb=_no_matter,
    )
    durable = streams.COST_ACCOUNTING
    batches = Batches(client, durable.stream, durable.name)
    await batches.open()
    waiting = asyncio.create_task(batches.some(30))
    await asyncio.sleep(0)
    await client.flush()  # the pull is out
    await server.restart()
    await eventually(lambda: client.stats["reconnects"] == 1, 10)
    batches.interrupt()
    await asyncio.wait_for(waiting, 5)
    await client.jetstream().publish(subjects.EVENT_ATTEMPT, b"[]")
    await asyncio.wait_for(batches.some(30), 5)
    assert [msg.data for msg in await batches.take(10, 1 << 20)] == [b"[]"]
    await batches.close()
    await client.close()
    server.stop()


async def _no_matter(error: Exception) -> None:
    pass
