"""What a worker keeps of attempts: collected in memory, sealed, published on a real nats-server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from nats.js.api import StreamConfig
from support.attempts import started
from support.nats import NatsServer, eventually

from keyrail.bus.connection import Bus
from keyrail.bus.permissions import ADMIN
from keyrail.contracts import config, streams, subjects
from keyrail.contracts.config import ConfigView, TenantConfig
from keyrail.contracts.contents import ContentKept
from keyrail.contracts.events import AttemptStarted
from keyrail.keys.sealed import new_identity
from keyrail.keys.sealed_contents import Opener
from keyrail.telemetry import metrics
from keyrail_provider_worker import contents as module
from keyrail_provider_worker.contents import OVERHEAD, Contents, Kept

IDENTITY, RECIPIENT = new_identity()
ON = ConfigView(tenants={"acme": TenantConfig(contents=config.Contents(recipient=RECIPIENT, keep_days=7))})
OFF = ConfigView(tenants={"acme": TenantConfig()})


def counted(outcome: str) -> float:
    return metrics.counter(metrics.CONTENTS, outcome).value


def held() -> float:
    return metrics.CONTENTS_HELD_BYTES.own.value


class Running:
    """The contents of one worker; `view` may be changed."""

    def __init__(self, bus: Bus, *, most_held: int = module.MOST_HELD) -> None:
        self.view = ON
        self.contents = Contents(bus, lambda: self.view, most_held=most_held)
        self.contents.start()

    def keep(self, request: bytes, *answer: bytes) -> AttemptStarted:
        """One attempt from begin to end."""
        kept, event = self.contents.begin(request), started(route="chat")
        for piece in answer:
            kept.add(piece)
        self.contents.end(kept, event, "openai-chat")
        return event


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    server.stop()


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:
    bus = await nats.bus("provider-worker")
    yield bus
    await bus.close()


async def published(nats: NatsServer, count: int) -> list[ContentKept]:
    """Everything in the stream, once it is as much as that."""
    admin = await nats.bus(ADMIN)
    subscription = await admin.js.pull_subscribe_bind(
        streams.COST_ACCOUNTING_CONTENTS.name, streams.CONTENTS.name
    )
    found = [
        ContentKept.decode(msg.data) for _ in range(count) for msg in await subscription.fetch(1, timeout=10)
    ]
    assert (await admin.js.stream_info(streams.CONTENTS.name)).state.messages == count
    await admin.close()
    return found


def opened(content: ContentKept) -> tuple[bytes | None, bytes | None]:
    opener = Opener(IDENTITY)
    return (
        opener.open(content.request, content.request_bytes) if content.request is not None else None,
        opener.open(content.answer, content.answer_bytes) if content.answer is not None else None,
    )


async def test_what_is_published_can_be_opened_by_the_recipient_alone(nats: NatsServer, bus: Bus) -> None:
    before, running = counted("kept"), Running(bus)
    event = running.keep(b'{"messages": []}', b"data: 1\n\n", b"data: 2\n\n")
    (content,) = await published(nats, 1)
    assert opened(content) == (b'{"messages": []}', b"data: 1\n\ndata: 2\n\n")
    assert content.replace(request=None, answer=None) == ContentKept(
        attempt_id=event.attempt_id,
        request_id=event.request_id,
        tenant="acme",
        team="search",
        route="chat",
        provider="openai",
        model=event.model,
        dialect="openai-chat",
        recipient=RECIPIENT,
        request_bytes=16,
        answer_bytes=18,
        started_ms=event.started_ms,
        expires_ms=event.started_ms + 7 * 86_400_000,
    )
    other, _ = new_identity()
    assert content.request is not None
    with pytest.raises(ValueError, match="another identity"):
        Opener(other).open(content.request, 16)
    await running.contents.stop()
    assert counted("kept") == before + 1
    assert held() == 0


async def test_an_attempt_without_an_answer_has_an_empty_one(nats: NatsServer, bus: Bus) -> None:
    running = Running(bus)
    running.keep(b"{}")
    assert opened((await published(nats, 1))[0]) == (b"{}", b"")
    await running.contents.stop()


async def test_what_is_no_more_wanted_at_the_end_is_not_kept(nats: NatsServer, bus: Bus) -> None:
    before, running = counted("off"), Running(bus)
    kept = running.contents.begin(b"{}")
    running.view = OFF
    running.contents.end(kept, started(route="chat"), "openai-chat")
    running.contents.end(running.contents.begin(b"{}"), None, "openai-chat")
    assert counted("off") == before + 1
    assert held() == 0
    await running.contents.stop()
    await published(nats, 0)


async def test_more_than_may_be_held_is_dropped_and_what_is_under_way_stays(
    nats: NatsServer, bus: Bus
) -> None:
    before = counted("memory")
    running = Running(bus, most_held=10_000 + 2 * OVERHEAD)
    first, second = running.contents.begin(b"1" * 4_000), running.contents.begin(b"2" * 4_000)
    first.add(b"a" * 1_000)
    second.add(b"b" * 2_000)
    assert (first.over, second.over) == (False, True), "the one that it was too much for"
    first.add(b"a" * 3_000)
    assert running.contents.begin(b"3" * 4_000).over
    second.add(b"b" * 9_000)
    event = started(route="chat")
    running.contents.end(second, started(route="chat"), "openai-chat")
    running.contents.end(first, event, "openai-chat")
    (content,) = await published(nats, 1)
    assert content.attempt_id == event.attempt_id
    assert opened(content) == (b"1" * 4_000, b"a" * 4_000)
    await running.contents.stop()
    assert counted("memory") == before + 2
    assert held() == 0


async def test_a_part_that_the_bus_does_not_take_is_left_out(nats: NatsServer, bus: Bus) -> None:
    before, running = counted("partial"), Running(bus)
    small, large = b"{}", os.urandom(7 << 20)
    running.keep(small, large)
    running.keep(large, small)
    running.keep(large, large[:-1])
    first, second, third = await published(nats, 3)
    assert opened(first) == (small, None)
    assert first.answer_bytes == len(large)
    assert opened(second) == (None, small)
    assert opened(third) == (None, None)
    assert (third.request_bytes, third.answer_bytes) == (len(large), len(large) - 1)
    await running.contents.stop()
    assert counted("partial") == before + 3


async def test_an_answer_beyond_what_is_collected_has_its_size_alone(
    nats: NatsServer, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 1_000)
    running = Running(bus)
    kept, event = running.contents.begin(b"{}"), started(route="chat")
    kept.add(b"x" * 600)
    assert held() == OVERHEAD + 602
    kept.add(b"x" * 600)
    kept.add(b"x" * 600)
    assert held() == OVERHEAD + 2
    running.contents.end(kept, event, "openai-chat")
    (content,) = await published(nats, 1)
    assert opened(content) == (b"{}", None)
    assert content.answer_bytes == 1_800
    await running.contents.stop()


async def test_a_full_stream_drops_contents_at_once_and_takes_them_again_when_there_is_room(
    nats: NatsServer, bus: Bus
) -> None:
    admin = await nats.bus(ADMIN)
    info = await admin.js.stream_info(streams.CONTENTS.name)

    async def room(most: int) -> None:
        settings: StreamConfig = info.config.evolve(max_bytes=most)
        await admin.js.update_stream(settings)

    await room(5_000)
    before, running = counted("full"), Running(bus)
    for _ in range(10):
        running.keep(os.urandom(1_000))
    async with asyncio.timeout(5):
        await running.contents.stop()
    full = counted("full") - before
    assert full > 5
    await room(streams.CONTENTS.max_bytes)
    again = Running(bus)
    again.keep(b"{}")
    await published(nats, 11 - int(full))
    await again.contents.stop()
    await admin.close()
    assert held() == 0


async def test_a_restart_of_the_bus_loses_none_and_doubles_none(nats: NatsServer, bus: Bus) -> None:
    running = Running(bus)
    events = [running.keep(b"1")]
    await eventually(lambda: held() == 0)
    await nats.restart()
    events += [running.keep(b"%d" % n) for n in range(5)]
    assert [each.attempt_id for each in await published(nats, 6)] == [each.attempt_id for each in events]
    await running.contents.stop()


async def test_an_error_of_one_content_is_counted_and_the_next_goes_on(
    nats: NatsServer, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    before, running = counted("failed"), Running(bus)
    broken = config.Contents(recipient="age1broken-canary")
    running.view = ConfigView(tenants={"acme": TenantConfig(contents=broken)})
    running.keep(b"plaintext-canary")
    running.view = ON
    running.keep(b"{}")
    assert opened((await published(nats, 1))[0]) == (b"{}", b"")
    assert counted("failed") == before + 1
    assert "canary" not in "".join(f"{vars(record)}" for record in caplog.records)
    await running.contents.stop()


async def test_the_loop_runs_on_while_a_large_content_is_sealed(bus: Bus) -> None:
    """32 MiB take a second; the loop is looked at every millisecond meanwhile."""
    running = Running(bus)
    loop = asyncio.get_running_loop()
    running.keep(os.urandom(8 << 20), *(os.urandom(1 << 20) for _ in range(16)))
    gaps: list[float] = []
    last = loop.time()
    while held() > 0:
        await asyncio.sleep(0.001)
        gaps.append(loop.time() - last)
        last = loop.time()
    await running.contents.stop()
    assert sum(gaps) > 0.2, "it took a while"
    assert max(gaps) < sum(gaps) / 2


async def test_only_a_worker_may_publish_contents(nats: NatsServer) -> None:
    for service in ("ingress", "router", "control", "cost-accounting"):
        other = await nats.bus(service)
        await other.publish(subjects.CONTENT, b"{}")
        await other.nc.flush()
        await other.close()
    await published(nats, 0)


def test_nothing_is_added_to_what_was_taken() -> None:
    kept = Kept(module.Held(10_000), b"{}")
    kept.add(b"1")
    request, answer = kept.take()
    kept.add(b"2")
    assert (request, answer) == (b"{}", [b"1"])
    assert cast("list[bytes]", answer) == [b"1"]
