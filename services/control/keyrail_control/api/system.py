"""Routes about the installation as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from keyrail_control.api.pages import Rows
from keyrail_control.api.routing import Call, Route, Routes, Text

METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """It lives."""

    status: str = "ok"


@dataclass(frozen=True, slots=True)
class System:
    """`metrics` are those of all instances; `providers` one row for each."""

    metrics: Callable[[], Awaitable[bytes]]
    providers: Callable[[], Awaitable[list[dict[str, object]]]]

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route("GET", "/healthz", "Whether control lives", self._health, answer=Health, open=True),
            Route("GET", "/metrics", "All instances, for Prometheus", self._scrape, open=True),
            Route("GET", "/v1/providers", "Who can be called", self._list, answer=Rows),
        )

    async def _health(self, call: Call[None]) -> Health:
        return Health()

    async def _scrape(self, call: Call[None]) -> Text:
        return Text(await self.metrics(), METRICS)

    async def _list(self, call: Call[None]) -> Rows:
        rows: list[dict[str, Any]] = await self.providers()
        return Rows(rows=rows)
