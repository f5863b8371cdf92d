"""The embedded stack: starts everything in order, keeps it running, stops it in order."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keyrail.bus import permissions
from keyrail_embedded import plan, setup
from keyrail_embedded.children import Child, Spec
from keyrail_embedded.home import Home, write_private
from keyrail_embedded.plan import Places, Vault

READY_S = 60.0


class Say(Protocol):
    """Tell whoever started it: a sentence, and its facts for programs."""

    def __call__(self, what: str, **facts: str) -> None:
        """Say it."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to run. `tls`: files of the certificate and its key. `vault` None: the keystore holds the keys."""

    config: Path | None
    scale: Mapping[str, int]
    tls: tuple[Path, Path] | None = None
    vault: Vault | None = None


class Supervisor:
    """One run of the stack on a locked and prepared home."""

    def __init__(
        self,
        home: Home,
        listener: socket.socket,
        environment: Mapping[str, str],
        wanted: Wanted,
        say: Say,
    ) -> None:
        self._home = home
        self._listener = listener
        self._admin = _listen()
        self._sandbox = _listen()
        self._environment = environment
        self._wanted = wanted
        self._say = say
        self._children: list[Child] = []
        self._stop = asyncio.Event()
        self._announced = False

    async def run(self) -> int:
        """Run until SIGINT or SIGTERM. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        try:
            return await self._run()
        finally:
            self._say("stopping")
            await self._stop_all()
            self._say("stopped")

    async def _run(self) -> int:
        places, admin_password = self._places()
        environment = dict(self._environment)
        await self._start(plan.nats_server(self._home, places, environment), 0)
        await setup.apply(places.nats_url, admin_password)
        numbers: Counter[str] = Counter()
        for spec in plan.services(self._home, places, environment, self._wanted.scale):
            await self._start(spec, numbers[spec.service])
            numbers[spec.service] += 1
        self._write_run()
        ready = asyncio.gather(*(child.ready.wait() for child in self._children))
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({ready, stop}, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        if self._stop.is_set():
            ready.cancel()
            return 0
        if not ready.done():
            ready.cancel()
            late = ", ".join(sorted({c.spec.service for c in self._children if not c.ready.is_set()}))
            self._say(f"not ready after {READY_S:.0f} s: {late}; see {self._home.logs}")
            return 1
        self._announced = True
        self._write_run()
        url, key = self._public_url(), str(self._home.default_key)
        self._say(f"ready: {url}  first virtual key: {key}", url=url, key_file=key)
        await stop
        return 0

    async def _start(self, spec: Spec, number: int) -> None:
        suffix = f"-{number}" if number else ""
        kind = "jsonl" if spec.says_ready else "log"  # what knows no notify protocol has its own log format
        child = Child(spec, self._home.logs / f"{spec.service}{suffix}.{kind}", self._changed)
        self._children.append(child)
        await child.start()

    async def _stop_all(self) -> None:
        for service in plan.STOP_ORDER:
            await asyncio.gather(*(c.stop() for c in self._children if c.spec.service == service))

    def _places(self) -> tuple[Places, str]:
        binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
        port = _free_port()
        passwords = {name: secrets.token_urlsafe(24) for name in (*permissions.SERVICES, permissions.ADMIN)}
        for name in permissions.SERVICES:
            write_private(self._home.run / f"{name}.password", passwords[name] + "\n")
        config = self._home.run / "nats-server.conf"
        write_private(
            config, permissions.server_config(passwords, store=str(self._home.nats), port=port) + "\n"
        )
        places = Places(
            nats_url=f"nats://127.0.0.1:{port}",
            nats_config=config,
            nats_binary=Path(binary),
            sandbox_url=f"{self._url(self._sandbox)}/v1",
            config=self._wanted.config.absolute() if self._wanted.config else None,
            ingress_fd=self._listener.fileno(),
            admin_fd=self._admin.fileno(),
            sandbox_fd=self._sandbox.fileno(),
            tls=self._wanted.tls,
            vault=self._wanted.vault,
            lock_fd=self._home.lock_fd,
        )
        return places, passwords[permissions.ADMIN]

    def _changed(self, what: str) -> None:
        """Quiet while all goes well at start; every later change of a process is said."""
        if self._announced:
            self._say(what)
            if not self._stop.is_set():
                self._write_run()
        elif "ended" in what:
            self._say(what)

    def _write_run(self) -> None:
        processes = [
            {"service": child.spec.service, "instance": f"{child.spec.service}-{n}", "pid": pid}
            for n, child in enumerate(self._children)
            for pid in child.pids
        ]
        self._home.write_run(
            {
                "pid": os.getpid(),
                "url": self._public_url(),
                "admin_url": self._url(self._admin),
                "sandbox_url": f"{self._url(self._sandbox)}/v1",
                "processes": processes,
            }
        )

    def _public_url(self) -> str:
        url = self._url(self._listener)
        return url.replace("http:", "https:", 1) if self._wanted.tls else url

    @staticmethod
    def _url(listener: socket.socket) -> str:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _listen(port: int = 0) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    listener.setblocking(False)
    return listener


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
