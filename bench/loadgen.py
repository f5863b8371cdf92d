"""The load generator: one process, one loop, little more a request than its system calls.

Closed loop: each connection sends again as soon as it has its answer. Open loop: requests are due at fixed
times whatever the answers do, and their times count from the due instant: a slow server can't hide its queue.

    python -m bench.loadgen --url http://127.0.0.1:8080/v1/chat/completions --connections 64 --seconds 3
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import threading
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from bench.bodies import chat_body
from bench.client import Connection, Load, Tally, clock
from bench.figures import Outcome
from bench.latency import spread

MAX_CONNECTIONS = 512


def outcome(tally: Tally, began: float, cpu_us: int) -> Outcome:
    """The figures of a load that began at `began` on the tally's clock."""
    seconds = max(tally.last - began, 1e-9)
    answered = len(tally.latencies)
    return Outcome(
        sent=tally.sent,
        answered=answered,
        errors=dict(tally.errors),
        seconds=seconds,
        requests_per_s=answered / seconds,
        latency_ms=spread(tally.latencies),
        first_byte_ms=spread(tally.first_bytes),
        events=tally.events,
        events_per_s=tally.events / seconds,
        cpu_us=cpu_us,
    )


def _own_cpu_us() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int((usage.ru_utime + usage.ru_stime) * 1e6)


class ClosedLoop:
    """The next request is due as soon as a connection is idle, until the time or the count is used up."""

    def __init__(self, load: Load, tally: Tally, began: float) -> None:
        self._count = load.count
        self._until = began + load.seconds if load.seconds is not None else float("inf")
        self._tally = tally

    def due(self) -> float | None:
        """When the next request was due; None: nothing is due now."""
        now = clock()
        if now >= self._until or (self._count is not None and self._tally.sent >= self._count):
            return None
        return now

    @property
    def over(self) -> bool:
        """Whether nothing will be due any more."""
        return self.due() is None


class OpenLoop:
    """Requests are due at a fixed rate; `tick` says that the time of the next one has come."""

    def __init__(self, load: Load, began: float) -> None:
        assert load.rate is not None
        self.planned = load.count if load.count is not None else round((load.seconds or 0.0) * load.rate)
        self.times = [began + number / load.rate for number in range(self.planned)]
        self.waiting: deque[float] = deque()

    def due(self) -> float | None:
        """When the oldest request that waits was due; None: none waits."""
        return self.waiting.popleft() if self.waiting else None

    def tick(self) -> None:
        """One more request is due."""
        self.planned -= 1
        self.waiting.append(self.times[-self.planned - 1])

    @property
    def over(self) -> bool:
        """Whether nothing will be due any more."""
        return self.planned == 0 and not self.waiting


