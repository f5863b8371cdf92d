"""Starting, awaiting and stopping the processes that are measured."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


class StartError(Exception):
    """A target did not come up; the message ends with the last lines of its log."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Child:
    """One started process; its output goes to a log file."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C comes to the benchmark alone, which stops the others
            )
        self.pid = self._process.pid

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait until `ready`. Raises StartError when the process ends first, or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise StartError(f"{what}: ended with {self._process.returncode}\n{_tail(self._log)}")
            if time.monotonic() > deadline:
                raise StartError(f"{what}: not ready in {seconds:.0f} s\n{_tail(self._log)}")
            time.sleep(0.1)

    def stop(self, seconds: float = 20.0) -> str | None:
        """SIGTERM, then SIGKILL when that does not end it in time, which the returned sentence says."""
        if self._process.poll() is not None:
            return None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"did not end {seconds:.0f} s after SIGTERM"
        return None


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Generator[Child]:
    """A child for the time of the block."""
    child = Child(command, environment, log)
    try:
        yield child
    finally:
        if (problem := child.stop()) is not None:
            print(f"! {command[0]}: {problem}", flush=True)


def answers_200(port: int, path: str) -> bool:
    """Whether GET on loopback answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def accepts(port: int) -> bool:
    """Whether something listens on loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False
