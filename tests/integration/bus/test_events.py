import asyncio
import json

from nats.js.api import ConsumerConfig
from support.nats import NatsServer

from keyrail.bus.connection import BusSettings, connect
from keyrail.bus.events import EventPublisher
from keyrail.bus.permissions import ADMIN
from keyrail.contracts import streams, subjects
from keyrail.contracts.signals import Cancel


def event(number: int) -> Cancel:
    return Cancel(request_id=str(number), epoch=0, hop=0, reason="test")


async def stored(nats: NatsServer) -> tuple[list[str], int]:
    """The request ids of all events in the stream, and the number of messages they came in."""
    bus = await connect(BusSettings(nats.url, ADMIN, ADMIN, ADMIN))
    subscription = await bus.js.pull_subscribe(
        subjects.EVENTS, stream=streams.EVENTS.name, config=ConsumerConfig(ack_wait=30)
    )
    ids: list[str] = []
    count = (await bus.js.stream_info(streams.EVENTS.name)).state.messages
    left = count
    while left:
        batch = await subscription.fetch(min(left, 500), timeout=2)
        left -= len(batch)
        ids += [e["request_id"] for m in batch for e in json.loads(m.data)]
    await bus.close()
    return ids, count


async def test_events_that_come_together_leave_together_and_each_is_stored_once(nats: NatsServer) -> None:
    bus = await nats.bus("provider-worker")
    publisher = EventPublisher(bus, subjects.EVENT_ATTEMPT)
    publisher.start()
    await asyncio.gather(*(publisher.commit(event(n)) for n in range(300)))
    ids, messages = await stored(nats)
    assert sorted(ids, key=int) == [str(n) for n in range(300)]
    assert messages < 30
    await publisher.stop()
    await bus.close()


async def test_posted_events_survive_a_killed_server_and_none_is_stored_twice(nats: NatsServer) -> None:
    bus = await nats.bus("provider-worker")
    publisher = EventPublisher(bus, subjects.EVENT_ATTEMPT)
    publisher.start()
    publisher.post(event(0))
    await publisher.flush()
    restart = asyncio.create_task(nats.restart())
    for n in range(1, 50):
        publisher.post(event(n))
        await asyncio.sleep(0.005)
    await restart
    await asyncio.wait_for(publisher.flush(), 10)
    ids, _ = await stored(nats)
    assert sorted(ids, key=int) == [str(n) for n in range(50)]
    await publisher.stop()
    await bus.close()


async def test_a_commit_does_not_return_while_the_server_is_away(nats: NatsServer) -> None:
    bus = await nats.bus("provider-worker")
    publisher = EventPublisher(bus, subjects.EVENT_ATTEMPT)
    publisher.start()
    nats.stop()
    commit = asyncio.create_task(publisher.commit(event(1)))
    done, _ = await asyncio.wait({commit}, timeout=1.5)
    assert not done
    await nats.start()
    await asyncio.wait_for(commit, 10)
    assert (await stored(nats))[0] == ["1"]
    await publisher.stop()
    await bus.close()
