"""Contents of attempts, for tenants that want them kept: collected, sealed in a thread, published.

The plaintext is in this process' memory, from an attempt's begin until it is sealed, and nowhere else.
Nothing here waits, fails or grows on behalf of a request: what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError

from keyrail.bus.connection import Bus
from keyrail.bus.reply import Reply
from keyrail.contracts import config, subjects
from keyrail.contracts.base import Contract
from keyrail.contracts.config import ConfigView
from keyrail.contracts.contents import ContentKept
from keyrail.contracts.events import AttemptStarted
from keyrail.contracts.frames import Kind
from keyrail.contracts.slips import Dialect, Slip
from keyrail.keys import sealed_contents
from keyrail.telemetry import metrics

log = logging.getLogger(__name__)

MOST_HELD: Final = 64 << 20
"""Bytes of contents in this process, under way and waiting; beside them, the sealed form of one."""
LARGEST: Final = 32 << 20
"""A longer part is not collected: hardly any compresses into one message."""
OVERHEAD: Final = 2_048
"""Counted for each content, so that empty ones have an end too."""
DAY_MS: Final = 86_400_000
ACK_TIMEOUT_S: Final = 5.0
RETRY_MIN_S: Final = 0.1
RETRY_MAX_S: Final = 2.0
GIVE_UP_S: Final = 30.0
"""How long one content is tried to be published, so that a restart of the bus loses none."""
STOP_S: Final = 5.0
FULL: Final = frozenset({10023, 10047, 10077})
"""JetStream's words for a stream, or a disk, that takes no more."""
UNAVAILABLE: Final = 503
"""Its word for what may be better soon, where it is none of these."""


class Held:
    """How many bytes all contents of this process have together."""

    def __init__(self, most: int) -> None:
        self.bytes = 0
        self._most = most

    def take(self, size: int) -> bool:
        """Whether there is room for as much more."""
        if self.bytes + size > self._most:
            return False
        self.add(size)
        return True

    def add(self, size: int) -> None:
        """Whether there is room or not; less where it is negative."""
        self.bytes += size
        metrics.CONTENTS_HELD_BYTES.set(self.bytes)


class Kept:
    """What one attempt was asked, and what was sent of an answer so far."""

    __slots__ = ("_all", "_answer", "_held", "_request", "answer_bytes", "request_bytes")

    def __init__(self, all: Held, request: bytes) -> None:
        self._all = all
        self._held: int | None = 0  # None: it is over
        self._request: bytes | None = request if len(request) <= LARGEST else None
        self._answer: list[bytes] | None = []
        self.request_bytes = len(request)
        self.answer_bytes = 0
        self._hold(OVERHEAD + len(request))

    @property
    def over(self) -> bool:
        """Whether it was dropped, or is done with."""
        return self._held is None

    def add(self, data: bytes) -> None:
        """A further piece of the answer."""
        self.answer_bytes += len(data)
        if self._answer is None:
            return
        if self.answer_bytes <= LARGEST:
            self._answer.append(data)
            self._hold(len(data))
        else:
            self._resize(OVERHEAD + self.request_bytes)
            self._answer = None

    def take(self) -> tuple[bytes | None, list[bytes] | None]:
        """Request and answer, None: too large. They are the caller's now, and nothing is added to them."""
        taken = self._request, self._answer
        self._request = self._answer = None
        return taken

    def sealed(self, size: int) -> None:
        """What was taken is gone, and a message of this size is held instead."""
        self._resize(OVERHEAD + size)

    def finish(self, outcome: str | None) -> None:
        """Let go of it; None: it was not meant to be kept."""
        if self._held is not None:
            self._all.add(-self._held)
            if outcome is not None:
                metrics.counter(metrics.CONTENTS, outcome).inc()
        self._held = self._request = self._answer = None

    def _hold(self, size: int) -> None:
        if self._held is not None and self._all.take(size):
            self._held += size
        else:
            self.finish("memory")

    def _resize(self, size: int) -> None:
        if self._held is not None:
            self._all.add(size - self._held)
            self._held = size


@dataclass(slots=True)
class Job:
    """A content that waits to be published. Its plaintext is here alone."""

    kept: Kept
    content: ContentKept
    request: bytes | None
    answer: list[bytes] | None


class KeptReply(Reply):
    """A reply whose DATA frames are kept: exactly the bytes that ingress passes on to the client."""

    def __init__(self, bus: Bus, slip: Slip, kept: Kept) -> None:
        super().__init__(bus, slip)
        self._kept = kept

    def hold(self, kind: Kind, payload: Contract | bytes, flags: int = 0) -> None:
        """As ever."""
        super().hold(kind, payload, flags)
        if kind is Kind.DATA and isinstance(payload, bytes):
            self._kept.add(payload)


