"""Clients that ask without a pause while something is done to the stack, and what the sandbox saw of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from support.stack import Stack


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. `status` None: no whole answer came, `why` says what came instead.

    `request_id` None: the client did not get as far as to know it.
    """

    status: int | None
    seconds: float
    why: str = ""
    request_id: str | None = None

    @property
    def good(self) -> bool:
        return self.status == 200


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks, and after how long it loses patience and leaves."""

    body: dict[str, Any]
    patience_s: float = 60.0


@dataclass(slots=True)
class Load:
    """Closed loops: `kept` clients with a connection that they keep, `fresh` with one for each request.

    Of one body every other request is a stream; questions are asked in turn. Nobody retries. A context
    manager: leaving it ends the loops.
    """

    stack: Stack
    asked: dict[str, Any] | Sequence[Question]
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

    async def more(self, count: int, within_s: float = 60.0) -> None:
        """Wait for so many more good answers."""
        good = sum(answer.good for answer in self.answers)
        await self.until(lambda: sum(a.good for a in self.answers) >= good + count, within_s)

    async def until(self, condition: Callable[[], bool], within_s: float = 60.0) -> None:
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
        asked = self.asked
        if isinstance(asked, dict):
            answer = await ask(client, {**asked, "stream": number % 2 == 1})
        else:
            question = asked[number % len(asked)]
            answer = await ask(client, question.body, question.patience_s)
        self.answers.append(answer)
        self._changed.set()
        if not self.answers[-1].good:
            await asyncio.sleep(0.05)  # as even an impatient client does, and kind to the test's machine


async def ask(client: httpx.AsyncClient, body: dict[str, Any], patience_s: float = 60.0) -> Answer:
    """One request, whole; a stream counts as whole only with its end."""
    began = time.monotonic()
    request_id = None
    try:
        async with (
            asyncio.timeout(patience_s),
            client.stream("POST", "/v1/chat/completions", json=body, timeout=60.0) as answer,
        ):
            request_id = answer.headers.get("x-keyrail-request-id")
            text = (await answer.aread()).decode()
    except (httpx.HTTPError, TimeoutError) as error:
        return Answer(None, time.monotonic() - began, repr(error), request_id)
    seconds, status = time.monotonic() - began, answer.status_code
    if status == 200 and body.get("stream") and not text.endswith("data: [DONE]\n\n"):
        return Answer(None, seconds, text[-300:], request_id)
    return Answer(status, seconds, "" if status == 200 else text[:300], request_id)


class Witness:
    """Follows a sandbox's own log of calls, which forgets all but the last thousand.

    `url`: of a sandbox of the test's own; without it the stack's.
    """

    def __init__(self, stack: Stack, url: str | None = None) -> None:
        self._stack = stack
        self._url = url
        self._task: asyncio.Task[None] | None = None
        self._before = 0
        self.calls: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        await self.look()
        self._before = max(map(_number, self.calls), default=0)
        self.calls.clear()
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def look(self) -> None:
        for call in await self._stack.sandbox_calls(self._url):
            if _number(call["request_id"]) > self._before:
                self.calls[call["request_id"]] = call

    async def attempts(self) -> dict[str, dict[str, Any]]:
        """Every call since the start, ended or not, by its attempt id; fails when one was missed."""
        await self.look()
        numbers = sorted(map(_number, self.calls))
        assert numbers == list(range(self._before + 1, self._before + 1 + len(numbers))), "missed a call"
        by_attempt = {call["client_request_id"]: call for call in self.calls.values()}
        assert len(by_attempt) == len(self.calls), "an attempt was called twice"
        return by_attempt

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            with contextlib.suppress(httpx.TransportError):  # a busy machine
                await self.look()


def _number(request_id: str) -> int:
    """The sandbox counts its calls in the ids that it gives them."""
    return int(request_id[-8:], 16)
