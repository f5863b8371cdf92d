"""What workers tell each other, and routers, of targets that are down and limits that are used up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.nats import NatsServer, eventually

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.views import KvView
from keyrail.contracts import streams
from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.health import RateWindows, TargetHealth, target_name, windows_name
from keyrail.contracts.slips import Facts, Plan, Slip, Target
from keyrail.keys.book import KeyBook
from keyrail_provider_worker.breakers import Breakers
from keyrail_provider_worker.windows import Windows
from keyrail_router.targets import Targets

TARGET = Target(provider="groq", model="meta/llama-3:free")
NAME = target_name(TARGET.provider, TARGET.model)
DOWN = Failure(kind="server", message="", status=502, upstream_status=500)
SLIP = Slip(
    request_id="r",
    inbox="_INBOX_ingress.x.r.0",
    tenant="default",
    key_id="k",
    received_ms=0,
    deadline_ms=0,
    take_by_ms=0,
    facts=Facts(model="m", max_output_tokens=10),
    plan=Plan(strategy="direct", targets=(TARGET,)),
)


def said(remaining: int, reset: bytes = b"30s") -> dict[bytes, bytes]:
    return {
        b"x-ratelimit-limit-requests": b"100",
        b"x-ratelimit-remaining-requests": b"%d" % remaining,
        b"x-ratelimit-reset-requests": reset,
    }


class Worker:
    """What of a worker has to do with targets. Its outages have no jitter."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.breakers = Breakers(Documents(bus, streams.TARGET_HEALTH.name), lambda: 0.0)
        self.windows = Windows(Documents(bus, streams.WINDOWS.name))
        self._views = (
            KvView(bus, streams.TARGET_HEALTH.name, self.breakers.put, self.breakers.drop),
            KvView(bus, streams.WINDOWS.name, self.windows.put, self.windows.drop),
        )

    async def start(self) -> None:
        for view in self._views:
            view.start()
        await asyncio.gather(*(view.loaded.wait() for view in self._views))
        self.breakers.start()
        self.windows.start()

    async def stop(self) -> None:
        await self.breakers.stop()
        await self.windows.stop()
        for view in self._views:
            await view.stop()
        await self.bus.close()

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.breakers.failed(TARGET, DOWN, now_ms())

    def open(self) -> bool:
        return self.breakers.open_until_ms(TARGET) is not None


class Router:
    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.targets = Targets(KeyBook())
        known = self.targets
        self._views = (
            KvView(bus, streams.TARGET_HEALTH.name, known.put_health, known.drop_health),
            KvView(bus, streams.WINDOWS.name, known.put_windows, known.drop_windows),
        )

    async def start(self) -> None:
        for view in self._views:
            view.start()
        await asyncio.gather(*(view.loaded.wait() for view in self._views))

    async def stop(self) -> None:
        for view in self._views:
            await view.stop()
        await self.bus.close()

    def limited(self) -> bool:
        return self.targets.limited_until_ms("default", TARGET, SLIP.facts) is not None


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    server.stop()


@pytest.fixture
async def three(nats: NatsServer) -> AsyncIterator[tuple[Worker, Worker, Router]]:
    async with AsyncExitStack() as stack:
        one, two = Worker(await nats.bus("provider-worker")), Worker(await nats.bus("provider-worker"))
        router = Router(await nats.bus("router"))
        for each in (one, two, router):
            await each.start()
            stack.push_async_callback(each.stop)
        yield one, two, router


Three = tuple[Worker, Worker, Router]


async def stored(bus: Bus) -> TargetHealth | None:
    document = await Documents(bus, streams.TARGET_HEALTH.name).get(NAME)
    return TargetHealth.decode(document) if document else None


async def test_what_one_worker_opens_is_open_for_all(three: Three) -> None:
    one, two, router = three
    one.fail(4)
    assert not one.open()
    one.fail(1)
    assert one.open(), "it believes itself at once"
    await eventually(two.open)
    await eventually(lambda: router.targets.until_ms(TARGET) is not None)
    assert router.targets.share(TARGET) == 0
    health = await stored(one.bus)
    assert health is not None
    assert (health.provider, health.model, health.why, health.times) == ("groq", TARGET.model, "server", 1)
    assert health.until_ms - health.since_ms == 5_000
    two.fail(9)
    assert await stored(two.bus) == health, "failures while it is open are of the same outage"


