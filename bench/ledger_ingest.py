"""Whether one cost-accounting process keeps up: events of publishers' own making on a real nats-server.

A backlog first, which the process then works off as fast as it can; then a steady rate.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections import deque
from decimal import Decimal
from pathlib import Path
from statistics import median

from nats.js import JetStreamContext
from pydantic import BaseModel

from bench.children import Child, accepts, free_port, running
from bench.cpu import Process, cpu_us, pss_bytes
from bench.machine import Machine, look
from bench.report import align
from bench.report import number as shown
from bench.settings import child_environment
from keyrail.bus.connection import Bus, BusSettings, connect
from keyrail.bus.events import EventPublisher
from keyrail.bus.permissions import ADMIN, SERVICES, server_config
from keyrail.contracts import streams, subjects
from keyrail.contracts.base import new_id, now_ms
from keyrail.contracts.events import AttemptSettled, AttemptStarted, RequestFinished
from keyrail.contracts.ledger import CostsQuery, LedgerPage, LedgerQuery
from keyrail.contracts.usage import Price, Usage
from keyrail_embedded import setup

TARGET = 5_000
"""Events a second."""
OF_A_REQUEST = 3
WORKERS = 2
TICK_S = 0.01
LIFE_TICKS = 80
"""How long a call takes: its settlement is in another batch than its start as often as not."""
COST = Decimal("0.000123456789")
MODELS = ("gpt-5.4", "gpt-5.4-mini", "claude-opus-4-5", "gemini-3-flash")


class Ingest(BaseModel):
    """What was measured. Times in seconds, sizes in bytes."""

    machine: Machine
    backlog_events: int = 0
    backlog_messages: int = 0
    drain_s: float = 0.0
    drain_cpu_us: float = 0.0  # an event
    steady_rate: float = 0.0
    steady_cpu_us: float = 0.0  # an event
    waiting_s: list[float] = []  # how far the ledger was behind at each look
    pss: list[int] = []
    problems: list[str] = []

    @property
    def drained_a_second(self) -> float:
        """Events of the backlog a second."""
        return self.backlog_events / self.drain_s


class Traffic:
    """Requests as two workers and an ingress tell of them, by their own publishers."""

    def __init__(self, workers: list[EventPublisher], ingress: EventPublisher) -> None:
        self._workers = workers
        self._ingress = ingress
        self._running: deque[list[AttemptStarted]] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self.requests = 0

    async def run(self, rate: int, seconds: float) -> float:
        """Begin requests at this many events a second; returns the rate that it was, all acknowledged."""
        began = time.monotonic()
        done = 0
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * rate / OF_A_REQUEST)
            self._begin(due - done)
            done = due
            if len(self._running) > LIFE_TICKS:
                self._end(self._running.popleft())
            await asyncio.sleep(TICK_S)
        passed = time.monotonic() - began
        while self._running:
            self._end(self._running.popleft())
        await asyncio.gather(*self._starting)
        for publisher in (*self._workers, self._ingress):
            await publisher.flush()
        return done * OF_A_REQUEST / passed

    def _begin(self, count: int) -> None:
        begun = [_started(self.requests + number) for number in range(count)]
        self.requests += count
        self._running.append(begun)
        for number, event in enumerate(begun):
            task = asyncio.create_task(self._workers[number % WORKERS].commit(event))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    def _end(self, begun: list[AttemptStarted]) -> None:
        for number, event in enumerate(begun):
            self._workers[number % WORKERS].post(_settled(event))
            self._ingress.post(_finished(event))


def _started(number: int) -> AttemptStarted:
    at = now_ms()
    return AttemptStarted(
        attempt_id=new_id(),
        request_id=new_id(),
        epoch=1,
        hop=0,
        tenant=f"tenant-{number % 3}",
        key_id=f"key-{number % 40}",
        team=f"team-{number % 7}",
        feature=f"feature-{number % 11}",
        route=f"route-{number % 5}",
        strategy="fallback",
        revision=17,
        provider="openai",
        model=MODELS[number % 4],
        provider_key_id=f"pk-{number % 6}",
        worker=f"worker-{number % WORKERS}",
        stream=number % 2 == 0,
        started_ms=at,
        received_ms=at - 3,
        router="router-1",
        held_usd=Decimal("0.0125"),
        reference="openai/gpt-5.4",
    )


def _settled(event: AttemptStarted) -> AttemptSettled:
    raw = {
        "prompt_tokens": 1201,
        "completion_tokens": 204,
        "total_tokens": 1405,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 64, "accepted_prediction_tokens": 0},
    }
    return AttemptSettled(
        started=event,
        status="ok",
        http_status=200,
        finish="stop",
        upstream_id=f"chatcmpl-{event.attempt_id}",
        usage=Usage(
            input_tokens=1201, output_tokens=204, cache_read_tokens=1024, reasoning_tokens=64, raw=raw
        ),
        price=Price(
            cost_usd=COST, source="catalogue", version="0.1.9", uncached_usd=COST, reference_usd=COST
        ),
        first_byte_ms=210,
        first_content_ms=260,
        duration_ms=800,
        settled_ms=now_ms(),
    )


def _finished(event: AttemptStarted) -> RequestFinished:
    return RequestFinished(
        request_id=event.request_id,
        tenant=event.tenant,
        key_id=event.key_id,
        team=event.team,
        feature=event.feature,
        model=f"{event.provider}/{event.model}",
        dialect="openai-chat",
        stream=event.stream,
        status="ok",
        http_status=200,
        dispatches=1,
        ingress="ingress-1",
        received_ms=event.started_ms - 3,
        first_byte_ms=214,
        duration_ms=806,
    )


async def _waiting(js: JetStreamContext) -> int:
    info = await js.consumer_info(streams.EVENTS.name, streams.COST_ACCOUNTING.name)
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


class Bench:
    """One nats-server and, from `serve` on, one cost-accounting process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        passwords = {name: name for name in (*SERVICES, ADMIN)}
        self.config = folder / "nats.conf"
        self.config.write_text(server_config(passwords, store=str(folder / "js"), port=self.port))
        (folder / "password").write_text("cost-accounting")
        self.result = Ingest(machine=look())

    def nats(self) -> list[str]:
        """Its command."""
        binary = shutil.which("nats-server", path=str(Path(sys.executable).parent))
        assert binary is not None, "nats-server is not installed"
        return [binary, "-c", str(self.config)]

    def environment(self) -> dict[str, str]:
        """Of cost-accounting: the embedded ledger."""
        return child_environment(
            self.folder,
            KEYRAIL_NATS_URL=self.url,
            KEYRAIL_NATS_USER="cost-accounting",
            KEYRAIL_NATS_PASSWORD_FILE=str(self.folder / "password"),
            KEYRAIL_LEDGER=str(self.folder / "ledger"),
        )

    async def bus(self, service: str) -> Bus:
        """A connection as this service."""
        return await connect(BusSettings(self.url, service, service, service))

    async def run(self, seconds: float, rate: int) -> Ingest:
        """The two loads. nats-server runs already."""
        await setup.apply(self.url, ADMIN)
        buses = [await self.bus("provider-worker") for _ in range(WORKERS)] + [await self.bus("ingress")]
        publishers = [EventPublisher(bus, subjects.EVENT_ATTEMPT) for bus in buses[:-1]]
        publishers.append(EventPublisher(buses[-1], subjects.EVENT_REQUEST))
        for publisher in publishers:
            publisher.start()
        traffic = Traffic(publishers[:-1], publishers[-1])
        setup_bus = await connect(BusSettings(self.url, "setup", ADMIN, ADMIN))

        await traffic.run(rate, seconds)
        self.result.backlog_events = traffic.requests * OF_A_REQUEST
        self.result.backlog_messages = await _waiting(setup_bus.js)
        print(f"  backlog: {self.result.backlog_events:,} events", flush=True)
        command = [sys.executable, "-m", "keyrail_cost_accounting"]
        with running(command, self.environment(), self.folder / "cost-accounting.log") as child:
            await self._drain(child, setup_bus.js)
            print(f"  drained at {self.result.drained_a_second:,.0f} events/s", flush=True)
            await self._steady(child, setup_bus.js, traffic, seconds, rate)
            await self._check(traffic)
        for bus in (*buses, setup_bus):
            await bus.close()
        return self.result

    async def _drain(self, child: Child, js: JetStreamContext) -> None:
        before = self.result.backlog_messages
        while await _waiting(js) == before:  # it opens its ledger
            await asyncio.sleep(0.005)
        process = [Process("cost-accounting", child.pid)]
        began, used, left = time.monotonic(), cpu_us(process), await _waiting(js)
        while await _waiting(js):
            await asyncio.sleep(0.02)
        events = self.result.backlog_events * left / before
        self.result.drain_s = (time.monotonic() - began) * self.result.backlog_events / events
        spent = cpu_us(process)["cost-accounting"] - used["cost-accounting"]
        self.result.drain_cpu_us = spent / events

    async def _steady(
        self, child: Child, js: JetStreamContext, traffic: Traffic, seconds: float, rate: int
    ) -> None:
        process = [Process("cost-accounting", child.pid)]
        used, requests = cpu_us(process), traffic.requests
        load = asyncio.create_task(traffic.run(rate, seconds))
        messages_before = (await js.stream_info(streams.EVENTS.name)).state.last_seq
        while not load.done():
            await asyncio.sleep(0.25)
            info = await js.consumer_info(streams.EVENTS.name, streams.COST_ACCOUNTING.name)
            state = (await js.stream_info(streams.EVENTS.name)).state
            waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
            events = (traffic.requests - requests) * OF_A_REQUEST
            each = events / max(1, state.last_seq - messages_before)
            self.result.waiting_s.append(waiting * each / rate)
            self.result.pss.append(pss_bytes(process)["cost-accounting"])
        self.result.steady_rate = await load
        while await _waiting(js):
            await asyncio.sleep(0.02)
        spent = cpu_us(process)["cost-accounting"] - used["cost-accounting"]
        self.result.steady_cpu_us = spent / ((traffic.requests - requests) * OF_A_REQUEST)

    async def _check(self, traffic: Traffic) -> None:
        bus = await self.bus("control")
        answer = await bus.nc.request(subjects.LEDGER, LedgerQuery(query=CostsQuery()).encode(), timeout=10)
        page = LedgerPage.decode(answer.data)
        sums = page.rows[0] if page.rows else {}
        expected = format((COST * traffic.requests).normalize(), "f")
        if sums.get("attempts") != traffic.requests or sums.get("cost_usd") != expected:
            self.result.problems.append(
                f"{traffic.requests} requests cost {expected}, the ledger: {json.dumps(sums)} {page.error}"
            )
        await bus.close()


