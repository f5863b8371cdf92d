"""Writing frames to a request's inbox, numbered, each message below the server's limit."""

from __future__ import annotations

from keyrail.bus.connection import Bus
from keyrail.contracts import frames
from keyrail.contracts.base import Contract
from keyrail.contracts.frames import Kind
from keyrail.contracts.slips import Slip

CHUNK = 512 * 1024
"""Most bytes of one DATA frame; longer ones are cut."""


class Reply:
    """The frames of one attempt (one epoch and hop) of one request."""

    def __init__(self, bus: Bus, slip: Slip) -> None:
        self._bus = bus
        self._inbox = slip.inbox
        self._epoch = slip.epoch
        self._hop = slip.hop
        self.sequence = 0
        self.muted = False  # nobody reads the answer any more: its bytes stay here, its end is told
        self._held: list[bytes] = []

    def hold(self, kind: Kind, payload: Contract | bytes, flags: int = 0) -> None:
        """Add a frame that leaves together with the next one sent."""
        if self.muted and kind == Kind.DATA:
            return
        data = payload if isinstance(payload, bytes) else payload.encode()
        self._held.append(frames.encode(kind, self._epoch, self._hop, self.sequence, data, flags))
        self.sequence += 1

    async def send(self, kind: Kind, payload: Contract | bytes, flags: int = 0) -> None:
        """Send a frame with all that was held before it, in as few messages as fit. Raises BusError."""
        if isinstance(payload, bytes) and len(payload) > CHUNK:
            for start in range(0, len(payload), CHUNK):
                await self.send(kind, payload[start : start + CHUNK], flags)
            return
        self.hold(kind, payload, flags)
        held, self._held = self._held, []
        if not held:
            return
        await self._bus.publish(self._inbox, b"".join(held) if len(held) > 1 else held[0])
