"""The HTTP interface of `clickhouse_http` as a process that can be killed and comes back on the same port."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec

from support.clickhouse_http import Fault, Seen

MODULES = Path(__file__).parent.parent


class ClickHouseProcess:
    """Not started yet. Tables are in `directory` and outlive the process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What `open_ledger` takes."""
        return f"{self.address}/default"

    def start(self) -> None:
        """Return once it answers. Started again it has the port it had before."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.clickhouse_http", str(self._directory), str(self.port)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(MODULES)},
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the HTTP interface did not start"
        self.port = int(line)

    def kill(self) -> None:
        """kill -9: whoever connects is refused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def fail(self, *faults: Fault) -> None:
        """Only these go wrong from now on."""
        httpx.post(f"{self.address}/faults", content=msgspec.json.encode(list(faults))).raise_for_status()

    def seen(self) -> Seen:
        """What it was asked since it was started."""
        answer = httpx.get(f"{self.address}/seen").raise_for_status()
        return msgspec.json.decode(answer.content, type=Seen)
