"""How full the stream of events is: what waits there while the ledger is away has an end."""

from __future__ import annotations

import asyncio
import logging

from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from keyrail.contracts.streams import Durable, Stream
from keyrail_cost_accounting.metrics import Metrics

log = logging.getLogger(__name__)

ALARM = 0.8
"""From here on each look warns. Full, the stream refuses events, and workers take no calls."""


def alarming(used: int, most: int) -> bool:
    """Whether somebody should see to it."""
    return used >= ALARM * most


class Backlog:
    """The periodic look."""

    def __init__(
        self,
        js: JetStreamContext,
        stream: Stream,
        durable: Durable,
        metrics: Metrics,
        *,
        every_s: float = 15.0,
    ) -> None:
        self._js = js
        self._stream = stream
        self._durable = durable
        self._metrics = metrics
        self._every_s = every_s

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self._look()
            except (NatsError, TimeoutError) as error:
                log.warning("no news of the stream", extra={"error": str(error) or type(error).__name__})
            await asyncio.sleep(self._every_s)

    async def _look(self) -> None:
        info = await self._js.stream_info(self._stream.name)
        used, most = info.state.bytes, info.config.max_bytes or self._stream.max_bytes
        durable = await self._js.consumer_info(self._durable.stream, self._durable.name)
        self._metrics.stream_bytes.set(used)
        self._metrics.stream_fill.set(used / most)
        self._metrics.waiting.set((durable.num_pending or 0) + (durable.num_ack_pending or 0))
        if alarming(used, most):
            log.warning("the stream of events is nearly full", extra={"bytes": used, "most": most})
