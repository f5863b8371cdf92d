from support.nats import NatsServer

from keyrail.bus import topology
from keyrail.bus.connection import BusSettings, connect
from keyrail.bus.permissions import ADMIN
from keyrail.contracts import streams, subjects


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
