"""What workers tell each other of provider keys, over a real bus."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from support.nats import NatsServer, eventually

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.events import EventPublisher
from keyrail.bus.views import KvView
from keyrail.contracts import streams, subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.events import AlertRaised
from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.keys import KeyHealth, KeyRecord
from keyrail.keys.base import KeyName, KeyNotFound, ProviderKey
from keyrail.keys.book import KeyBook
from keyrail.keys.pool import KEYS_OUT
from keyrail.keys.secret import Secret
from keyrail_provider_worker.fallback import KEY_CHANGED
from keyrail_provider_worker.health import Healths
from keyrail_provider_worker.keyring import Chosen, Keyring

ONE = KeyName("default", "groq", "one")
NAME = "default.groq.one"


class Store:
    """Keys of equal weight, and what their values are now. `late_s`: how long a change takes to be seen."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.seen = dict(values)
        self.late_s = 0.0

    async def open(self) -> None:
        """It is open."""

    async def close(self) -> None:
        """There is nothing to close."""

    def refresh(self, name: KeyName) -> None:
        asyncio.get_running_loop().call_later(self.late_s, self.seen.update, self.values)

    async def keys(self, tenant: str, provider: str) -> list[ProviderKey]:
        return [ProviderKey(tenant, provider, id, 1) for id in self.seen]

    async def value(self, key: KeyName) -> Secret:
        if key.id not in self.seen:
            raise KeyNotFound(str(key))
        return Secret(self.seen[key.id])


