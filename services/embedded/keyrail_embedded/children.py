"""One child process: started, heard, restarted with backoff, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BACKOFF_MAX_S = 5.0
STEADY_S = 10.0
"""A child that ran for so long is started again at once."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run. `exclusive`: its successor can only start once it has ended."""

    service: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    listen_fd: int | None = None
    says_ready: bool = True
    exclusive: bool = False
    drain_s: float = 30.0
    passed: tuple[int, ...] = ()  # file descriptors that it holds as long as it lives


@dataclass(slots=True)
class _Run:
    process: asyncio.subprocess.Process
    began: float
    draining: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Child:
    """Keeps one instance of a service running until stopped."""

    def __init__(self, spec: Spec, log_file: Path, on_change: Callable[[str], None]) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self._log_file = log_file
        self._on_change = on_change
        self._runs: list[_Run] = []
        self._stopping = False
        self._failures = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """The process, and its predecessors that still finish their work."""
        return [run.process.pid for run in self._runs if run.process.returncode is None]

    async def start(self) -> None:
        """Start a process."""
        listen, notify = self.spec.listen_fd, os.pipe()
        environment = {
            **self.spec.environment,
            "KEYRAIL_NOTIFY_FD": str(notify[1]),
            "KEYRAIL_PARENT": str(os.getpid()),
        }
        passed = [notify[1], *self.spec.passed]
        if listen is not None:
            environment["KEYRAIL_LISTEN_FD"] = str(listen)
            passed.append(listen)
        with self._log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=passed,
                start_new_session=True,
            )
        os.close(notify[1])
        run = _Run(process, time.monotonic())
        self._runs.append(run)
        self._spawn(self._listen(run, notify[0]))
        self._spawn(self._wait(run))
        if not self.spec.says_ready:
            self._became_ready(run)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for what has not ended after `drain_s`."""
        self._stopping = True
        self.signal(signal.SIGTERM)
        ending = [asyncio.ensure_future(run.process.wait()) for run in self._runs]
        if ending:
            _, late = await asyncio.wait(ending, timeout=self.spec.drain_s)
            if late:
                self._on_change(f"{self.spec.service} did not stop in time and was killed")
                self.signal(signal.SIGKILL)
                await asyncio.wait(late)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of this child."""
        for run in self._runs:
            _signal(run, number)

    async def _listen(self, run: _Run, fd: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
        )
        try:
            while line := await reader.readline():
                if line == b"ready\n":
                    self._became_ready(run)
                elif line == b"draining\n":
                    await self._drains(run)
        finally:
            transport.close()

    def _became_ready(self, run: _Run) -> None:
        run.ready.set()
        self.ready.set()
        self._on_change(f"{self.spec.service} ready (pid {run.process.pid})")
        for predecessor in self._runs:
            if predecessor.draining:
                _signal(predecessor, signal.SIGTERM)

    async def _drains(self, run: _Run) -> None:
        """Somebody else stops it: it serves on until its successor does, then it finishes its work."""
        run.draining = True
        if self._stopping or self.spec.exclusive:
            _signal(run, signal.SIGTERM)
        else:
            self._on_change(f"{self.spec.service} (pid {run.process.pid}) drains; its successor starts")
            await self.start()

    async def _wait(self, run: _Run) -> None:
        code = await run.process.wait()
        self._runs.remove(run)
        if self._stopping:
            return
        if run.draining and not self.spec.exclusive:
            self._on_change(f"{self.spec.service} (pid {run.process.pid}) has left")
            return
        lasted = time.monotonic() - run.began
        self._failures = 0 if lasted > STEADY_S else self._failures + 1
        pause = 0.0 if self._failures < 2 else min(0.2 * 2**self._failures, BACKOFF_MAX_S)
        self._on_change(f"{self.spec.service} ended with {code} after {lasted:.1f} s; next in {pause:.1f} s")
        await asyncio.sleep(pause)
        if not self._stopping:
            await self.start()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _signal(run: _Run, number: signal.Signals) -> None:
    if run.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.process.pid, number)
