import asyncio
import time

from nats.aio.msg import Msg
from support.nats import NatsServer, eventually

from keyrail.bus.forward import PATIENCE_S, Forwarder
from keyrail.contracts import subjects


async def test_a_forwarder_learns_that_nobody_is_there_after_its_patience(nats: NatsServer) -> None:
    bus = await nats.bus("router")
    forwarder = Forwarder(bus)
    await forwarder.start()
    refused = asyncio.Event()

    async def on_refused() -> None:
        refused.set()

    began = time.monotonic()
    await forwarder.forward(subjects.call("openai"), b"slip", on_refused)
    await asyncio.wait_for(refused.wait(), PATIENCE_S + 1)
    assert time.monotonic() - began < PATIENCE_S + 0.5
    await bus.close()


async def test_a_slip_waits_for_a_worker_that_is_restarting(nats: NatsServer) -> None:
    router, worker = await nats.bus("router"), await nats.bus("provider-worker")
    forwarder = Forwarder(router)
    await forwarder.start()
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    refusals: list[bool] = []

    async def on_refused() -> None:
        refusals.append(True)

    async def on_slip(msg: Msg) -> None:
        taken.set_result(msg.data)

    await forwarder.forward(subjects.call("openai"), b"slip", on_refused)
    await worker.subscribe(subjects.CALLS, on_slip, queue="provider-worker")
    assert await asyncio.wait_for(taken, 2) == b"slip"
    await forwarder.settle()
    assert not refusals
    await router.close()
    await worker.close()


async def test_a_slip_is_delivered_once_to_one_of_two_workers(nats: NatsServer) -> None:
    router = await nats.bus("router")
    workers = [await nats.bus("provider-worker") for _ in range(2)]
    seen: list[bytes] = []

    async def on_slip(msg: Msg) -> None:
        seen.append(msg.data)

    for worker in workers:
        await worker.subscribe(subjects.CALLS, on_slip, queue="provider-worker")
        await worker.nc.flush()
    forwarder = Forwarder(router)
    await forwarder.start()

    async def on_refused() -> None:
        seen.append(b"refused")

    for n in range(100):
        await forwarder.forward(subjects.call("openai"), b"%d" % n, on_refused)
    await forwarder.settle()
    for worker in workers:
        await worker.nc.flush()
    await eventually(lambda: len(seen) >= 100)
    assert sorted(seen) == sorted(b"%d" % n for n in range(100))
    for bus in (router, *workers):
        await bus.close()