class Generator:
    """Runs one load: gives what is due to an idle connection."""

    def __init__(self, load: Load) -> None:
        self.tally = Tally()
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._plan: ClosedLoop | OpenLoop | None = None
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> Outcome:
        """Run to the end. What has no answer `grace_s` after it should have is counted as an error."""
        load = self._load
        for _ in range(load.connections):
            self._connect()
        await asyncio.gather(*self._connecting)
        cpu, began = _own_cpu_us(), clock()
        self.tally.last = began
        self._start(began)
        bound = (load.seconds or 0.0) + (load.count or 0) / (load.rate or 50.0) + load.grace_s
        try:
            await asyncio.wait_for(self._done.wait(), bound)
        except TimeoutError:
            self.tally.errors["no answer in time"] += self.tally.outstanding
        if isinstance(self._plan, OpenLoop) and (unsent := self._plan.planned + len(self._plan.waiting)):
            self.tally.errors["never sent"] += unsent
        result = outcome(self.tally, began, _own_cpu_us() - cpu)
        self._plan = None
        await self._close()
        return result

    async def _close(self) -> None:
        for task in self._connecting:
            task.cancel()
        for connection in self._open:
            connection.abort()
        while self._open:
            self._changed.clear()
            await self._changed.wait()

    def _start(self, began: float) -> None:
        if self._load.rate is None:
            self._plan = ClosedLoop(self._load, self.tally, began)
        else:
            self._plan = OpenLoop(self._load, began)
            threading.Thread(target=self._keep_time, args=(self._plan.times,), daemon=True).start()
        ready, self._idle = self._idle, []
        for connection in ready:
            self._on_idle(connection)
        self._check_done()

    def _keep_time(self, times: list[float]) -> None:
        # uvloop's timers are a millisecond coarse; a sleeping thread is good to some tens of microseconds.
        for at in times:
            if (wait := at - clock()) > 0:
                time.sleep(wait)
            try:
                self._loop.call_soon_threadsafe(self._on_tick)
            except RuntimeError:
                return  # the loop is closed: the load was given up

    def _on_tick(self) -> None:
        if not isinstance(self._plan, OpenLoop):
            return
        self._plan.tick()
        if self._idle:
            self._on_idle(self._idle.pop())
        elif len(self._open) + len(self._connecting) < MAX_CONNECTIONS:
            self._connect()

    def _on_idle(self, connection: Connection) -> None:
        self._open.add(connection)
        due = self._plan.due() if self._plan is not None else None
        if due is not None:
            connection.send(due)
        else:
            self._idle.append(connection)
            self._check_done()

    def _on_lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._changed.set()
        if connection in self._idle:
            self._idle.remove(connection)
        if self._plan is not None and not self._plan.over:
            self._connect()
        self._check_done()

    def _connect(self) -> None:
        task = self._loop.create_task(self._try_to_connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _try_to_connect(self) -> None:
        parts = urlsplit(self._load.url)
        try:
            await self._loop.create_connection(
                lambda: Connection(self._load, self.tally, self._on_idle, self._on_lost),
                parts.hostname or "127.0.0.1",
                parts.port or 80,
            )
        except OSError as refused:
            self.tally.errors[f"connect: {type(refused).__name__}"] += 1
            self._loop.call_soon(self._check_done)

    def _check_done(self) -> None:
        if self._plan is None or self.tally.outstanding:
            return
        nobody_left = not self._open and not any(not task.done() for task in self._connecting)
        if self._plan.over or nobody_left:
            self._done.set()


async def run(load: Load) -> Outcome:
    """Run one load on the running loop."""
    return await Generator(load).run()


def _parse(arguments: list[str]) -> tuple[Load, bool]:
    parser = argparse.ArgumentParser(
        prog="bench.loadgen", description="Send chat requests and time the answers."
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--model", default="gpt-5.4-mini")
    parser.add_argument("--body", type=Path, help="a file with the body, instead of the 1 KB of its own")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--paced", action="store_true", help="ask the mock for an event every 20 ms")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--count", type=int)
    parser.add_argument("--rate", type=float, help="requests per second: an open loop")
    parser.add_argument("--exact-events", type=int)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    if given.seconds is None and given.count is None:
        parser.error("--seconds or --count must bound the load")
    body = (
        given.body.read_text()
        if given.body
        else chat_body(given.model, stream=given.stream, paced=given.paced)
    )
    load = Load(
        url=given.url,
        headers=dict(header.split(":", 1) for header in given.header),
        body=body,
        stream=given.stream,
        connections=given.connections,
        seconds=given.seconds,
        count=given.count,
        rate=given.rate,
        exact_events=given.exact_events,
    )
    return load, given.json


def main() -> None:
    """`-` reads a whole Load as JSON from stdin and prints an Outcome as JSON."""
    if sys.argv[1:] == ["-"]:
        load, as_json = Load.model_validate_json(sys.stdin.read()), True
    else:
        load, as_json = _parse(sys.argv[1:])
    result = uvloop.run(run(load))
    print(result.model_dump_json() if as_json else result.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
