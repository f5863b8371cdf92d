"""The set-up step: wait for nats-server, then create its streams, durables and buckets."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from nats.aio.client import Client

from keyrail.bus import topology
from keyrail.bus.permissions import ADMIN

PATIENCE_S = 10.0


async def apply(url: str, password: str) -> None:
    """Raises OSError when nats-server does not come up in PATIENCE_S."""
    await _listening(url)
    client = Client()
    await client.connect(url, user=ADMIN, password=password, allow_reconnect=False)
    try:
        await topology.apply(client.jetstream(timeout=10))
    finally:
        await client.close()


async def _listening(url: str) -> None:
    """Connect plainly until somebody answers: nats-py's own pause between tries is two seconds."""
    address = urlsplit(url)
    give_up = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.close()
            return
        except OSError:
            if asyncio.get_running_loop().time() > give_up:
                raise
            await asyncio.sleep(0.02)
