"""A real nats-server and a real embedded ledger for the whole run; each test finds them empty."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from prometheus_client import CollectorRegistry

from keyrail.bus import topology
from keyrail.bus.client import LeanClient
from keyrail.bus.connection import Bus, BusSettings, connect
from keyrail.contracts import streams, subjects
from keyrail.contracts.ledger import LedgerPage, LedgerQuery, Question
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.consumer import Pace
from keyrail_cost_accounting.ledger import ClickHouse, Ledger, open_ledger
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.migrate import migrate

FAST = Pace(every_s=0.05, settle_s=0.02, retry_s=0.02, retry_most_s=0.05)
Ask = Callable[[Question], Awaitable[LedgerPage]]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a nats-server with JetStream on a port that the system chose."""
    home = tmp_path_factory.mktemp("nats")
    binary = Path(sys.executable).parent / "nats-server"
    command = [str(binary), "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(home)]
    process = subprocess.Popen([*command, "--ports_file_dir", str(home)], stderr=subprocess.DEVNULL)
    try:
        yield _url(home / f"nats-server_{process.pid}.ports")
    finally:
        process.kill()
        process.wait()


def _url(ports: Path) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if ports.exists() and (text := ports.read_text()):
            return json.loads(text)["nats"][0]
        time.sleep(0.01)
    raise TimeoutError("nats-server did not start")


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the embedded ledger lives: one path a process is all that the engine allows."""
    return tmp_path_factory.mktemp("ledger")


@pytest.fixture(scope="session")
def engine(directory: Path) -> Iterator[ClickHouse]:
    """The embedded ledger."""
    ledger = open_ledger(str(directory))
    migrate(ledger)
    yield ledger
    ledger.close()


@pytest.fixture
def ledger(engine: ClickHouse) -> ClickHouse:
    """The ledger without rows."""
    tables = "SELECT name FROM system.tables WHERE database = currentDatabase() AND name != 'migrations'"
    for table in engine.ask(tables, {}):
        engine.command(f"TRUNCATE TABLE {table['name']}")
    return engine


@pytest.fixture
async def bus(server: str) -> AsyncIterator[Bus]:
    """A connection; streams, durables and buckets are there as they are shipped, and empty."""
    connected = await connect(BusSettings(server, "cost-accounting"))
    await topology.apply(connected.js)
    yield connected
    for stream in streams.STREAMS:
        await connected.js.delete_stream(stream.name)
    for bucket in streams.BUCKETS:
        await connected.js.delete_key_value(bucket.name)
    await connected.close()


@pytest.fixture
def nc(bus: Bus) -> LeanClient:
    return bus.nc


@pytest.fixture
def js(bus: Bus) -> JetStreamContext:
    return bus.js


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


Start = Callable[[Ledger], Awaitable[CostAccounting]]


@pytest.fixture
async def start(bus: Bus, metrics: Metrics) -> AsyncIterator[Start]:
    """Starts the service on a ledger; drained when the test ends."""
    started: list[CostAccounting] = []

    async def one(ledger: Ledger) -> CostAccounting:
        service = CostAccounting(bus, ledger, metrics, pace=FAST)
        await service.start()
        started.append(service)
        return service

    yield one
    for service in started:
        await service.drain()


@pytest.fixture
def ask(nc: LeanClient) -> Ask:
    """Ask a question over the bus, as control does."""

    async def question(query: Question) -> LedgerPage:
        data = LedgerQuery(query=query).encode()
        answer = await nc.request(subjects.LEDGER, data, timeout=10)
        return LedgerPage.decode(answer.data)

    return question


@pytest.fixture
def settled(js: JetStreamContext) -> Callable[[], Awaitable[None]]:
    """Wait until every event that was published has been dealt with."""

    async def wait() -> None:
        async with asyncio.timeout(15):
            while True:
                info = await js.consumer_info(streams.EVENTS.name, streams.COST_ACCOUNTING.name)
                if not info.num_pending and not info.num_ack_pending:
                    return
                await asyncio.sleep(0.01)

    return wait
