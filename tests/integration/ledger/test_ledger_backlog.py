"""What tells a person in time: how full the stream of events is, and that a part of the service has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from nats.js import JetStreamContext
from nats.js.errors import APIError
from prometheus_client import Gauge
from support.attempts import ended, started
from test_ledger_events import attempts

from keyrail.bus.connection import Bus
from keyrail.contracts import streams, subjects
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.backlog import Backlog, alarming
from keyrail_cost_accounting.ledger import ClickHouse
from keyrail_cost_accounting.metrics import Metrics

WARNING = "the stream of events is nearly full"


def test_the_alarm_is_at_eighty_percent() -> None:
    assert not alarming(799, 1_000)
    assert alarming(800, 1_000)


async def test_a_stream_that_fills_up_is_told_of_before_it_refuses_events(
    js: JetStreamContext, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    info = await js.stream_info(streams.EVENTS.name)
    await js.update_stream(info.config.evolve(max_bytes=100_000))
    backlog = Backlog(js, streams.EVENTS, streams.COST_ACCOUNTING, metrics, every_s=0.02)
    task = asyncio.create_task(backlog.run())

    def value(gauge: Gauge) -> float:
        return gauge._value.get()  # pyright: ignore[reportPrivateUsage]

    async def reads(most: int) -> None:
        async with asyncio.timeout(5):
            while value(metrics.stream_bytes) <= most or not value(metrics.waiting):
                await asyncio.sleep(0.01)

    await js.publish(subjects.EVENT_ATTEMPT, b"x" * 70_000)
    await reads(70_000)
    assert 0.7 < value(metrics.stream_fill) < 0.8
    assert WARNING not in caplog.text
    await js.publish(subjects.EVENT_ATTEMPT, b"x" * 15_000)
    await reads(85_000)
    assert value(metrics.stream_fill) > 0.8
    async with asyncio.timeout(5):
        while WARNING not in caplog.text:
            await asyncio.sleep(0.01)
    with pytest.raises(APIError):
        await js.publish(subjects.EVENT_ATTEMPT, b"x" * 30_000)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_consumer_that_ends_by_an_error_of_ours_ends_the_process(
    bus: Bus, js: JetStreamContext, ledger: ClickHouse, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ledger, "insert", broken)
    service = CostAccounting(bus, ledger, metrics)
    told = asyncio.Event()
    await service.start(on_end=told.set)
    await attempts(js, ended(started()))
    await asyncio.wait_for(told.wait(), 10)
    with pytest.raises(ZeroDivisionError):
        await service.drain()
