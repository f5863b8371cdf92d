import asyncio
import json

from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig
from support.nats import NatsServer

from keyrail.bus import topology
from keyrail.bus.connection import BusSettings, connect
from keyrail.bus.events import EventPublisher
from keyrail.bus.permissions import ADMIN
from keyrail.contracts import streams, subjects
from keyrail.contracts.signals import Cancel


def config(max_msgs: int) -> StreamConfig:
    return StreamConfig(
        name=streams.EVENTS.name,
        subjects=list(streams.EVENTS.subjects),
        retention=RetentionPolicy.INTEREST,
        discard=DiscardPolicy.NEW,
        max_msgs=max_msgs,
    )


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


async def test_an_event_that_the_stream_refuses_is_tried_again_until_it_is_stored(nats: NatsServer) -> None:
    admin = await connect(BusSettings(nats.url, ADMIN, ADMIN, ADMIN))
    bus = await nats.bus("provider-worker")
    publisher = EventPublisher(bus, subjects.EVENT_ATTEMPT)
    publisher.start()
    await admin.js.update_stream(config(max_msgs=1))
    await publisher.commit(event(0))
    refused = asyncio.create_task(publisher.commit(event(1)))
    done, _ = await asyncio.wait({refused}, timeout=0.3)
    assert not done, "the stream is full"
    await admin.js.update_stream(config(max_msgs=-1))
    await asyncio.wait_for(refused, 5)
    assert (await stored(nats))[0] == ["0", "1"]
    await admin.js.delete_stream(streams.EVENTS.name)
    nobody = asyncio.create_task(publisher.commit(event(2)))
    done, _ = await asyncio.wait({nobody}, timeout=0.3)
    assert not done, "no stream takes this subject"
    await topology.apply(admin.js)
    await asyncio.wait_for(nobody, 5)
    assert (await stored(nats))[0] == ["2"]
    await publisher.stop()
    await bus.close()
    await admin.close()


async def test_events_that_nobody_waits_for_travel_with_the_next_that_somebody_does(
    nats: NatsServer,
) -> None:
    bus = await nats.bus("provider-worker")
    publisher = EventPublisher(bus, subjects.EVENT_ATTEMPT)
    publisher.start()
    for n in range(5):
        publisher.post(event(2 * n))
        await publisher.commit(event(2 * n + 1))
    assert await stored(nats) == ([str(n) for n in range(10)], 5)
    for n in range(10, 20):
        publisher.post(event(n))
        await asyncio.sleep(0)
    await asyncio.wait_for(publisher.flush(), 5)
    assert await stored(nats) == ([str(n) for n in range(20)], 6)
    await bus.close()


async def test_a_message_that_is_sent_twice_is_stored_once(nats: NatsServer) -> None:
    bus = await nats.bus("provider-worker")
    publisher = EventPublisher(bus, subjects.EVENT_ATTEMPT)
    publisher.start()
    commit = asyncio.create_task(publisher.commit(event(1)))
    await asyncio.sleep(0)
    publisher._try()  # pyright: ignore[reportPrivateUsage] as after an answer that did not come in time
    await commit
    await publisher.commit(event(2))
    assert await stored(nats) == (["1", "2"], 2)
    await publisher.stop()
    await bus.close()