def measure(folder: Path, *, seconds: float = 30.0, rate: int = TARGET) -> Ingest:
    """Both loads, each of `seconds`."""
    bench = Bench(folder)
    with running(bench.nats(), child_environment(folder), folder / "nats.log") as server:
        server.wait_until(lambda: accepts(bench.port), "nats-server", 10)
        return asyncio.run(bench.run(seconds, rate))


def render(result: Ingest) -> str:
    """A table, and whether it keeps up."""
    cores = result.steady_cpu_us * result.steady_rate / 1e6
    rows = [
        ["backlog, events in messages", f"{result.backlog_events:,} in {result.backlog_messages:,}"],
        ["drained, events/s", shown(result.drained_a_second)],
        ["CPU us an event, backlog", shown(result.drain_cpu_us)],
        ["steady, events/s", shown(result.steady_rate)],
        ["CPU us an event, steady", f"{shown(result.steady_cpu_us)} ({cores:.2f} cores)"],
        ["behind, s: median, most", f"{median(result.waiting_s):.2f}, {max(result.waiting_s):.2f}"],
        ["PSS MB: first, last, most", ", ".join(shown(each / 1e6) for each in _sizes(result.pss))],
    ]
    verdict = "ok" if keeps_up(result) else "MISSED"
    return f"{align([['one cost-accounting', ''], *rows])}\n\n{TARGET:,} events/s: {verdict}"


def _sizes(pss: list[int]) -> tuple[int, int, int]:
    return pss[0], pss[-1], max(pss)


def keeps_up(result: Ingest) -> bool:
    """Whether it works off a backlog faster than the target, and stays within two seconds of it."""
    return result.drained_a_second >= TARGET and median(result.waiting_s) <= 2.0
