import asyncio

import pytest
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from support.nats import NatsServer

from keyrail.bus.connection import Bus
from keyrail.bus.errors import MessageTooLarge
from keyrail.contracts import streams, subjects


async def denied(bus: Bus, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the server has refused something: its error arrives before the answer to a second ping."""
    await bus.nc.flush()
    await bus.nc.flush()
    errors = [str(vars(r).get("error", "")) for r in caplog.records if r.message == "bus error"]
    return any("permissions violation" in error.lower() for error in errors)


async def ignore(msg: Msg) -> None:
    pass


@pytest.mark.parametrize(
    ("service", "subject"),
    [
        ("router", subjects.EVENT_ATTEMPT),
        ("router", subjects.REQUEST),
        ("ingress", subjects.call("openai")),
        ("ingress", subjects.EVENT_ATTEMPT),
        ("ingress", "$KV.keyrail_tokens.x"),
        ("provider-worker", "$KV.keyrail_config.current"),
        ("provider-worker", subjects.REQUEST),
        ("provider-worker", "$JS.API.STREAM.DELETE.KEYRAIL_EVENTS"),
        ("cost-accounting", subjects.EVENT_ATTEMPT),
        ("control", subjects.call("openai")),
        ("racer", subjects.EVENT_ATTEMPT),
        ("racer", subjects.REQUEST),
        ("racer", "$KV.keyrail_budgets.x"),
        ("control", "$JS.API.DIRECT.GET.KV_keyrail_cache.$KV.keyrail_cache.t.k"),
        ("router", "$JS.API.DIRECT.GET.KV_keyrail_cache.$KV.keyrail_cache.t.k"),
        ("ingress", "$JS.API.STREAM.MSG.GET.KV_keyrail_cache"),
        ("control", "$KV.keyrail_cache.t.k"),
    ],
)
async def test_a_service_may_not_publish_what_is_not_its_own(
    shared_nats: NatsServer, caplog: pytest.LogCaptureFixture, service: str, subject: str
) -> None:
    bus = await shared_nats.bus(service)
    await bus.publish(subject, b"{}")
    assert await denied(bus, caplog)
    await bus.close()


@pytest.mark.parametrize(
    ("service", "subject", "queue"),
    [
        ("router", "_INBOX_ingress.>", ""),
        ("provider-worker", "_INBOX_ingress.>", ""),
        ("control", "_INBOX_ingress.>", ""),
        ("router", subjects.REQUEST, ""),  # a sniffer beside the queue group
        ("provider-worker", subjects.CALLS, ""),
        ("ingress", subjects.CALLS, "provider-worker"),
        ("cost-accounting", subjects.CALLS, ""),
        ("racer", subjects.CALLS, "provider-worker"),
        ("racer", subjects.RACES, ""),
        ("provider-worker", "_INBOX_racer.>", ""),
    ],
)
async def test_a_service_may_not_listen_to_what_is_not_its_own(
    shared_nats: NatsServer, caplog: pytest.LogCaptureFixture, service: str, subject: str, queue: str
) -> None:
    bus = await shared_nats.bus(service)
    await bus.subscribe(subject, ignore, queue=queue)
    assert await denied(bus, caplog)
    await bus.close()


async def test_a_message_just_below_the_limit_passes_and_one_above_kills_no_connection(
    shared_nats: NatsServer,
) -> None:
    router, worker = await shared_nats.bus("router"), await shared_nats.bus("provider-worker")
    sizes: asyncio.Queue[int] = asyncio.Queue()

    async def on_slip(msg: Msg) -> None:
        await sizes.put(len(msg.data))

    await worker.subscribe(subjects.CALLS, on_slip, queue="provider-worker")
    await worker.nc.flush()
    with pytest.raises(MessageTooLarge):
        await router.publish(subjects.call("openai"), b"x" * (router.max_message + 1), "_INBOX_router.a")
    await router.publish(subjects.call("openai"), b"x" * router.max_message, "_INBOX_router.a")
    assert await asyncio.wait_for(sizes.get(), 5) == router.max_message
    assert router.connected
    await router.close()
    await worker.close()


async def test_every_service_may_watch_what_it_needs(
    shared_nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    for service, bucket in [
        ("ingress", streams.CONFIG),
        ("ingress", streams.TOKENS),
        ("router", streams.CONFIG),
        ("provider-worker", streams.CONFIG),
        ("control", streams.TOKENS),
    ]:
        bus = await shared_nats.bus(service)
        watcher = await (await bus.js.key_value(bucket.name)).watchall()
        assert await watcher.updates(timeout=3) is None
        await watcher.stop()
        assert not await denied(bus, caplog)
        await bus.close()
    bus = await shared_nats.bus("cost-accounting")
    bus.js._timeout = 0.5  # pyright: ignore[reportPrivateUsage] a denied request has no answer
    with pytest.raises((NatsError, TimeoutError)):
        await bus.js.key_value(streams.TOKENS.name)
    assert await denied(bus, caplog)
    await bus.close()
