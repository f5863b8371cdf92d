"""`python -m keyrail_sandbox`: serve until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn

from keyrail_sandbox.app import create_app
from keyrail_sandbox.settings import Settings

_BACKLOG = 2048
_KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that it is they who close them


class _Server(uvicorn.Server):
    """Tells the supervisor when it serves."""

    def __init__(self, config: uvicorn.Config, notify_fd: int | None) -> None:
        super().__init__(config)
        self._notify_fd = notify_fd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._notify_fd is not None:
            with contextlib.suppress(BrokenPipeError):  # nobody listens any more: serve all the same
                os.write(self._notify_fd, b"ready\n")


def _intended(record: logging.LogRecord) -> bool:
    """Whether uvicorn complains about what the sandbox does on purpose: cut answers, and end hanging ones."""
    cancelled = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return cancelled or record.getMessage().startswith("ASGI callable returned without")


def _listen(settings: Settings) -> socket.socket:
    if settings.listen_fd is not None:
        return socket.socket(fileno=settings.listen_fd)
    listener = socket.create_server(("127.0.0.1", settings.port), backlog=_BACKLOG)
    sys.stdout.write(f"sandbox http://127.0.0.1:{listener.getsockname()[1]}/v1\n")
    sys.stdout.flush()
    return listener


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Run the process; returns, or exits with 0, after a signal."""
    # uvicorn raises the signal again once it has stopped serving: a clean end, not a death by signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    settings = Settings()
    logging.getLogger("uvicorn.error").addFilter(lambda record: not _intended(record))
    config = uvicorn.Config(
        create_app(),
        loop="uvloop",
        http="httptools",
        ws="none",
        interface="asgi3",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.grace_s,
    )
    _Server(config, settings.notify_fd).run([_listen(settings)])


if __name__ == "__main__":
    main()
