"""The races under way at this racer: taking them, hearing their contenders, doing what they want done."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from nats.aio.msg import Msg

from keyrail.bus.connection import PENDING_BYTES, Bus
from keyrail.bus.errors import BusError
from keyrail.bus.forward import Forwarder
from keyrail.bus.reply import Reply
from keyrail.contracts import frames, slips, subjects
from keyrail.contracts.base import encode_all, now_ms
from keyrail.contracts.budgets import ZERO
from keyrail.contracts.config import ConfigView
from keyrail.contracts.failures import OVERLOADED, Failure
from keyrail.contracts.frames import Fail, Kind, Taken
from keyrail.contracts.signals import Cancel, HoldSettled
from keyrail.contracts.slips import Slip
from keyrail.telemetry import metrics
from keyrail_racer.actions import Over, Say, Start, Tell, TellRouter
from keyrail_racer.extra import Bucket, Buckets, Stake
from keyrail_racer.race import Racing, Room

log = logging.getLogger(__name__)

REMEMBER_S = 10.0
"""How long a cancel is remembered, for a slip that comes after it."""
DEFAULT_SHARE = Decimal("0.05")


@dataclass(slots=True)
class Entry:
    """One race and its way back. `over_at`: monotonic, when the client had all."""

    racing: Racing
    body: bytes
    reply: Reply
    bucket: Bucket
    share: Decimal
    began_ms: int
    over_at: float | None = None
    number: int = 0
    timer: asyncio.TimerHandle | None = None
    timer_at: float = 0.0
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])


class Table:
    """Takes races until it drains."""

    def __init__(
        self,
        bus: Bus,
        forwarder: Forwarder,
        view: Callable[[], ConfigView],
        max_in_flight: int,
        room: Room,
    ) -> None:
        self._bus = bus
        self._forwarder = forwarder
        self._view = view
        self._max_in_flight = max_in_flight
        self._room = room
        self._buckets = Buckets()
        self._numbers = itertools.count()
        self._cancelled: dict[str, tuple[int, int]] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self.open: dict[int, Entry] = {}

    async def start(self) -> None:
        """Listen to contenders and for cancels."""
        await self._bus.subscribe(f"{self._bus.inbox}.r.*.*", self._on_frames)
        await self._bus.subscribe(subjects.cancel(self._bus.instance), self._on_cancel)

    async def finish(self) -> None:
        """Return once all races have ended."""
        await self._empty.wait()

    def streams(self) -> dict[str, tuple[int, int, int]]:
        """For the heartbeat: what was sent of each race that runs for a second or more."""
        before = now_ms() - 1000
        return {
            entry.racing.slip.request_id: (
                entry.racing.slip.epoch,
                entry.racing.slip.hop,
                entry.reply.sequence - 1,
            )
            for entry in self.open.values()
            if entry.began_ms <= before and not entry.racing.over
        }

    async def on_slip(self, msg: Msg) -> None:
        """Take one race, unless its time is over."""
        try:
            slip, body = slips.unpack(msg.data)
        except ValueError as error:
            log.error("a slip could not be read", extra={"error": type(error).__name__})
            return
        if slip.plan is None or slip.plan.race is None:
            log.error("a slip without a race", extra={"request_id": slip.request_id})
            return
        if now_ms() >= slip.take_by_ms:
            metrics.LATE_SLIPS.inc()
            self._release(slip)
            return
        upto = self._cancelled.get(slip.request_id)
        if upto is not None and (slip.epoch, slip.hop) <= upto:
            self._release(slip)
            return
        if len(self.open) >= self._max_in_flight:
            self._release(slip)
            self._refuse(slip, OVERLOADED)
            return
        self._begin(slip, body)

    def _begin(self, slip: Slip, body: bytes) -> None:
        number = next(self._numbers)
        assert slip.plan is not None
        assert slip.plan.race is not None
        bucket = self._buckets.of(slip.tenant, slip.plan.route or "")
        racing = Racing(
            slip,
            Stake(bucket, slip.plan.race.extra_usd),
            inbox=lambda contender: f"{self._bus.inbox}.r.{number}.{contender}",
            room=self._room,
        )
        entry = Entry(
            racing, body, Reply(self._bus, slip), bucket, self._share(slip), began_ms=now_ms(), number=number
        )
        self.open[number] = entry
        self._empty.clear()
        metrics.RACES_IN_FLIGHT.set(len(self.open))
        target = slip.plan.targets[0]
        taken = Taken(worker=self._bus.instance, attempt_id="", provider=target.provider, model=target.model)
        racing.begin(taken, time.monotonic(), now_ms())
        self.do(entry)

    def _share(self, slip: Slip) -> Decimal:
        """Of what served answers of this route cost, what its losers may."""
        assert slip.plan is not None
        route = self._view().routes.get(slip.plan.route) if slip.plan.route is not None else None
        rule = route.race if route is not None else None
        return Decimal(str(rule.extra_spend)) if rule is not None else DEFAULT_SHARE

    async def _on_frames(self, msg: Msg) -> None:
        _, number, contender = msg.subject.rsplit(".", 2)
        entry = self.open.get(int(number))
        if entry is None:
            return
        now, wall = time.monotonic(), now_ms()
        try:
            for frame in frames.decode(msg.data):
                entry.racing.receive(int(contender), frame, now, wall)
        except ValueError as error:
            log.error("a frame could not be read", extra={"error": str(error)})
        self.do(entry)
        if self._bus.nc.pending_data_size > PENDING_BYTES:
            await self._relief()

    async def _relief(self) -> None:
        """Wait while the server does not read."""
        try:
            await self._bus.nc.relief()
        except (TimeoutError, OSError):
            log.warning("nats-server does not read")

    async def _on_cancel(self, msg: Msg) -> None:
        """Give a request's races up. An empty message only asks whether this racer is there."""
        if not msg.data:
            return
        try:
            cancel = Cancel.decode(msg.data)
        except ValueError:
            log.error("a cancel could not be read")
            return
        upto = (cancel.epoch, cancel.hop)
        self._cancelled[cancel.request_id] = upto
        asyncio.get_running_loop().call_later(REMEMBER_S, self._cancelled.pop, cancel.request_id, None)
        for entry in list(self.open.values()):
            slip = entry.racing.slip
            if slip.request_id == cancel.request_id and (slip.epoch, slip.hop) <= upto:
                self.stop(entry, cancel.reason)

    def stop(self, entry: Entry, reason: str) -> None:
        """Nobody waits for this race any more."""
        entry.racing.stop(reason)
        self.do(entry)

    def lose(self, entry: Entry, contender: int, failure: Failure) -> None:
        """Nothing more will be heard of this contender. Whoever never took it did cost nothing."""
        called = entry.racing.contenders[contender].worker is not None
        entry.racing.lose(contender, failure, time.monotonic(), now_ms(), called=called)
        self.do(entry)

    def do(self, entry: Entry) -> None:
        """Do what the race wants, without giving way to anything: frames keep their order."""
        actions, entry.racing.actions = entry.racing.actions, []
        for action in actions:
            match action:
                case Say():
                    self._say(entry, action)
                case Start():
                    self._spawn(entry, action)
                case Tell():
                    self._send(subjects.cancel(action.worker), action.cancel.encode())
                case TellRouter():
                    self._send(subjects.settled(action.router), encode_all([action.told]))
                case Over():
                    self._over(entry, action)
        if entry.racing.done:
            self._forget(entry)
        else:
            self._arm(entry)

    def _say(self, entry: Entry, said: Say) -> None:
        payload = said.payload if isinstance(said.payload, bytes) else said.payload.encode()
        slip, reply = entry.racing.slip, entry.reply
        frame = frames.encode(said.kind, slip.epoch, slip.hop, reply.sequence, payload, said.flags)
        reply.sequence += 1
        self._send(slip.inbox, frame)

    def _send(self, subject: str, message: bytes) -> None:
        try:
            self._bus.send(subject, message)
        except BusError as error:
            log.warning("not sent", extra={"error": type(error).__name__})

    def _spawn(self, entry: Entry, start: Start) -> None:
        metrics.counter(metrics.RACE_CONTENDERS, start.slip.role).inc()

        async def unheard() -> None:
            entry.racing.unheard(start.contender, time.monotonic(), now_ms())
            self.do(entry)

        forward = self._forwarder.forward(
            subjects.call(start.slip.target.provider), slips.pack(start.slip, entry.body), unheard
        )
        task = asyncio.ensure_future(forward)
        entry.tasks.add(task)
        task.add_done_callback(entry.tasks.discard)

    def _over(self, entry: Entry, over: Over) -> None:
        racing = entry.racing
        entry.over_at = time.monotonic()
        metrics.counter(metrics.RACES, racing.rule.mode, over.outcome).inc()
        if racing.unpaid:
            metrics.counter(metrics.RACES_UNPAID, racing.rule.mode).inc(racing.unpaid)
        winner = racing.winner
        if over.outcome == "won" and winner is not None and winner.cost_usd is not None:
            entry.bucket.earn(winner.cost_usd * entry.share, entry.over_at)
        entry.body = b""

    def _arm(self, entry: Entry) -> None:
        at = entry.racing.next_at()
        if entry.timer is not None:
            if at is not None and at == entry.timer_at:
                return
            entry.timer.cancel()
            entry.timer = None
        if at is not None:
            entry.timer_at = at
            delay = max(at - time.monotonic(), 0.0)
            entry.timer = asyncio.get_running_loop().call_later(delay, self._tick, entry)

    def _tick(self, entry: Entry) -> None:
        entry.timer = None
        entry.racing.tick(max(time.monotonic(), entry.timer_at), now_ms())
        self.do(entry)

    def _forget(self, entry: Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        self.open.pop(entry.number, None)
        metrics.RACES_IN_FLIGHT.set(len(self.open))
        if not self.open:
            self._empty.set()

    def _release(self, slip: Slip) -> None:
        """Nothing was called for this slip and nothing will be."""
        if slip.hold is not None:
            told = HoldSettled(
                request_id=slip.request_id, epoch=slip.epoch, hop=slip.hop, cost_usd=ZERO, attempts=1
            )
            self._send(subjects.settled(slip.hold.router), encode_all([told]))

    def _refuse(self, slip: Slip, failure: Failure) -> None:
        frame = frames.encode(
            Kind.FAIL, slip.epoch, slip.hop, 0, Fail(failure=failure, spent=slip.spent).encode()
        )
        self._send(slip.inbox, frame)
