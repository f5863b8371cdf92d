"""Who is alive: every instance says so each second, on core NATS."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError
from keyrail.contracts import subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.signals import Alive

BEAT_S = 1.0
SILENT_S = 2.5
"""An instance not heard for so long gets nothing more while another one is heard."""
REMEMBER_S = 60.0
"""How long a silent instance counts as one that may still be in its queue groups."""

Streams = Callable[[], dict[str, tuple[int, int, int]]]


def _no_streams() -> dict[str, tuple[int, int, int]]:
    return {}


def until_next(wall_s: float) -> float:
    """Seconds until the next beat: on the second, so that all who beat and listen on a machine wake up once.

    Between 0.9 and 1.1 beats lie between two of them.
    """
    rest = BEAT_S - wall_s % BEAT_S
    return rest if rest > BEAT_S / 10 else rest + BEAT_S


class Heart:
    """Announces this instance."""

    def __init__(self, bus: Bus, streams: Streams = _no_streams) -> None:
        self._bus = bus
        self._streams = streams
        self._ready = True
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Beat until stopped, and at once after each reconnection."""
        self._bus.on_reconnect(self._beat)
        self._task = asyncio.create_task(self._run(), name="heart")

    async def draining(self) -> None:
        """Say, from now on, that this instance takes nothing new."""
        self._ready = False
        await self._beat()

    async def stop(self) -> None:
        """Say that this instance leaves."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._beat(leaving=True)

    async def _run(self) -> None:
        while True:
            await self._beat()
            await asyncio.sleep(until_next(time.time()))

    async def _beat(self, *, leaving: bool = False) -> None:
        alive = Alive(
            service=self._bus.service,
            instance=self._bus.instance,
            sent_ms=now_ms(),
            ready=self._ready,
            leaving=leaving,
            streams=self._streams(),
        )
        if self._bus.connected:  # a beat that waits in a buffer would be a lie
            with contextlib.suppress(BusError):
                await self._bus.publish(subjects.alive(self._bus.service), alive.encode())


@dataclass(slots=True)
class Heard:
    """The last beat of an instance. `at` is this process' monotonic clock, seconds."""

    at: float
    alive: Alive
    beats: int = 1


class Hearing:
    """Remembers the last beat of every instance of some services."""

    def __init__(
        self, bus: Bus, services: tuple[str, ...], on_beat: Callable[[], None] = lambda: None
    ) -> None:
        self._bus = bus
        self._services = services
        self._on_beat_heard = on_beat
        self.heard: dict[str, Heard] = {}

    async def start(self) -> None:
        """Listen."""
        for service in self._services:
            await self._bus.subscribe(subjects.alive(service), self._on_beat)

    def silent_s(self, instance: str, since: float) -> float:
        """Seconds since the last beat; `since` (monotonic) stands in for one never heard."""
        heard = self.heard.get(instance)
        last = max(heard.at, since) if heard else since
        return time.monotonic() - last

    def any_alive(self, service: str, within_s: float = 3.0) -> bool:
        """Whether some instance of the service was heard lately and is not leaving."""
        now = time.monotonic()
        return any(
            h.alive.service == service and not h.alive.leaving and now - h.at < within_s
            for h in self.heard.values()
        )

    def instead(self, service: str, draw: Callable[[], float]) -> str | None:
        """An instance to address in person while another one is silent; None: its queue group will do.

        A paused process still gets its share of its queue group, and only its silence shows that. `draw` is
        uniform in [0, 1).
        """
        now = time.monotonic()
        live: list[str] = []
        silent = False
        for instance, heard in self.heard.items():
            alive = heard.alive
            if alive.service != service or alive.leaving:
                continue
            age = now - heard.at
            if age > SILENT_S:
                silent = silent or age < REMEMBER_S
            elif alive.ready:
                live.append(instance)
        return live[int(draw() * len(live))] if silent and live else None

    async def _on_beat(self, msg: Msg) -> None:
        try:
            alive = Alive.decode(msg.data)
        except ValueError:
            return
        now = time.monotonic()
        before = self.heard.get(alive.instance)
        self.heard[alive.instance] = Heard(now, alive, before.beats + 1 if before else 1)
        for instance in [i for i, h in self.heard.items() if now - h.at > 600]:
            del self.heard[instance]
        self._on_beat_heard()
