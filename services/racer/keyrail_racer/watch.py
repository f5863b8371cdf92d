"""Watching over races: workers that are gone, frames that are lost, ingresses that are gone."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Literal

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.liveness import Hearing
from keyrail.contracts import subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.signals import contender as key_of
from keyrail_racer.contender import ANSWER_LOST, Contender
from keyrail_racer.table import Entry, Table

log = logging.getLogger(__name__)

PERIOD_S = 0.25
SETTLED_S = 1.5
"""After a reconnection the others need a moment to reconnect too, and one more beat to be heard."""
SILENT_S = 4.3
PROBE_AFTER_S = 1.3
SLACK_MS = 250
MISSING_BEATS = 3.0
INBOX_GONE_S = 5.0
LAST_WORD_S = 6.0
"""How long a loser that was told to stop may take to say what it did cost."""

WORKER_LOST = Failure(
    kind="unavailable", message="The worker that served this request is gone.", status=502, code="worker_lost"
)
NOT_TAKEN = Failure(
    kind="unavailable", message="No worker took this request in time.", status=503, code="no_worker"
)
NO_WORD = Failure(
    kind="unavailable", message="Nothing was heard of it any more.", status=502, code="worker_lost"
)
Verdict = Literal["wait", "probe", "not-taken", "worker-lost", "frames-lost"]


@dataclass(frozen=True, slots=True)
class Beat:
    """What is known of a contender's worker: seconds since its last beat, and what that said of it."""

    silent_s: float
    gone: bool = False
    heard_at: float = 0.0
    last_sent: tuple[int, int, int] | None = None


def verdict(contender: Contender, beat: Beat | None, wall_ms: int, *, lost: bool = False) -> Verdict:
    """What to do about a contender that has not settled. Pure.

    Of one that has `lost` nobody counts the frames: only when it runs no more its last word is missing.
    """
    if contender.worker is None or beat is None:
        return "not-taken" if wall_ms > contender.take_by_ms + SLACK_MS else "wait"
    if beat.gone or beat.silent_s > SILENT_S:
        return "worker-lost"
    if beat.silent_s > PROBE_AFTER_S:
        return "probe"
    if beat.heard_at < contender.taken_at + 1.5:
        return "wait"
    sent = beat.last_sent
    if sent is None or (not lost and sent[1] == contender.hop and sent[2] >= contender.expected):
        return "frames-lost"
    return "wait"


class Watch:
    """Looks at all races a few times a second."""

    def __init__(self, bus: Bus, table: Table, hearing: Hearing) -> None:
        self._bus = bus
        self._table = table
        self._hearing = hearing
        self._refusals: dict[str, int] = {}
        self._connected_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start looking."""
        await self._bus.subscribe(f"{self._bus.inbox}.p.*", self._on_probe_refused)
        self._bus.on_reconnect(self._reconnected)
        self._task = asyncio.create_task(self._run(), name="watch")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(PERIOD_S)
            late = time.monotonic() - before > 4 * PERIOD_S  # this process was paused: beats wait unread
            if late or not self._bus.connected:
                continue
            for entry in list(self._table.open.values()):
                await self._look(entry)

    async def _look(self, entry: Entry) -> None:
        now = time.monotonic()
        racing = entry.racing
        slip = racing.slip
        if not racing.over and self._settled():
            since = now - (now_ms() - entry.began_ms) / 1000
            if self._hearing.silent_s(slip.inbox.split(".")[1], since) > INBOX_GONE_S:
                log.warning("ingress gone", extra={"request_id": slip.request_id})
                self._table.stop(entry, "ingress gone")
        for number, contender in enumerate(racing.contenders):
            if contender.settled:
                continue
            if racing.rule.drain and not self._stopped(entry, contender):
                expired = now_ms() > slip.deadline_ms + LAST_WORD_S * 1000
            else:
                expired = entry.over_at is not None and now - entry.over_at > LAST_WORD_S
            if expired:
                self._table.lose(entry, number, NO_WORD)
            else:
                await self._judge(entry, number, contender)

    def _stopped(self, entry: Entry, contender: Contender) -> bool:
        """Whether it was told to stop, or nobody has taken it: then there is nothing to wait for long."""
        return contender.worker is None or entry.racing.winner is None

    async def _judge(self, entry: Entry, number: int, contender: Contender) -> None:
        racing = entry.racing
        lost = racing.over or (racing.winner is not None and contender is not racing.winner)
        match verdict(contender, self._beat(entry, contender), now_ms(), lost=lost):
            case "wait":
                contender.silent_beats = 0
            case "probe":
                await self._probe(contender.worker)
            case "not-taken":
                self._table.lose(entry, number, NOT_TAKEN)
            case "worker-lost":
                self._table.lose(entry, number, WORKER_LOST)
            case "frames-lost":
                contender.silent_beats += 1
                if contender.silent_beats > MISSING_BEATS / PERIOD_S:
                    self._table.lose(entry, number, ANSWER_LOST)

    def _settled(self) -> bool:
        """Whether silence means something again after the last reconnection."""
        return self._bus.connected and time.monotonic() - self._connected_at >= SETTLED_S

    def _beat(self, entry: Entry, contender: Contender) -> Beat | None:
        worker = contender.worker
        if worker is None:
            return None
        heard = self._hearing.heard.get(worker)
        if heard is not None and heard.at < self._connected_at:
            heard = None  # what it said before the bus was away is no longer true
        silent = self._hearing.silent_s(worker, contender.taken_at) if self._settled() else 0.0
        if silent < PERIOD_S:
            self._refusals.pop(worker, None)
        key = key_of(entry.racing.slip.request_id, contender.hop)
        return Beat(
            silent_s=silent,
            gone=self._refusals.get(worker, 0) >= 2,
            heard_at=heard.at if heard else 0.0,
            last_sent=heard.alive.streams.get(key) if heard else None,
        )

    async def _probe(self, worker: str | None) -> None:
        """Ask NATS whether the worker's subscription still exists: a killed one shows at once."""
        if worker is not None:
            await self._bus.publish(subjects.cancel(worker), b"", reply=f"{self._bus.inbox}.p.{worker}")

    async def _on_probe_refused(self, msg: Msg) -> None:
        worker = msg.subject.rpartition(".")[2]
        self._refusals[worker] = self._refusals.get(worker, 0) + 1

    async def _reconnected(self) -> None:
        self._connected_at = time.monotonic()
        self._refusals.clear()
