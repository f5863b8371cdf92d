"""Who of a service was heard last, and since when this process has listened without a gap."""

from __future__ import annotations

import logging
import time

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from keyrail.contracts import subjects
from keyrail.contracts.signals import Alive
from keyrail_cost_accounting.sweep import Hearing

log = logging.getLogger(__name__)

FORGET_MS = 7_200_000


class Listener:
    """Hears the instances of one service. Times are milliseconds of the monotonic clock."""

    def __init__(self, nc: Client, service: str) -> None:
        self._nc = nc
        self._service = service
        self._hearing = Hearing()
        self._reconnects = 0
        self._subscription: Subscription | None = None
        self.heard: dict[str, int] = {}

    async def start(self) -> None:
        """Listen."""
        self._subscription = await self._nc.subscribe(subjects.alive(self._service), cb=self._alive)

    async def stop(self) -> None:
        """Listen no more."""
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()

    def tick(self, now: int) -> None:
        """Say, every second, that this process runs."""
        if (reconnects := self._nc.stats["reconnects"]) != self._reconnects:
            self._reconnects = reconnects
            self._hearing.interrupted()
        self._hearing.tick(now, connected=self._nc.is_connected)

    def since(self, now: int, silence_ms: int) -> int | None:
        """Since when it has listened; None while that is too short to call anybody silent."""
        since = self._hearing.listening_since_ms
        if since is None or now - since <= silence_ms:
            return None
        self.heard = {instance: at for instance, at in self.heard.items() if now - at < FORGET_MS}
        return since

    async def _alive(self, msg: Msg) -> None:
        try:
            alive = Alive.decode(msg.data)
        except ValueError:
            log.warning("an announcement cannot be read", extra={"service": self._service})
            return
        self.heard[alive.instance] = monotonic_ms()


def monotonic_ms() -> int:
    """This process' monotonic clock."""
    return time.monotonic_ns() // 1_000_000
