"""The embedded stack as a user starts it: `keyrail up` in a home of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from keyrail.http.admin import AdminClient
from support import command_server
from support.nats import free_port

BIN = Path(sys.executable).parent
SERVICES = (
    "nats-server",
    "cost-accounting",
    "control",
    "sandbox",
    "provider-worker",
    "racer",
    "router",
    "ingress",
)
STARTS_WITHIN_S = 75.0


class Stack:
    """Started by `start`, or by `begin` and `ready`. Signals go to the pids of run.json only."""

    def __init__(
        self,
        home: Path,
        config: str = "",
        *,
        scale: dict[str, int] | None = None,
        environment: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls`: how to verify a stack whose environment names a certificate."""
        self.home = home
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.verify: ssl.SSLContext | bool = tls or True
        self.output = ""
        self._config = home.parent / f"{home.name}.yaml"
        self._config.write_text(config)
        self._scale = scale or {}
        self.environment = environment or {}
        self._log = home.parent / f"{home.name}.out"
        self._openai: AsyncOpenAI | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        home = str(Path.home())
        environment = {"PATH": os.environ["PATH"], "HOME": home, "KEYRAIL_HOME": str(self.home)}
        environment |= {"KEYRAIL_PORT": str(self.port), "KEYRAIL_CONFIG": str(self._config)}
        scale = [f"--scale={name}={count}" for name, count in self._scale.items()]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "keyrail"), "up", *scale],
                env=environment | self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def ready(self) -> None:
        assert self.process is not None
        async with asyncio.timeout(STARTS_WITHIN_S):
            while "ready: " not in self.said():
                assert self.process.poll() is None, self.said()
                await asyncio.sleep(0.02)

    async def start(self) -> Stack:
        self.begin()
        await self.ready()
        return self

    def said(self) -> str:
        return self._log.read_text()

    async def says(self, text: str, within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while text not in self.said():
                await asyncio.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)

    # what runs

    def run_file(self) -> dict[str, Any]:
        return json.loads((self.home / "run.json").read_text())

    def pids(self, service: str) -> list[int]:
        return [p["pid"] for p in self.run_file()["processes"] if p["service"] == service]

    def pid_of(self, service: str, instance: str) -> int:
        """The process behind an instance's id on the ledger."""
        for file in (self.home / "logs").glob(f"{service}*.jsonl"):
            for line in map(json.loads, file.read_text().splitlines()):
                if line["instance"] == instance and line["event"] == "ready":
                    return line["pid"]
        raise LookupError(instance)

    def signal(self, service: str, number: signal.Signals, index: int = 0) -> int:
        pid = self.pids(service)[index]
        os.kill(pid, number)
        return pid

    async def replaced(self, service: str, pid: int, within_s: float = 40.0) -> None:
        """Wait until the process is gone and as many as before serve again."""
        async with asyncio.timeout(within_s):
            while pid in self.pids(service) or len(self.pids(service)) < self._scale.get(service, 1):
                await asyncio.sleep(0.02)
            await self.ready_again()

    async def whole(self, within_s: float = 60.0) -> None:
        """Wait until as many as there should be of everything are there, and serve."""
        async with asyncio.timeout(within_s):
            while self._missing():
                await asyncio.sleep(0.02)
            await self.ready_again()

    def _missing(self) -> bool:
        counts = Counter(p["service"] for p in self.run_file()["processes"])
        return any(counts[service] != self._scale.get(service, 1) for service in SERVICES)

    async def ready_again(self) -> None:
        async with httpx.AsyncClient(verify=self.verify) as client:
            while True:
                try:
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)

    # clients

    @property
    def key(self) -> str:
        return (self.home / "default.key").read_text().strip()

    def openai(self) -> AsyncOpenAI:
        """The official client, which does not retry by itself here."""
        if self._openai is None:
            self._openai = AsyncOpenAI(
                base_url=f"{self.url}/v1",
                api_key=self.key,
                max_retries=0,
                timeout=60.0,
                http_client=DefaultAsyncHttpxClient(verify=self.verify),
            )
        return self._openai

    async def close(self) -> None:
        if self._openai is not None:
            await self._openai.close()
            self._openai = None

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {self.key}"},
            timeout=60.0,
            verify=self.verify,
        )

    async def sandbox_calls(self, url: str | None = None) -> list[dict[str, Any]]:
        """What the sandbox saw, by its own count: the stack's own, or the one at `url`."""
        async with httpx.AsyncClient(timeout=30.0) as client:
            base = url or self.run_file()["sandbox_url"].removesuffix("/v1")
            return (await client.get(f"{base}/_calls")).json()

    # the ledger

    def cli(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """`given`: its standard input."""
        environment = {"PATH": os.environ["PATH"], "KEYRAIL_HOME": str(self.home)}
        return command_server.server().run(arguments, environment, given)

    async def ledger(self, *arguments: str) -> Any:
        result = await asyncio.to_thread(self.cli, *arguments, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    async def attempts(self, request_id: str | None = None) -> list[dict[str, Any]]:
        """Over the admin API, which is quicker than a process for each question."""
        rows = await asyncio.to_thread(self._rows, "/v1/attempts")
        return [r for r in rows if request_id is None or r["request_id"] == request_id]

    def _rows(self, path: str) -> list[dict[str, Any]]:
        token = (self.home / "admin.token").read_text().strip()
        with AdminClient(self.run_file()["admin_url"], token) as admin:
            return list(admin.rows(path, {}))

    async def all_settled(self, called: Collection[str], within_s: float = 45.0) -> dict[str, dict[str, Any]]:
        """Every attempt by its id, once none runs and those `called` are among them, each once."""
        until = time.monotonic() + within_s
        while True:
            rows = await self.attempts()
            by_id = {row["attempt_id"]: row for row in rows}
            assert len(by_id) == len(rows), "an attempt is on the ledger twice"
            missing = set(called) - by_id.keys()
            running = [row for row in rows if row["status"] == "running"]
            if not missing and not running:
                return by_id
            assert time.monotonic() < until, f"missing {len(missing)} of {len(called)}; {running[:3]} run"
            await asyncio.sleep(0.5)

    async def settled(self, request_id: str, count: int = 1, within_s: float = 20.0) -> list[dict[str, Any]]:
        """The request's attempts once there are `count` and none runs."""
        until = time.monotonic() + within_s
        while True:
            rows = await self.attempts(request_id)
            if len(rows) >= count and all(r["status"] != "running" for r in rows):
                return rows
            assert time.monotonic() < until, rows
            await asyncio.sleep(0.1)


TEN_WORDS = "one two three four five six seven eight nine ten"


def chat(model: str, text: str = TEN_WORDS, **more: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
