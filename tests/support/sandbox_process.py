"""The sandbox as a process of its own, on a socket that the test holds."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Running:
    """`notified` is what came over the notify fd, its end waited for."""

    process: subprocess.Popen[str]
    port: int
    notified: bytes

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running(**env: str) -> Generator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "keyrail_sandbox"],
            env={
                "KEYRAIL_LISTEN_FD": str(listener.fileno()),
                "KEYRAIL_NOTIFY_FD": str(writer),
                **env,
            },
            pass_fds=(listener.fileno(), writer),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writer)
        with process:
            try:
                yield Running(process, listener.getsockname()[1], os.read(reader, 100))
            finally:
                os.close(reader)
                process.kill()


def body(model: str, text: str = "one two three", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def call_in_state(http: httpx.AsyncClient, client_request_id: str, state: str) -> dict[str, Any]:
    """The record of a call once it has this state."""
    async with asyncio.timeout(5):
        while True:
            seen = (await http.get("/_calls", params={"client_request_id": client_request_id})).json()
            if seen and seen[0]["state"] == state:
                return seen[0]
