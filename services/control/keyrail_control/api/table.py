"""The whole table, with its own description in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from keyrail_control.api import openapi
from keyrail_control.api.routing import Call, Route, Routes


class Part(Protocol):
    """What has some routes."""

    def routes(self) -> Routes:
        """Its part of the table."""
        ...


def whole(parts: Iterable[Part]) -> Routes:
    """All routes of all parts, and `/openapi.json`."""
    description: dict[str, Any] = {}

    async def describe(call: Call[None]) -> dict[str, Any]:
        return description

    own: Route[None] = Route(
        "GET", "/openapi.json", "This API as OpenAPI 3.1", describe, answer=dict[str, Any]
    )
    routes = (*(route for part in parts for route in part.routes()), own)
    description |= openapi.document(routes)
    return routes
