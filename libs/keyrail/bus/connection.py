"""One NATS connection of one service instance, with the client's defaults changed once."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from keyrail.bus.client import LeanClient
from keyrail.bus.errors import BusUnavailable, MessageTooLarge
from keyrail.bus.subscription import Handler
from keyrail.contracts import subjects
from keyrail.telemetry import metrics

log = logging.getLogger(__name__)

HEADROOM = 64 * 1024
"""The server counts headers and payload together, the client only the payload: stay this far below."""
PENDING_BYTES = 32 << 20
"""What may wait to be sent, so that one large message while reconnecting is not an error."""


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Where the bus is and who this instance is on it."""

    url: str
    service: str
    user: str | None = None
    password: str | None = None
    instance: str = field(default_factory=lambda: os.urandom(6).hex())


class Bus:
    """The connection, the instance's identity and its private inbox."""

    def __init__(self, settings: BusSettings) -> None:
        self.service = settings.service
        self.instance = settings.instance
        self.inbox = f"{subjects.inbox_prefix(settings.service)}.{settings.instance}"
        self.nc = LeanClient()
        self.js: JetStreamContext = self.nc.jetstream(timeout=5)
        self.closed_by_us = False
        self._settings = settings
        self._on_reconnect: list[Callable[[], Awaitable[None]]] = []
        self._on_closed: list[Callable[[], None]] = []

    async def connect(self) -> None:
        """Connect; from then on reconnect for ever, whatever happens to the server."""
        options = self._settings
        await self.nc.connect(
            options.url,
            name=f"{options.service}/{options.instance}",
            user=options.user,
            password=options.password,
            inbox_prefix=subjects.inbox_prefix(options.service).encode(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # pyright: ignore[reportArgumentType] seconds, slept as they are
            connect_timeout=2,
            ping_interval=20,
            max_outstanding_pings=2,
            pending_size=PENDING_BYTES,
            error_cb=self._error,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
            closed_cb=self._closed,
        )

    @property
    def connected(self) -> bool:
        """Whether a message published now leaves at once."""
        return self.nc.is_connected

    @property
    def max_message(self) -> int:
        """Most bytes that one message may have."""
        return self.nc.max_payload - HEADROOM

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call this after each reconnection."""
        self._on_reconnect.append(callback)

    def on_closed(self, callback: Callable[[], None]) -> None:
        """Call this when the client gave up for good: the process had better end."""
        self._on_closed.append(callback)

    def send(self, subject: str, payload: bytes, reply: str = "", headers: bytes = b"") -> None:
        """Publish once, at most once delivered; what is sent in one turn of the loop leaves in one write.

        `headers` is a whole header block. Raises MessageTooLarge and BusUnavailable.
        """
        if len(payload) > self.nc.max_payload - HEADROOM:
            raise MessageTooLarge(f"{len(payload)} bytes to {subject}")
        try:
            self.nc.send(subject, payload, reply, headers)
        except NatsError as error:
            raise BusUnavailable(str(error) or type(error).__name__) from error

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """As `send`, and wait while the server does not read."""
        self.send(subject, payload, reply)
        if self.nc.pending_data_size > PENDING_BYTES:
            try:
                await self.nc.relief()
            except (TimeoutError, OSError) as error:
                raise BusUnavailable("nats-server does not read") from error

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", pending: int = 65_536
    ) -> Subscription:
        """As `listen`."""
        return self.listen(subject, handler, queue=queue, pending=pending)

    def listen(
        self, subject: str, handler: Handler, *, queue: str = "", pending: int = 65_536
    ) -> Subscription:
        """Core subscription. Handlers of one subscription run one after the other: spawn what takes time."""
        return self.nc.listen(subject, handler, queue=queue, pending=pending)

    async def close(self) -> None:
        """Flush and close."""
        self.closed_by_us = True
        if self.nc.is_connected:
            await self.nc.drain()
        elif not self.nc.is_closed:
            await self.nc.close()

    async def _error(self, error: Exception) -> None:
        metrics.counter(metrics.BUS_ERRORS, type(error).__name__).inc()
        log.warning("bus error", extra={"error": str(error) or type(error).__name__})

    async def _disconnected(self) -> None:
        if not self.closed_by_us:
            log.warning("bus disconnected")

    async def _reconnected(self) -> None:
        metrics.BUS_RECONNECTS.inc()
        log.warning("bus reconnected")
        for callback in self._on_reconnect:
            await callback()

    async def _closed(self) -> None:
        if not self.closed_by_us:
            log.error("bus closed for good")
            for callback in self._on_closed:
                callback()


async def connect(settings: BusSettings) -> Bus:
    """A connected bus."""
    bus = Bus(settings)
    await bus.connect()
    return bus
