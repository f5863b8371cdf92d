"""The set-up step: wait for nats-server, then create its streams, durables and buckets."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client

from keyrail.bus import topology
from keyrail.bus.permissions import ADMIN

PATIENCE_S = 10.0


async def apply(url: str, password: str) -> None:
    """Raises OSError when nats-server does not come up in PATIENCE_S."""
    client = Client()
    give_up = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            await client.connect(url, user=ADMIN, password=password, allow_reconnect=False)
            break
        except OSError:
            if asyncio.get_running_loop().time() > give_up:
                raise
            await asyncio.sleep(0.02)
    try:
        await topology.apply(client.jetstream(timeout=10))
    finally:
        await client.close()
