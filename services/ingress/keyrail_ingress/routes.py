"""The public paths. Whatever is not in the table is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keyrail.contracts.failures import Failure
from keyrail.http.server import App, Receive, Scope, Send
from keyrail_ingress.relay import respond

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

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
    "/v1/responses",
    "/v1/embeddings",
    "/v1/messages",
)
"""Endpoints that clients know from elsewhere and that Keyrail does not have."""


class Routes:
    """Exact paths to handlers, and prefixes (ending in a slash) to handlers."""

    def __init__(self, exact: dict[tuple[str, str], Handler], below: dict[tuple[str, str], Handler]) -> None:
        self._exact = exact
        self._below = below

    def app(self) -> App:
        """The ASGI app."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return
            handler = self._find(scope["method"], scope["path"])
            if handler is not None:
                await handler(scope, receive, send)
                return
            failure = self._nothing(scope["method"], scope["path"])
            await respond(send, failure, [])

        return serve

    def _find(self, method: str, path: str) -> Handler | None:
        handler = self._exact.get((method, path))
        if handler is not None:
            return handler
        for (wanted, prefix), below in self._below.items():
            if method == wanted and path.startswith(prefix):
                return below
        return None

    def _nothing(self, method: str, path: str) -> Failure:
        allowed = [m for m, p in self._exact if p == path]
        if allowed:
            message = f"{path} takes {' and '.join(allowed)}, not {method}."
            return Failure(kind="bad_request", message=message, status=405, code="method_not_allowed")
        for known in NOT_SERVED:
            if path == known or path.startswith(known + "/"):
                message = f"Keyrail does not serve {known}. It serves /v1/chat/completions and /v1/models."
                return Failure(kind="bad_request", message=message, status=404, code="endpoint_not_served")
        message = f"There is no {path} here. Keyrail serves /v1/chat/completions and /v1/models."
        return Failure(kind="bad_request", message=message, status=404, code="unknown_url")
