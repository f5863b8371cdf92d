import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nats import NatsServer

from keyrail.bus import topology
from keyrail.bus.connection import BusSettings, connect
from keyrail.bus.permissions import ADMIN
from keyrail.contracts import streams, subjects
from keyrail.contracts.streams import GIB


async def test_what_every_durable_has_acknowledged_takes_no_room_in_the_stream(nats: NatsServer) -> None:
    admin = await connect(BusSettings(nats.url, ADMIN, ADMIN, ADMIN))
    for n in range(10):
        await admin.js.publish(subjects.EVENT_ATTEMPT, b"%d" % n)
    durable = streams.COST_ACCOUNTING
    consumer = await admin.js.pull_subscribe_bind(durable.name, durable.stream)
    batch = await consumer.fetch(10, timeout=2)

    async def kept() -> int:
        return (await admin.js.stream_info(durable.stream)).state.messages

    assert await kept() == 10
    for msg in batch[:6]:
        await msg.ack_sync()
    assert await kept() == 4
    await admin.close()


async def test_setting_up_twice_changes_nothing(nats: NatsServer) -> None:
    admin = await connect(BusSettings(nats.url, ADMIN, ADMIN, ADMIN))
    await admin.js.publish(subjects.EVENT_ATTEMPT, b"kept")
    await topology.apply(admin.js)
    info = await admin.js.stream_info(streams.EVENTS.name)
    assert info.state.messages == 1
    await admin.close()


@pytest.fixture
def unstarted(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path)
    yield server
    server.stop()


def allow(folder: Path, max_file: int) -> None:
    path = folder / "nats.conf"
    document = json.loads(path.read_text())
    document["jetstream"]["max_file"] = max_file
    path.write_text(json.dumps(document))


async def test_a_stream_of_an_earlier_release_is_enlarged_and_keeps_its_messages(
    unstarted: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dataclasses.replace(streams.EVENTS, max_bytes=4 * GIB)
    with monkeypatch.context() as earlier:
        earlier.setattr(streams, "STREAMS", (before, streams.CONTENTS, streams.DEAD_LETTERS))
        allow(tmp_path, 16 * GIB)
        await unstarted.start()
    admin = await unstarted.bus(ADMIN)
    await admin.js.publish(subjects.EVENT_ATTEMPT, b"kept")
    assert (await admin.js.stream_info(before.name)).config.max_bytes == 4 * GIB
    await admin.close()
    allow(tmp_path, streams.MAX_FILE)
    await unstarted.restart()
    admin = await unstarted.bus(ADMIN)
    info = await admin.js.stream_info(before.name)
    assert (info.config.max_bytes, info.state.messages) == (streams.EVENTS.max_bytes, 1)
    await admin.close()


async def test_a_stream_larger_than_the_disk_is_made_all_the_same(
    unstarted: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beyond = 2 * shutil.disk_usage(tmp_path).total
    allow(tmp_path, 2 * beyond)
    monkeypatch.setattr(streams, "STREAMS", (dataclasses.replace(streams.EVENTS, max_bytes=beyond),))
    monkeypatch.setattr(streams, "DURABLES", (streams.COST_ACCOUNTING,))
    await unstarted.start()
    admin = await unstarted.bus(ADMIN)
    await admin.js.publish(subjects.EVENT_ATTEMPT, b"kept")
    assert (await admin.js.stream_info(streams.EVENTS.name)).config.max_bytes == beyond
    await admin.close()
