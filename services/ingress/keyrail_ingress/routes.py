"""The public paths. Whatever is not in the table is refused."""

from __future__ import annotations

from keyrail.contracts.failures import Failure
from keyrail.http.connection import Handler
from keyrail.http.request import Request
from keyrail_ingress import doors
from keyrail_ingress.relay import respond

NOT_SERVED = (
    "/v1/completions",
    "/v1/images",
    "/v1/audio",
    "/v1/batches",
    "/v1/files",
    "/v1/uploads",
    "/v1/fine_tuning",
    "/v1/assistants",
    "/v1/threads",
    "/v1/vector_stores",
    "/v1/moderations",
    "/v1/realtime",
)
"""Endpoints that clients know from elsewhere and that Keyrail does not have."""


SERVED = ", ".join(door.path for door in doors.DOORS) + " and /v1/models"


class Routes:
    """Exact paths to handlers, and prefixes (ending in a slash) to handlers."""

    def __init__(self, exact: dict[tuple[str, str], Handler], below: dict[tuple[str, str], Handler]) -> None:
        self._exact = exact
        self._below = below

    def __call__(self, request: Request) -> None:
        """Give the request to its handler."""
        handler = self._exact.get((request.method, request.path)) or self._find(request.method, request.path)
        if handler is not None:
            handler(request)
        else:
            respond(doors.nearest(request.path), request, self._nothing(request.method, request.path))

    def _find(self, method: str, path: str) -> Handler | None:
        for (wanted, prefix), below in self._below.items():
            if method == wanted and path.startswith(prefix):
                return below
        return None

    def _nothing(self, method: str, path: str) -> Failure:
        allowed = [m for m, p in self._exact if p == path and m != "HEAD"]  # a probe is no promise
        if allowed:
            message = f"{path} takes {' and '.join(allowed)}, not {method}."
            return Failure(kind="bad_request", message=message, status=405, code="method_not_allowed")
        for known in NOT_SERVED:
            if path == known or path.startswith(known + "/"):
                message = f"Keyrail does not serve {known}. It serves {SERVED}."
                return Failure(kind="bad_request", message=message, status=404, code="endpoint_not_served")
        message = f"There is no {path} here. Keyrail serves {SERVED}."
        return Failure(kind="bad_request", message=message, status=404, code="unknown_url")
