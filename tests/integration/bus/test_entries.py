"""Entries with a time of their own, on a real server with the permissions of a worker."""

from __future__ import annotations

import asyncio

import pytest
from support.nats import NatsServer

from keyrail.bus.connection import Bus, BusSettings, connect
from keyrail.bus.entries import Entries
from keyrail.bus.errors import BusUnavailable
from keyrail.bus.permissions import ADMIN
from keyrail.contracts import streams

PATIENT_S = 5.0


async def worker(nats: NatsServer) -> tuple[Bus, Entries]:
    bus = await connect(BusSettings(nats.url, "provider-worker", "provider-worker", "provider-worker"))
    entries = Entries(bus, streams.CACHE.name)
    await entries.open()
    return bus, entries


async def gone(entries: Entries, key: str) -> None:
    async with asyncio.timeout(20):
        while await entries.get(key, PATIENT_S) is not None:
            await asyncio.sleep(0.05)


async def test_an_entry_is_there_until_its_time_is_over(nats: NatsServer) -> None:
    bus, entries = await worker(nats)
    assert await entries.get("t.k", PATIENT_S) is None
    await entries.put("t.k", b"first", 60)
    await entries.put("t.k", b"second", 1)
    assert await entries.get("t.k", PATIENT_S) == b"second"
    await gone(entries, "t.k")
    await bus.close()


async def test_one_claim_holds_until_it_is_dropped_or_its_time_is_over(nats: NatsServer) -> None:
    bus, entries = await worker(nats)
    other_bus, other = await worker(nats)
    won = await asyncio.gather(*(each.claim("t.k.lease", b"", 60) for each in (entries, other) * 5))
    assert sum(won) == 1
    await entries.drop("t.k.lease")
    assert await other.claim("t.k.lease", b"", 1)
    assert not await entries.claim("t.k.lease", b"", 60)
    await gone(entries, "t.k.lease")
    assert await entries.claim("t.k.lease", b"", 60)
    await bus.close()
    await other_bus.close()


async def test_a_full_bucket_makes_room_by_its_oldest_entries(nats: NatsServer) -> None:
    admin = await connect(BusSettings(nats.url, ADMIN, ADMIN, ADMIN))
    config = (await admin.js.stream_info(f"KV_{streams.CACHE.name}")).config
    assert config.max_bytes == streams.CACHE.max_bytes
    config.max_bytes = 64 << 10
    await admin.js.update_stream(config)
    bus, entries = await worker(nats)
    for n in range(20):
        await entries.put(f"t.{n}", bytes(8 << 10), 60)
    assert await entries.get("t.0", PATIENT_S) is None
    assert await entries.get("t.19", PATIENT_S) is not None
    await bus.close()
    await admin.close()


async def test_a_server_that_is_away_is_said_so_at_once(nats: NatsServer) -> None:
    bus, entries = await worker(nats)
    nats.stop()
    async with asyncio.timeout(5):
        while bus.connected:
            await asyncio.sleep(0.01)
    for doing in (entries.get("t.k"), entries.claim("t.k.lease", b"", 1)):
        with pytest.raises(BusUnavailable):
            await doing
    await bus.close()