class Worker:
    """What of a worker has to do with keys."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self.bus = bus
        self.book = KeyBook()
        self.store = store
        self.alerts = EventPublisher(bus, subjects.EVENT_ALERT)
        documents = Documents(bus, streams.KEY_HEALTH.name)
        self.healths = Healths(self.book, documents, self.alerts, store, bus.instance)
        self.keyring = Keyring(store, self.healths, lambda: 0.0)
        self._views = (
            KvView(bus, streams.KEYS.name, self.book.put_record, self.book.drop_record),
            KvView(bus, streams.KEY_HEALTH.name, self.book.put_health, self.book.drop_health),
        )

    async def start(self) -> None:
        for view in self._views:
            view.start()
        await asyncio.gather(*(view.loaded.wait() for view in self._views))
        self.alerts.start()
        await self.healths.start()

    async def stop(self) -> None:
        await self.healths.stop()
        await self.alerts.stop()
        for view in self._views:
            await view.stop()
        await self.bus.close()

    async def chosen(self) -> str | None:
        """The key that a request would be called with."""
        key = await self.keyring.choose("default", "groq", needed=True)
        return key.code if isinstance(key, Failure) else key.id

    async def refused(self, kind: FailureKind, wait_s: float | None = None, id: str = "one") -> Failure:
        """A provider refused the key that an attempt of this worker was called with."""
        value = await self.store.value(KeyName("default", "groq", id))
        key = Chosen(id, value, self.book.version(f"default.groq.{id}"), now_ms())
        failure = Failure(kind=kind, message="", status=429, retry_after_s=wait_s)
        return await self.keyring.refused("default", "groq", key, failure)


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    server.stop()


@pytest.fixture
async def pair(nats: NatsServer) -> AsyncIterator[tuple[Worker, Worker]]:
    async with AsyncExitStack() as stack:
        workers: list[Worker] = []
        for _ in range(2):
            worker = Worker(await nats.bus("provider-worker"), Store(one="sk-1", two="sk-2"))
            await worker.start()
            stack.push_async_callback(worker.stop)
            workers.append(worker)
        yield workers[0], workers[1]


async def stored(worker: Worker) -> KeyHealth | None:
    document = await Documents(worker.bus, streams.KEY_HEALTH.name).get(NAME)
    return KeyHealth.decode(document) if document else None


async def put_record(nats: NatsServer, version: int) -> None:
    control = await nats.bus("control")
    record = KeyRecord(tenant="default", provider="groq", id="one", version=version, changed_ms=now_ms())
    await (await control.js.key_value(streams.KEYS.name)).put(NAME, record.encode())
    await control.close()


async def alerts(nats: NatsServer) -> list[AlertRaised]:
    """All that are on the stream."""
    ledger = await nats.bus("cost-accounting")
    subscription = await ledger.js.pull_subscribe_bind(
        streams.COST_ACCOUNTING.name, streams.EVENTS.name, pending_msgs_limit=64, pending_bytes_limit=1 << 20
    )
    found: list[AlertRaised] = []
    try:
        for msg in await subscription.fetch(64, timeout=1):
            found += msgspec.json.decode(msg.data, type=list[AlertRaised])
    except TimeoutError:
        pass
    await ledger.close()
    return found


async def test_a_429_that_one_worker_sees_keeps_the_other_off_that_key(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    assert await here.chosen() == await there.chosen() == "one"
    await here.refused("rate", 30)
    assert await here.chosen() == "two", "at once, before anything is written"
    await eventually(lambda: there.healths.of(NAME) is not None, 1)
    assert await there.chosen() == "two"
    await there.refused("rate", 20, "two")
    assert await there.chosen() == KEYS_OUT
    failure = await there.keyring.choose("default", "groq", needed=True)
    assert isinstance(failure, Failure)
    assert failure.retry_after_s == pytest.approx(20, abs=1)


async def test_the_later_end_counts_whoever_writes_first(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    await asyncio.gather(here.refused("rate", 60), there.refused("rate", 5))
    await eventually(lambda: not here.healths.writing and not there.healths.writing)
    for worker in pair:
        await eventually(lambda w=worker: _left_s(w) > 55, 2)
    health = await stored(here)
    assert health is not None
    assert health.times == 1


def _left_s(worker: Worker) -> float:
    health = worker.healths.of(NAME)
    return 0 if health is None or health.until_ms is None else (health.until_ms - now_ms()) / 1000


async def test_a_refused_key_raises_one_alert_whoever_sees_it(
    nats: NatsServer, pair: tuple[Worker, Worker]
) -> None:
    await put_record(nats, 3)
    for worker in pair:
        await eventually(lambda w=worker: w.book.version(NAME) == 3)
    await asyncio.gather(*(worker.refused("auth") for worker in pair for _ in range(5)))
    await asyncio.gather(*(worker.refused("money", id="two") for worker in pair))
    await eventually(lambda: not any(worker.healths.writing for worker in pair))
    for worker in pair:
        await worker.alerts.flush()
    found = await alerts(nats)
    assert sorted((a.kind, a.subject) for a in found) == [
        ("key-auth", NAME),
        ("key-money", "default.groq.two"),
    ]
    by_kind = {alert.kind: alert for alert in found}
    assert by_kind["key-auth"].alert_id == f"key-auth.{NAME}.3"
    assert "sk-" not in "".join(alert.detail for alert in found)


async def test_a_key_that_was_tried_is_in_again_everywhere(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    await here.refused("money")
    await eventually(lambda: there.healths.of(NAME) is not None)
    await there.healths.clear(ONE)
    assert there.healths.of(NAME) is None
    await eventually(lambda: here.healths.of(NAME) is None)
    assert await stored(here) is None


async def test_a_rotated_key_is_in_again_and_what_its_old_value_did_is_forgotten(
    nats: NatsServer, pair: tuple[Worker, Worker]
) -> None:
    here, there = pair
    await put_record(nats, 1)
    await eventually(lambda: here.book.version(NAME) == 1)
    old = Chosen("one", Secret("sk-1"), 1, now_ms())
    await here.refused("auth")
    await eventually(lambda: there.healths.of(NAME) is not None)
    for worker in pair:
        worker.store.values["one"] = "sk-new"
        worker.store.refresh(ONE)
    await put_record(nats, 2)
    await eventually(lambda: here.healths.of(NAME) is None and there.healths.of(NAME) is None)
    late = Failure(kind="auth", message="", status=502)
    failure = await here.keyring.refused("default", "groq", old, late)
    assert failure.code == KEY_CHANGED
    assert await here.chosen() == "one"
    await eventually(lambda: NAME not in here.book.healths, 3)


@pytest.mark.parametrize("late_s", [0.0, 0.1])
async def test_a_value_that_was_changed_before_anybody_said_so_is_not_declared_bad(
    pair: tuple[Worker, Worker], late_s: float
) -> None:
    here, _ = pair
    here.store.late_s = late_s
    here.store.values["one"] = "sk-new"
    failure = await here.refused("auth")
    assert (failure.code, failure.falls_over) == (KEY_CHANGED, True)
    assert here.healths.of(NAME) is None


async def test_a_bad_value_that_is_changed_without_a_word_is_noticed(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    await here.refused("auth")
    await eventually(lambda: there.healths.of(NAME) is not None)
    await there.healths.look()
    assert there.healths.of(NAME) is not None, "the value is the same"
    there.store.seen["one"] = "sk-new"
    await there.healths.look()
    assert there.healths.of(NAME) is None
    await eventually(lambda: here.healths.of(NAME) is None)


async def test_a_key_that_is_gone_leaves_nothing_behind(pair: tuple[Worker, Worker]) -> None:
    here, _ = pair
    await here.refused("auth")
    await eventually(lambda: not here.healths.writing)
    for worker in pair:
        del worker.store.seen["one"]
    await eventually(lambda: NAME not in here.book.healths, 3)
    assert await stored(here) is None


async def test_a_refusal_is_written_once_the_bus_is_back(
    nats: NatsServer, pair: tuple[Worker, Worker]
) -> None:
    here, there = pair
    nats.signal(signal.SIGKILL)
    await here.refused("rate", 60)
    assert await here.chosen() == "two", "nobody waits for the bus"
    await nats.start()
    await eventually(lambda: _left_s(there) > 40, 15)
