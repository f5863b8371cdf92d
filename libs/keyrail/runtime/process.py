"""A service process from start to end: event loop, logs, bus, signals, drain."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

import uvloop
from nats.aio.msg import Msg

from keyrail.bus.connection import Bus, BusSettings, connect
from keyrail.contracts import subjects
from keyrail.runtime import notify
from keyrail.runtime.settings import ServiceSettings
from keyrail.telemetry import logs, metrics

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
CONNECT_PATIENCE_S = 30.0
HANDOVER_S = 10.0
"""How long to go on serving until a successor does. A supervisor says so by a second SIGTERM."""
ORPHAN_S = 3.0
"""How long a process may take to leave once its supervisor is gone."""


class Service(Protocol):
    """What an `app.py` builds."""

    async def start(self) -> None:
        """Begin to work; return once the first message would be served."""
        ...

    async def drain(self) -> None:
        """Take nothing new, finish what runs, flush events."""
        ...


Build = Callable[[Bus], Service]


class _Signals:
    """The first SIGTERM or SIGINT asks to leave, the second to leave without waiting for a successor."""

    def __init__(self, parent: int | None) -> None:
        self.asked = asyncio.Event()
        self.now = asyncio.Event()
        self._parent = parent

    def __call__(self) -> None:
        """A signal came. When the supervisor is gone the bus is going too: no drain could end."""
        if orphaned(self._parent):
            asyncio.get_running_loop().call_later(ORPHAN_S, os._exit, 1)
        (self.now if self.asked.is_set() else self.asked).set()


def run(name: str, settings: ServiceSettings, build: Build) -> None:
    """Run one service until SIGTERM or SIGINT. Returns after a clean drain; exits 1 when the bus is lost."""
    _die_with_parent(settings.parent)
    sys.exit(uvloop.run(_main(name, settings, build)))


def orphaned(parent: int | None) -> bool:
    """Whether the process that started this one is gone; False when nobody said which that was."""
    return parent is not None and os.getppid() != parent


def _die_with_parent(parent: int | None) -> None:
    """Ask Linux for SIGTERM when the parent goes, so that no child outlives a killed supervisor."""
    if sys.platform == "linux" and parent is not None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if orphaned(parent):
        sys.exit(1)


async def _main(name: str, settings: ServiceSettings, build: Build) -> int:
    password = settings.nats_password_file.read_text().strip() if settings.nats_password_file else None
    bus_settings = BusSettings(settings.nats_url, name, settings.nats_user, password)
    logs.setup(name, bus_settings.instance, settings.log_level)
    signals = _Signals(settings.parent)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals)
    starting = asyncio.ensure_future(_start(bus_settings, build, signals))
    asked = asyncio.ensure_future(signals.asked.wait())
    await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        log.info("stopped before it was ready")
        return 0
    bus, service = starting.result()
    log.info("ready", extra={"pid": os.getpid()})
    notify.tell(settings.notify_fd, "ready")
    await asked
    await _leave(service, settings, signals)
    gone = bus.nc.is_closed
    await bus.close()
    log.info("stopped")
    return 1 if gone else 0


async def _start(settings: BusSettings, build: Build, signals: _Signals) -> tuple[Bus, Service]:
    bus = await _patiently(lambda: connect(settings))
    bus.on_closed(signals.asked.set)
    bus.on_closed(signals.now.set)
    await bus.subscribe(subjects.METRICS, _metrics_handler(bus))
    service = build(bus)
    await service.start()
    _calm_collector()
    return bus, service


async def _leave(service: Service, settings: ServiceSettings, signals: _Signals) -> None:
    """Serve on until the supervisor says that a successor does, then drain."""
    notify.tell(settings.notify_fd, "draining")
    if settings.notify_fd is not None and not orphaned(settings.parent):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(signals.now.wait(), HANDOVER_S)
    log.info("draining")
    try:
        await asyncio.wait_for(service.drain(), settings.drain_s)
    except TimeoutError:
        log.error("drain took too long; leaving work behind")


def _calm_collector() -> None:
    """Take what the start made out of the collector's sight, and let it look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)


async def _patiently(attempt: Callable[[], Awaitable[Bus]]) -> Bus:
    give_up = asyncio.get_running_loop().time() + CONNECT_PATIENCE_S
    while True:
        try:
            return await attempt()
        except OSError:
            if asyncio.get_running_loop().time() > give_up:
                raise
            await asyncio.sleep(0.1)


def _metrics_handler(bus: Bus) -> Callable[[Msg], Awaitable[None]]:
    async def answer(msg: Msg) -> None:
        if msg.reply:
            exposition = metrics.collect(bus.service, bus.instance)
            await bus.publish(msg.reply, exposition.model_dump_json().encode())

    return answer
