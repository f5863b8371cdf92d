"""Clients that ask without a pause while something is done to the stack, and what the sandbox saw of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from support.stack import Stack


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. `status` None: no whole answer came, `why` says what came instead."""

    status: int | None
    seconds: float
    why: str = ""

    @property
    def good(self) -> bool:
        return self.status == 200


@dataclass(slots=True)
class Load:
    """Closed loops: `kept` clients with a connection that they keep, `fresh` with one for each request.

    Every other request is a stream. Nobody retries. A context manager: leaving it ends the loops.
    """

    stack: Stack
    body: dict[str, Any]
    kept: int = 4
    fresh: int = 2
    answers: list[Answer] = field(default_factory=list[Answer])
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    async def __aenter__(self) -> Self:
        loops: list[Coroutine[Any, Any, None]] = [self._keep(n) for n in range(self.kept)]
        loops += [self._anew(n) for n in range(self.fresh)]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        await self.more(len(loops))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=kind is not None)

    @property
    def failures(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.good]

    async def more(self, count: int, within_s: float = 30.0) -> None:
        """Wait for so many more good answers."""
        good = sum(answer.good for answer in self.answers)
        await self.until(lambda: sum(a.good for a in self.answers) >= good + count, within_s)

    async def until(self, condition: Callable[[], bool], within_s: float = 30.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _keep(self, number: int) -> None:
        async with self.stack.http() as client:
            while not self._stopping:
                await self._ask(client, number)
                number += 1

    async def _anew(self, number: int) -> None:
        while not self._stopping:
            async with self.stack.http() as client:
                await self._ask(client, number)
            number += 1

    async def _ask(self, client: httpx.AsyncClient, number: int) -> None:
        self.answers.append(await ask(client, {**self.body, "stream": number % 2 == 1}))
        self._changed.set()
        if not self.answers[-1].good:
            await asyncio.sleep(0.05)  # as even an impatient client does, and kind to the test's machine


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> Answer:
    """One request, whole; a stream counts as whole only with its end."""
    began = time.monotonic()
    try:
        answer = await client.post("/v1/chat/completions", json=body, timeout=60.0)
    except httpx.HTTPError as error:
        return Answer(None, time.monotonic() - began, repr(error))
    seconds = time.monotonic() - began
    if answer.status_code == 200 and body.get("stream") and not answer.text.endswith("data: [DONE]\n\n"):
        return Answer(None, seconds, answer.text[-300:])
    return Answer(answer.status_code, seconds, "" if answer.status_code == 200 else answer.text[:300])


class Witness:
    """Follows the sandbox's own log of calls, which forgets all but the last thousand."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._task: asyncio.Task[None] | None = None
        self.calls: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        await self.look()
        self.calls.clear()
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def look(self) -> None:
        for call in await self._stack.sandbox_calls():
            self.calls[call["request_id"]] = call

    async def attempts(self) -> dict[str, dict[str, Any]]:
        """Every call since the start by its attempt id; fails when one was missed."""
        await self.look()
        numbers = sorted(int(request_id[-8:], 16) for request_id in self.calls)
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "the witness missed a call"
        by_attempt = {call["client_request_id"]: call for call in self.calls.values()}
        assert len(by_attempt) == len(self.calls), "an attempt was called twice"
        return by_attempt

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            await self.look()
