"""A server in front of another that keeps the bodies it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import uvicorn

HOP = {"connection", "content-length", "host", "transfer-encoding", "accept-encoding", "content-encoding"}


class Recorder:
    """An ASGI application. A request for a stream accepts one, as a provider takes it."""

    def __init__(self, target: httpx.AsyncClient) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        """How often each body (JSON, its names in order) was sent to each path."""
        self._target = target

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        read = json.loads(body) if body else {}
        self.seen[scope["path"], json.dumps(read, sort_keys=True)] += 1
        headers = [(n, v) for n, v in scope["headers"] if n.decode() not in HOP]
        if read.get("stream"):
            headers = [(n, v) for n, v in headers if n != b"accept"] + [(b"accept", b"text/event-stream")]
        url = httpx.URL(scope["path"], query=scope["query_string"])
        answer = await self._target.request(scope["method"], url, content=body, headers=headers)
        kept = [(n.encode(), v.encode()) for n, v in answer.headers.items() if n not in HOP]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
        await send({"type": "http.response.body", "body": answer.content})


@contextlib.asynccontextmanager
async def recording(url: str) -> AsyncGenerator[tuple[str, Recorder]]:
    """The recorder's own URL, and what it keeps."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with httpx.AsyncClient(base_url=url, timeout=60.0) as target:
            recorder = Recorder(target)
            config = uvicorn.Config(recorder, log_level="error", lifespan="off")
            server = uvicorn.Server(config)
            running = asyncio.create_task(server.serve([listener]))
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", recorder
            server.should_exit = True
            await running
