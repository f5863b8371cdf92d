"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import socket
import time
from pathlib import Path

from pydantic import BaseModel


class Machine(BaseModel):
    """The machine, with two prices that make figures of different machines comparable.

    `loopback_us`: a send and a receive of 1.2 KB over TCP on loopback. `python_ns`: one addition in a loop.
    """

    cpu: str
    cores: int
    kernel: str
    python: str
    loopback_us: float
    python_ns: float


def _loopback_us(rounds: int = 5_000) -> float:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    message = b"x" * 1_200
    with near, far:
        began = time.process_time()
        for _ in range(rounds):
            near.sendall(message)
            far.recv(len(message), socket.MSG_WAITALL)
        return (time.process_time() - began) / rounds * 1e6


def _python_ns(rounds: int = 1_000_000) -> float:
    began, total = time.process_time(), 0
    for number in range(rounds):
        total += number
    return (time.process_time() - began) / rounds * 1e9


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def look() -> Machine:
    """Look at this machine; takes about a quarter of a second."""
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        loopback_us=_loopback_us(),
        python_ns=_python_ns(),
    )
