"""Stands in for the `keyrail` command: answers chats itself, counts all but those that it is told to lose."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench.mock import Upstream

HOME = Path(os.environ["KEYRAIL_HOME"])
PORT = int(os.environ["KEYRAIL_PORT"])
READY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Gateway(Upstream):
    booked = 0

    def on_message_complete(self) -> None:
        if self._url == b"/readyz":
            assert self._transport is not None
            self._transport.write(READY)
            return
        Gateway.booked += 1
        super().on_message_complete()


async def up(lost: int) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(
        signal.SIGUSR1, lambda: (HOME / "booked").write_text(json.dumps({"requests": Gateway.booked - lost}))
    )
    (HOME / "default.key").write_text("kr_fake\n")
    processes = [{"service": "ingress", "instance": "ingress-1", "pid": os.getpid()}]
    (HOME / "run.json").write_text(json.dumps({"pid": os.getpid(), "processes": processes}))
    server = await loop.create_server(lambda: Gateway(loop), "127.0.0.1", PORT)
    await stop.wait()
    server.close()
    (HOME / "stopped").touch()


def costs() -> None:
    run = json.loads((HOME / "run.json").read_text())
    answer = HOME / "booked"
    answer.unlink(missing_ok=True)
    os.kill(run["pid"], signal.SIGUSR1)
    while not answer.exists() or not answer.read_text():
        os.sched_yield()
    print(json.dumps({"rows": [json.loads(answer.read_text())]}))


if __name__ == "__main__":
    given, verb = sys.argv[1], sys.argv[2]
    costs() if verb == "costs" else asyncio.run(up(int(given)))
