"""The wiring: paths to handlers, over raw ASGI, because a benchmark's upstream must cost next to nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keyrail_sandbox import handlers, openai_chat
from keyrail_sandbox.calls import CallLog
from keyrail_sandbox.dialect import Dialect
from keyrail_sandbox.exchange import Exchange, Receive, Scope, Send

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

DIALECTS: dict[str, Dialect] = {"/v1/chat/completions": openai_chat}
"""Path to the module that speaks its wire format."""


def create_app() -> ASGIApp:
    """An ASGI 3 application with its own record of calls. Serves HTTP only: run it with lifespan off."""
    log = CallLog()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the sandbox serves HTTP only")
        exchange = Exchange(receive, send)
        path: str = scope["path"]
        match scope["method"]:
            case "POST" if dialect := DIALECTS.get(path):
                await handlers.complete(scope, exchange, log, dialect)
            case "GET" if path == "/v1/models":
                await handlers.models(exchange)
            case "GET" if path == "/healthz":
                await handlers.health(exchange)
            case "GET" if path == "/_calls":
                await handlers.list_calls(scope, exchange, log)
            case "DELETE" if path == "/_calls":
                await handlers.clear_calls(exchange, log)
            case _:
                await handlers.unknown(scope, exchange)

    return app
