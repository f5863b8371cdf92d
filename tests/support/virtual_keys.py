"""Virtual keys put where control puts them, without asking it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from keyrail.bus.connection import Bus, BusSettings, connect
from keyrail.contracts import streams
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView, TenantConfig, TokenRecord
from keyrail.keys import virtual
from support.stack import Stack


async def bus_of(stack: Stack, service: str) -> Bus:
    """The bus of a running stack, with the permissions of this service."""
    run = stack.home / "run"
    port = json.loads((run / "nats-server.conf").read_text())["port"]
    password = (run / f"{service}.password").read_text().strip()
    return await connect(BusSettings(f"nats://127.0.0.1:{port}", service, service, password))


class VirtualKeys:
    """Of one running stack; speaks to the bus as control does."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    @classmethod
    async def of(cls, stack: Stack) -> VirtualKeys:
        return cls(await bus_of(stack, "control"))

    async def close(self) -> None:
        await self.bus.close()

    async def issue(self, **more: Any) -> tuple[str, TokenRecord]:
        """A new key and its record."""
        issued = virtual.issue()
        record = TokenRecord(id=issued.id, sha256=issued.sha256, created_ms=now_ms()).replace(**more)
        await self.put(record)
        return issued.key, record

    async def put(self, record: TokenRecord) -> None:
        bucket = await self.bus.js.key_value(streams.TOKENS.name)
        await bucket.put(record.id, record.encode())

    async def delete(self, record: TokenRecord) -> None:
        bucket = await self.bus.js.key_value(streams.TOKENS.name)
        await bucket.delete(record.id)

    async def rotate(self, record: TokenRecord, overlap_ms: int) -> tuple[str, TokenRecord]:
        """A new secret under the same id; the one before it is good for `overlap_ms` more."""
        body = virtual.issue().key
        key = f"kr_{record.id}_{body[12:]}"  # its checksum is wrong now, which ingress does not look at
        sha256 = hashlib.sha256(key.encode()).hexdigest()
        rotated = record.replace(
            sha256=sha256, previous_sha256=record.sha256, previous_until_ms=now_ms() + overlap_ms
        )
        await self.put(rotated)
        return key, rotated

    async def set_tenants(self, tenants: dict[str, TenantConfig]) -> None:
        """Change the tenants of the configuration that runs."""
        bucket = await self.bus.js.key_value(streams.CONFIG.name)
        view = ConfigView.decode((await bucket.get("current")).value or b"")
        await bucket.put("current", view.replace(revision=view.revision + 1, tenants=tenants).encode())
