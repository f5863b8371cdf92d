"""Runs commands of `keyrail` in forks of one process that has imported them.

Importing costs half a second of CPU, a fork a few milliseconds. Each command has its own process, with the
arguments, environment and files that it is given, as with the script.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from typing import IO, NoReturn

WAIT_S = 60.0


class CommandServer:
    """The process, as who asks it sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; `given` is its standard input. Raises subprocess.TimeoutExpired."""
        asked = json.dumps([list(arguments), dict(environment)]).encode()
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            files[0].write(given.encode())
            files[0].seek(0)
            read, write = os.pipe()
            opened.callback(os.close, read)
            try:
                socket.send_fds(self._socket, [asked], [*(file.fileno() for file in files), write])
            finally:
                os.close(write)
            code = _code(read, arguments)
            out, err = (_text(file) for file in files[1:])
        return subprocess.CompletedProcess(["keyrail", *arguments], code, out, err)

    def close(self) -> None:
        """It ends once nobody can ask it any more."""
        self._socket.close()
        self._process.wait(10)


def _code(status: int, arguments: Sequence[str]) -> int:
    """The exit code: first its pid is said, then its code."""
    pid, said = 0, b""
    while said.count(b"\n") < 2:
        if not select.select([status], [], [], WAIT_S)[0]:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), WAIT_S)
        part = os.read(status, 100)
        assert part, "whoever watched the command died"
        said += part
        pid = int(said.split(b"\n")[0])
    return int(said.split(b"\n")[1])


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@functools.cache
def server() -> CommandServer:
    """The one of this process, started when it is first asked for."""
    started = CommandServer()
    atexit.register(started.close)
    return started


def _become(arguments: list[str], environment: dict[str, str], streams: list[int]) -> NoReturn:
    """Be the command, in a process that nobody else uses."""
    from keyrail_cli.main import main

    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    code = 1
    try:
        code = main(arguments)
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter does it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _watch(arguments: list[str], environment: dict[str, str], fds: list[int]) -> NoReturn:
    """Start the command, and say how it ended: it may become another program on its way."""
    *streams, status = fds
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _become(arguments, environment, streams)
    os.write(status, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(status, f"{code}\n".encode())
    os._exit(0)


def _serve(asked: socket.socket) -> None:
    importlib.import_module("keyrail_cli.main")  # before the first fork, and never in who asks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended but over the pipe
    while True:
        text, fds, _, _ = socket.recv_fds(asked, 1 << 20, 4)
        if not text:
            return
        if os.fork() == 0:
            asked.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            arguments, environment = json.loads(text)
            _watch(arguments, environment, fds)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