class Contents:
    """Takes what attempts collected and publishes it, one after the other."""

    def __init__(self, bus: Bus, view: Callable[[], ConfigView], *, most_held: int = MOST_HELD) -> None:
        self._bus = bus
        self._view = view
        self._held = Held(most_held)
        self._waiting: deque[Job] = deque()
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._sealing = ThreadPoolExecutor(1, "seal contents")
        self._pump: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start publishing."""
        self._pump = asyncio.create_task(self._run(), name="publish contents")

    async def stop(self) -> None:
        """Publish what waits; what has not left after some seconds is dropped."""
        if self._pump is None:
            return
        try:
            async with asyncio.timeout(STOP_S):
                await self._empty.wait()
        except TimeoutError:
            log.warning("contents dropped", extra={"contents": len(self._waiting)})
        self._pump.cancel()
        for job in self._waiting:
            job.kept.finish("bus")
        self._waiting.clear()
        self._sealing.shutdown(wait=False, cancel_futures=True)

    def begin(self, request: bytes) -> Kept:
        """For an attempt of a tenant with contents on."""
        return Kept(self._held, request)

    def end(self, kept: Kept, started: AttemptStarted | None, dialect: Dialect) -> None:
        """The attempt is over; `started` None: it never was one. Whether it is kept is looked at again."""
        if kept.over:
            return
        tenant = self._view().tenants.get(started.tenant) if started is not None else None
        if started is None or tenant is None or tenant.contents is None:
            kept.finish("off" if started is not None else None)
            return
        content = _described(kept, started, dialect, tenant.contents)
        self._waiting.append(Job(kept, content, *kept.take()))
        self._empty.clear()
        self._some.set()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            while self._waiting:
                job = self._waiting[0]
                try:
                    outcome = await self._publish(job)
                except Exception as error:  # noqa: BLE001 - the edge of one content: the next one goes on
                    # its class alone: an error of a codec may show what it was given
                    log.error("a content was not kept", extra={"error": type(error).__name__})
                    outcome = "failed"
                job.kept.finish(outcome)
                self._waiting.popleft()
            self._some.clear()
            self._empty.set()

    async def _publish(self, job: Job) -> str:
        whole = job.request is not None and job.answer is not None
        loop = asyncio.get_running_loop()
        message, fits = await loop.run_in_executor(self._sealing, sealed, job, self._bus.max_message)
        job.request = job.answer = None  # the plaintext ends here
        job.kept.sealed(len(message))
        outcome = await self._acknowledged(job.content.attempt_id, message)
        return outcome or ("kept" if whole and fits else "partial")

    async def _acknowledged(self, id: str, message: bytes) -> str | None:
        """None once JetStream has it; else why it has not."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + GIVE_UP_S
        delay = RETRY_MIN_S
        while True:
            if self._bus.connected:
                try:
                    await self._bus.js.publish(
                        subjects.CONTENT, message, timeout=ACK_TIMEOUT_S, headers={"Nats-Msg-Id": id}
                    )
                except APIError as error:
                    log.warning("a content was refused", extra={"error": error.description or "no reason"})
                    if error.err_code in FULL:
                        return "full"
                    if error.code != UNAVAILABLE:
                        return "bus"
                except (NatsError, NoStreamResponseError, TimeoutError, OSError) as error:
                    log.warning("a content was not acknowledged", extra={"error": type(error).__name__})
                else:
                    return None
            if loop.time() > give_up:
                return "bus"
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)


def sealed(job: Job, most: int) -> tuple[bytes, bool]:
    """The message with its parts sealed, and whether all fit; the larger is left out first. Blocks."""
    texts = {"request": job.request, "answer": None if job.answer is None else b"".join(job.answer)}
    to = job.content.recipient
    parts = {name: sealed_contents.seal(to, text) for name, text in texts.items() if text is not None}
    room = most - OVERHEAD - len(job.content.encode())
    fits = True
    while parts and sum(map(_in_base64, parts.values())) > room:
        del parts[max(parts, key=lambda name: len(parts[name]))]
        fits = False
    return job.content.replace(**parts).encode(), fits


def _in_base64(data: bytes) -> int:
    return (len(data) + 2) // 3 * 4


def _described(kept: Kept, started: AttemptStarted, dialect: Dialect, wanted: config.Contents) -> ContentKept:
    return ContentKept(
        attempt_id=started.attempt_id,
        request_id=started.request_id,
        tenant=started.tenant,
        team=started.team,
        feature=started.feature,
        route=started.route,
        provider=started.provider,
        model=started.model,
        dialect=dialect,
        recipient=wanted.recipient,
        request_bytes=kept.request_bytes,
        answer_bytes=kept.answer_bytes,
        started_ms=started.started_ms,
        expires_ms=started.started_ms + wanted.keep_days * DAY_MS,
    )
