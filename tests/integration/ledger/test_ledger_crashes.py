"""What a dead process leaves: a consumer killed between insert and ack, a worker killed in a call."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from support.attempts import ended, started

from keyrail.contracts import streams, subjects
from keyrail.contracts.base import encode_all, now_ms
from keyrail.contracts.ledger import AttemptsQuery, CostsQuery, LedgerPage, RequestQuery
from keyrail.contracts.signals import Alive

Ask = Callable[[CostsQuery | AttemptsQuery | RequestQuery], Awaitable[LedgerPage]]
Settled = Callable[[], Awaitable[None]]


def an_hour_ago() -> int:
    return now_ms() - 3_600_000


@asynccontextmanager
async def process(url: str, directory: Path, mode: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """cost-accounting in a process, killed -9 at the end."""
    script = Path(__file__).with_name("ledger_process.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), url, str(directory), mode, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield child
    finally:
        child.kill()
        await child.wait()


async def says(child: asyncio.subprocess.Process, word: str) -> None:
    assert child.stdout is not None
    async with asyncio.timeout(20):
        while (line := await child.stdout.readline()).decode().strip() != word:
            assert line, f"the process ended before it said {word}"


async def test_a_consumer_killed_between_insert_and_ack_counts_nothing_twice(
    server: str, js: JetStreamContext, tmp_path: Path, ask: Ask, settled: Settled
) -> None:
    durable = streams.COST_ACCOUNTING
    await js.add_consumer(
        durable.stream,
        ConsumerConfig(
            durable_name=durable.name,
            filter_subject=durable.subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=1.0,
            max_ack_pending=durable.max_ack_pending,
            max_deliver=-1,
        ),
    )
    for _ in range(10):
        attempt = started(started_ms=an_hour_ago())
        await js.publish(subjects.EVENT_ATTEMPT, encode_all([attempt, ended(attempt, "0.01")]))

    async with process(server, tmp_path, "hang") as killed:
        await says(killed, "inserted")
    assert (await js.consumer_info(durable.stream, durable.name)).num_ack_pending == 10

    more = started(started_ms=an_hour_ago())
    await js.publish(subjects.EVENT_ATTEMPT, encode_all([more, ended(more, "0.01")]))
    async with process(server, tmp_path, "serve") as again:
        await says(again, "ready")
        await settled()
        (sums,) = (await ask(CostsQuery())).rows

    assert (sums["attempts"], sums["requests"], sums["cost_usd"]) == (11, 11, "0.11")


async def test_what_a_silent_worker_left_open_is_settled_as_lost_until_its_settlement_comes(
    server: str, js: JetStreamContext, tmp_path: Path, ask: Ask, settled: Settled
) -> None:
    dead, living = [started(worker=name, started_ms=an_hour_ago()) for name in ("dead", "living")]
    await js.publish(subjects.EVENT_ATTEMPT, encode_all([dead, living]))

    async def live() -> None:
        while True:
            alive = Alive(service="provider-worker", instance="living", sent_ms=now_ms())
            await js._nc.publish(subjects.alive("provider-worker"), alive.encode())  # pyright: ignore[reportPrivateUsage]
            await asyncio.sleep(0.2)

    async def statuses() -> dict[str, object]:
        rows = (await ask(AttemptsQuery())).rows
        return {str(row["attempt_id"]): (row["status"], row["cost_usd"], row["estimated"]) for row in rows}

    heartbeat = asyncio.create_task(live())
    async with process(server, tmp_path, "serve") as child:
        await says(child, "ready")
        await settled()
        assert (await statuses())[dead.attempt_id] == ("running", None, False)

        async with asyncio.timeout(20):
            while (await statuses())[dead.attempt_id] == ("running", None, False):
                pass  # asking takes as long as a poll should

        assert await statuses() == {
            dead.attempt_id: ("lost", None, True),
            living.attempt_id: ("running", None, False),
        }
        await js.publish(subjects.EVENT_ATTEMPT, encode_all([dead]))
        await settled()
        assert (await statuses())[dead.attempt_id] == ("lost", None, True)
        await js.publish(subjects.EVENT_ATTEMPT, encode_all([ended(dead, "0.01")]))
        await settled()
        assert (await statuses())[dead.attempt_id] == ("ok", "0.01", False)
    heartbeat.cancel()