async def test_two_workers_that_open_at_once_make_one_outage_of_the_later_end(three: Three) -> None:
    one, two, router = three
    one.fail(5)
    two.fail(5)
    ends = [worker.breakers.open_until_ms(TARGET) or 0 for worker in (one, two)]
    await eventually(lambda: router.targets.until_ms(TARGET) == max(ends))
    await eventually(lambda: {w.breakers.open_until_ms(TARGET) for w in (one, two)} == {max(ends)})
    health = await stored(one.bus)
    assert health is not None
    assert (health.until_ms, health.times) == (max(ends), 1)


async def test_a_probe_that_fails_opens_again_for_longer_and_one_that_is_good_does_not(three: Three) -> None:
    one, two, router = three
    at_ms = now_ms()
    past = TargetHealth(
        provider="groq",
        model=TARGET.model,
        since_ms=at_ms - 6_000,
        until_ms=at_ms - 1_000,
        times=2,
        why="server",
    )
    await Documents(one.bus, streams.TARGET_HEALTH.name).change(NAME, lambda _: (past.encode(), None))
    await eventually(lambda: one.breakers.of(TARGET) == two.breakers.of(TARGET) == past)
    assert 0.1 <= router.targets.share(TARGET) < 1
    one.breakers.failed(TARGET, DOWN, at_ms - 2_000)
    assert not one.open(), "it had begun before the target was back"
    one.breakers.succeeded(TARGET)
    one.fail(4)
    assert not one.open(), "it had been good since"
    two.fail(1)
    assert two.open()
    await eventually(one.open)
    health = await stored(one.bus)
    assert health is not None
    assert (health.times, health.until_ms - health.since_ms) == (3, 20_000)


async def test_what_has_little_left_is_told_to_all_and_what_has_enough_is_not(three: Three) -> None:
    one, two, router = three
    one.windows.heard(SLIP, "main", said(50))
    assert not one.windows.any
    one.windows.heard(SLIP, "main", said(5))
    await eventually(router.limited)
    await eventually(lambda: two.windows.any)
    assert two.windows.scarce(SLIP, TARGET, ["main", "other"]) == {"main"}
    one.windows.heard(SLIP, "main", said(90))
    await eventually(lambda: not router.limited())
    await eventually(lambda: not one.windows.any)
    await eventually(lambda: not two.windows.any)


async def test_others_are_told_of_one_key_at_most_once_a_second(three: Three) -> None:
    one, _, router = three
    for remaining in range(20, 0, -1):
        one.windows.heard(SLIP, "main", said(remaining))
        await asyncio.sleep(0)
    await eventually(router.limited)
    bucket = await one.bus.js.key_value(streams.WINDOWS.name)
    name = windows_name("default", TARGET.provider, "main", TARGET.model)
    entry = await bucket.get(name)
    assert (entry.revision or 0) <= 3, "of twenty words the first, and the last one a second later"
    assert RateWindows.decode(entry.value or b"").windows[0].remaining == 1


async def test_a_provider_without_a_key_that_asks_to_wait_is_left_alone_by_all(three: Three) -> None:
    one, two, router = three
    wait = Failure(kind="rate", message="", status=429, retry_after_s=30.0)
    one.windows.refused(SLIP, "main", wait)
    assert not one.windows.any, "the key is out: that is told elsewhere"
    one.windows.refused(SLIP, None, wait)
    await eventually(router.limited)
    one.windows.refused(SLIP, None, wait.replace(retry_after_s=1.0))
    until = router.targets.limited_until_ms("default", TARGET, SLIP.facts)
    assert until is not None
    assert until > now_ms() + 20_000, "a later, shorter wait does not shorten it"
    await eventually(lambda: two.windows.any)
