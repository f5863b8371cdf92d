"""A real nats-server with Keyrail's own users, permissions and streams."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from keyrail.bus.connection import Bus, BusSettings, connect
from keyrail.bus.permissions import ADMIN, SERVICES, server_config
from keyrail_embedded import setup

BINARY = shutil.which("nats-server", path=str(Path(sys.executable).parent))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class NatsServer:
    """Every user's password is its name."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = directory / "nats.conf"
        passwords = {name: name for name in (*SERVICES, ADMIN)}
        self._config.write_text(server_config(passwords, store=str(directory / "js"), port=self.port))
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        assert BINARY is not None, "nats-server is not installed"
        self._process = subprocess.Popen(
            [BINARY, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await setup.apply(self.url, ADMIN)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait()

    async def restart(self) -> None:
        self.signal(signal.SIGKILL)
        await self.start()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    async def bus(self, service: str) -> Bus:
        return await connect(BusSettings(self.url, service, service, service))


async def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait until `condition()` is true; fail after `within_s` seconds."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
