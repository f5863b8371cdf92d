"""`python -m support.tap HOME FILE`: every message on the bus of a running stack, into a file."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg

from keyrail.bus.permissions import ADMIN


async def main(home: Path, file: Path) -> None:
    """Listen until SIGTERM, over restarts of the server."""
    config = json.loads((home / "run" / "nats-server.conf").read_text())
    (password,) = (u["password"] for u in config["authorization"]["users"] if u["user"] == ADMIN)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = Client()
    with file.open("wb") as out:

        async def on_message(msg: Msg) -> None:
            line = f"{msg.subject} {msg.reply} {msg.headers}\n"
            out.write(line.encode() + msg.data + b"\n")

        await client.connect(
            f"nats://127.0.0.1:{config['port']}",
            user=ADMIN,
            password=password,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
        )
        await client.subscribe(">", cb=on_message, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await client.flush()
        print("listening", flush=True)
        await stop.wait()
        if client.is_connected:
            await client.drain()
        else:
            await client.close()


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
