"""`keyrail costs` on a real terminal: a pseudo-terminal, and an admin API that answers by HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEYRAIL = Path(sys.executable).parent / "keyrail"
SUMS = {"requests": 1, "attempts": 1, "input_tokens": 5, "output_tokens": 6, "unknown_cost_attempts": 0}


class Api(BaseHTTPRequestHandler):
    """Each answer costs a dollar more than the one before."""

    spent = 0

    def do_GET(self) -> None:
        Api.spent += 1
        rows = [{"team": "search", **SUMS, "cost_usd": f"{Api.spent}"}]
        rows += [{"team": f"team-{number:02}", **SUMS, "cost_usd": "0.5"} for number in range(40)]
        body = json.dumps({"rows": rows, "cursor": None}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Api.spent = 0
    (tmp_path / "run.json").write_text(json.dumps({"admin_url": f"http://127.0.0.1:{server.server_port}"}))
    (tmp_path / "admin.token").write_text("t0")
    yield {
        "KEYRAIL_HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "110",
        "LINES": "12", "PYTHONUTF8": "1",
    }  # fmt: skip
    server.shutdown()
    thread.join()
    server.server_close()


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self.said = b""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execve(KEYRAIL, ["keyrail", "costs", *arguments], environment)

    def until(self, pattern: str) -> str:
        """What was said, once the pattern is in it."""
        while not re.search(pattern, self.said.decode(errors="replace")):
            self.said += os.read(self._fd, 4096)
        return self.said.decode()

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def status(self) -> int:
        """Its exit status; what it still says is read."""
        with contextlib.suppress(OSError):  # nobody has the other end any more
            while rest := os.read(self._fd, 4096):
                self.said += rest
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if os.waitpid(self._pid, os.WNOHANG) == (0, 0):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        os.close(self._fd)


@pytest.fixture
def begin(environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def one(*arguments: str, **more: str) -> Terminal:
        started.append(Terminal(environment | more, *arguments))
        return started[-1]

    yield one
    for each in started:
        each.close()


Begin = Callable[..., Terminal]


def test_watching_redraws_in_place_and_ends_at_ctrl_c(begin: Begin) -> None:
    terminal = begin("--by", "team", "--watch", "0.1")
    said = terminal.until(r"search( +\d+){4} +3 [^\0]*\x1b\[J")
    frames = said.split("\x1b[J")[:-1]
    terminal.type("\x03")
    assert terminal.status() == 0
    assert len(frames) >= 3
    for frame in frames:
        assert frame.startswith("\x1b[H")
        lines = frame.removeprefix("\x1b[H").split("\x1b[K\r\n")
        assert len(lines) == 12
        assert lines[0].startswith("team")
        assert lines[1].endswith("█")
        assert lines[-2:] == ["and 32 more", ""]
        assert all(len(line) <= 110 for line in lines)


def test_a_table_has_bars_on_a_terminal(begin: Begin) -> None:
    terminal = begin("--by", "team", COLUMNS="200")
    assert terminal.status() == 0
    lines = terminal.said.decode().splitlines()
    search, other = [line for line in lines if line.startswith(("search", "team-00"))]
    assert (search.count("█"), other.count("█")) == (60, 30)


def test_a_narrow_terminal_has_no_room_for_bars(begin: Begin) -> None:
    terminal = begin("--by", "team", COLUMNS="80")
    assert terminal.status() == 0
    assert "team-39" in terminal.said.decode()
    assert "█" not in terminal.said.decode()


def test_a_terminal_without_blocks_gets_signs(begin: Begin) -> None:
    terminal = begin("--by", "team", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert terminal.status() == 0
    assert "###" in terminal.said.decode()
    assert "█" not in terminal.said.decode()


def test_without_a_terminal_it_is_printed_again_and_has_no_bars(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [KEYRAIL, "costs", "--by", "team", "--watch", "0.1"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    headings = 0
    for line in process.stdout:
        assert not set("█\x1b") & set(line)
        headings += line.startswith("team ")
        if headings == 3:
            break
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait(20) == 0
    process.stdout.close()
