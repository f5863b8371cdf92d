"""The wiring: paths to handlers, over raw ASGI, because a benchmark's upstream must cost next to nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keyrail_sandbox import handlers
from keyrail_sandbox.calls import CallLog
from keyrail_sandbox.exchange import Exchange, Receive, Scope, Send
from keyrail_sandbox.routes import lists_models, route

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def create_app() -> ASGIApp:
    """An ASGI 3 application with its own record of calls. Serves HTTP only: run it with lifespan off."""
    log = CallLog()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the sandbox serves HTTP only")
        exchange = Exchange(receive, send)
        path: str = scope["path"]
        match scope["method"]:
            case "POST" if found := route(path, scope.get("query_string", b"")):
                await handlers.complete(scope, exchange, log, found)
            case "GET" if path == "/healthz":
                await handlers.health(exchange)
            case "GET" if path == "/_calls":
                await handlers.list_calls(scope, exchange, log)
            case "DELETE" if path == "/_calls":
                await handlers.clear_calls(exchange, log)
            case "GET" if lists_models(path):
                await handlers.models(scope, exchange)
            case _:
                await handlers.unknown(scope, exchange)

    return app
