"""An ASGI application behind the server, for APIs whose requests are few and whose bodies are small."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from keyrail.http.connection import Handler
from keyrail.http.request import Request

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 1 << 20


def handler(app: App) -> Handler:
    """Calls the app with whole requests; longer bodies than MAX_BODY are a 413.

    A header that was sent more than once is there as often, each time with its last value.
    """
    tasks: set[asyncio.Task[None]] = set()

    def serve(request: Request) -> None:
        def with_body(body: bytes | None) -> None:
            if body is None:
                request.answer(413, (("content-type", "text/plain"),), b"Content Too Large\n")
                return
            task = asyncio.get_running_loop().create_task(_run(app, request, body))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        request.read(MAX_BODY, with_body)

    return serve


async def _run(app: App, request: Request, body: bytes) -> None:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": request.method,
        "path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": [*request.headers.items(), *((name, request.headers[name]) for name in request.repeated)],
    }
    gone = asyncio.Event()
    request.on_gone = gone.set
    bodies = iter((body,))

    async def receive() -> Message:
        for whole in bodies:
            return {"type": "http.request", "body": whole, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            pairs = message.get("headers", ())
            request.start(message["status"], [(n.decode("latin-1"), v.decode("latin-1")) for n, v in pairs])
        elif message.get("more_body", False):
            request.send(message.get("body", b""))
        else:
            request.end(message.get("body", b""))

    try:
        await app(scope, receive, send)
    except Exception:  # the edge of the process: the client is not left waiting
        log.exception("a request crashed")
    if not request.ended and not request.gone:
        request.abort()
