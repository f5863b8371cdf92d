"""What the lean client promises beyond nats-py's own promises."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.msg import Msg
from nats.errors import BadSubjectError, SlowConsumerError
from support.nats import NatsServer, eventually

from keyrail.bus.client import LeanClient
from keyrail.bus.connection import Bus, BusSettings, connect
from keyrail.bus.permissions import ADMIN


async def admin(nats: NatsServer) -> Bus:
    return await connect(BusSettings(nats.url, ADMIN, ADMIN, ADMIN))


async def test_handlers_run_one_after_the_other_in_order_also_when_they_wait(nats: NatsServer) -> None:
    bus = await admin(nats)
    log: list[str] = []
    go_on = asyncio.Event()

    async def handler(msg: Msg) -> None:
        text = msg.data.decode()
        log.append(f"begin {text}")
        if text == "1":
            await asyncio.sleep(0)
            await go_on.wait()
        log.append(f"end {text}")

    bus.listen("t", handler)
    for n in range(4):
        bus.send("t", str(n).encode())
    await bus.nc.flush()
    assert log == ["begin 0", "end 0", "begin 1"]
    go_on.set()
    await eventually(lambda: len(log) == 8)
    assert log == [f"{step} {n}" for n in range(4) for step in ("begin", "end")]
    bus.send("t", b"4")
    await bus.nc.flush()
    assert log[-1] == "end 4", "back to handling where it was read"
    await bus.close()


async def test_a_handler_runs_in_a_task_so_that_it_may_set_timeouts(nats: NatsServer) -> None:
    bus = await admin(nats)
    outcomes: list[str] = []

    async def handler(msg: Msg) -> None:
        assert asyncio.current_task() is not None
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            outcomes.append("timeout")

    bus.listen("t", handler)
    bus.send("t", b"")
    bus.send("t", b"")
    await eventually(lambda: outcomes == ["timeout", "timeout"])
    await bus.close()


async def test_draining_a_subscription_waits_for_what_has_arrived(nats: NatsServer) -> None:
    bus = await admin(nats)
    done: list[bytes] = []

    async def handler(msg: Msg) -> None:
        await asyncio.sleep(0.01)
        done.append(msg.data)

    subscription = bus.listen("t", handler)
    for n in range(5):
        bus.send("t", b"%d" % n)
    await subscription.drain()
    assert done == [b"0", b"1", b"2", b"3", b"4"]
    bus.send("t", b"late")
    await bus.nc.flush()
    assert len(done) == 5
    await bus.close()


async def test_a_handler_that_fails_is_reported_and_the_next_message_is_handled(nats: NatsServer) -> None:
    reported: list[Exception] = []
    handled: list[bytes] = []

    async def on_error(error: Exception) -> None:
        reported.append(error)

    async def handler(msg: Msg) -> None:
        if msg.data.startswith(b"late"):
            await asyncio.sleep(0)
        if msg.data.endswith(b"bad"):
            raise ValueError(msg.data)
        handled.append(msg.data)

    client = LeanClient()
    await client.connect(nats.url, user=ADMIN, password=ADMIN, error_cb=on_error)
    client.listen("t", handler, pending=10)
    for data in (b"bad", b"one", b"late bad", b"two"):
        client.send("t", data)
    await eventually(lambda: handled == [b"one", b"two"])
    assert [type(error) for error in reported] == [ValueError, ValueError]
    await client.close()


async def test_who_is_too_slow_loses_messages_and_is_told(nats: NatsServer) -> None:
    reported: list[Exception] = []
    handled: list[bytes] = []
    go_on = asyncio.Event()

    async def on_error(error: Exception) -> None:
        reported.append(error)

    async def handler(msg: Msg) -> None:
        await go_on.wait()
        handled.append(msg.data)

    client = LeanClient()
    await client.connect(nats.url, user=ADMIN, password=ADMIN, error_cb=on_error)
    client.listen("t", handler, pending=2)
    for n in range(5):
        client.send("t", b"%d" % n)
    await eventually(lambda: len(reported) == 2)
    assert all(isinstance(error, SlowConsumerError) for error in reported)
    go_on.set()
    await eventually(lambda: handled == [b"0", b"1", b"2"])
    await client.close()


async def test_requests_and_ordinary_subscriptions_work_beside_it(nats: NatsServer) -> None:
    bus = await admin(nats)
    got: list[bytes] = []

    async def answer(msg: Msg) -> None:
        await msg.respond(b"to " + msg.data)

    async def note(msg: Msg) -> None:
        got.append(msg.data)

    bus.listen("question", answer)
    ordinary = await bus.nc.subscribe("news", cb=note)
    reply = await bus.nc.request("question", b"you", headers={"A": "b"})
    assert (reply.data, reply.headers) == (b"to you", {"A": "b"})
    for n in range(100):
        bus.send("news", b"%d" % n)
    await ordinary.drain()
    assert got == [b"%d" % n for n in range(100)], "a drain handles what had arrived"
    await bus.close()


async def test_a_drain_waits_for_what_nats_pys_own_coroutines_have_not_come_to(nats: NatsServer) -> None:
    handled: list[bytes] = []

    async def slow_to_hear(error: Exception) -> None:
        await asyncio.sleep(0.05)

    async def fail(msg: Msg) -> None:
        raise ValueError

    async def note(msg: Msg) -> None:
        handled.append(msg.data)

    client = LeanClient()
    await client.connect(nats.url, user=ADMIN, password=ADMIN, error_cb=slow_to_hear)
    client.listen("bad", fail, pending=10)
    ordinary = await client.subscribe("news", cb=note)
    client.send("bad", b"")
    client.send("news", b"1")
    await ordinary.drain()
    assert handled == [b"1"]
    await client.close()


async def test_what_is_published_while_the_server_is_away_arrives_in_order(nats: NatsServer) -> None:
    bus = await admin(nats)
    got: list[bytes] = []

    async def note(msg: Msg) -> None:
        got.append(msg.data)

    bus.listen("t", note)
    bus.send("t", b"0")
    await bus.nc.flush()
    nats.stop()
    await eventually(lambda: not bus.connected)
    for n in range(1, 5):
        bus.send("t", b"%d" % n)
    await nats.start()
    await eventually(lambda: got == [b"0", b"1", b"2", b"3", b"4"], 10)
    await bus.close()


async def test_large_messages_come_whole_and_writers_wait_for_a_server_that_does_not_read(
    nats: NatsServer,
) -> None:
    bus = await admin(nats)
    sizes: list[int] = []

    async def note(msg: Msg) -> None:
        sizes.append(len(msg.data))

    bus.listen("t", note)
    for _ in range(12):
        await bus.publish("t", b"x" * (4 << 20))
    await bus.nc.flush()
    assert sizes == [4 << 20] * 12
    await bus.close()


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0\r\n", "a\tb"])
async def test_a_subject_cannot_carry_a_command(shared_nats: NatsServer, subject: str) -> None:
    bus = await shared_nats.bus("ingress")
    with pytest.raises(BadSubjectError):
        bus.nc.send(subject, b"")
    with pytest.raises(BadSubjectError):
        bus.nc.send("a", b"", subject or "\n")
    await bus.close()
