"""A service process from start to end: event loop, logs, bus, signals, drain."""

from __future__ import annotations

import asyncio
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


class Service(Protocol):
    """What an `app.py` builds."""

    async def start(self) -> None:
        """Begin to work; return once the first message would be served."""
        ...

    async def drain(self) -> None:
        """Take nothing new, finish what runs, flush events."""
        ...


Build = Callable[[Bus], Service]


def run(name: str, settings: ServiceSettings, build: Build) -> None:
    """Run one service until SIGTERM or SIGINT. Returns after a clean drain; exits 1 when the bus is lost."""
    _die_with_parent()
    sys.exit(uvloop.run(_main(name, settings, build)))


def _die_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent goes, so that no child outlives a killed supervisor."""
    if sys.platform == "linux" and "KEYRAIL_PARENT" in os.environ:  # noqa: TID251
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def _main(name: str, settings: ServiceSettings, build: Build) -> int:
    password = settings.nats_password_file.read_text().strip() if settings.nats_password_file else None
    bus_settings = BusSettings(settings.nats_url, name, settings.nats_user, password)
    logs.setup(name, bus_settings.instance, settings.log_level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bus = await _patiently(lambda: connect(bus_settings))
    bus.on_closed(stop.set)
    await bus.subscribe(subjects.METRICS, _metrics_handler(bus))
    service = build(bus)
    await service.start()
    _calm_collector()
    log.info("ready", extra={"pid": os.getpid()})
    notify.tell(settings.notify_fd, "ready")
    await stop.wait()
    notify.tell(settings.notify_fd, "draining")
    log.info("draining")
    try:
        await asyncio.wait_for(service.drain(), settings.drain_s)
    except TimeoutError:
        log.error("drain took too long; leaving work behind")
    gone = bus.nc.is_closed
    await bus.close()
    log.info("stopped")
    return 1 if gone else 0


def _calm_collector() -> None:
    """Take what the start made out of the collector's sight, and let it look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


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
