"""A provider of OpenAI's dialect that looks at the key: each has a behaviour, and its calls are counted."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field

ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
MONEY = {"error": {"message": "Insufficient credits.", "type": "billing", "code": 402}}
UNKNOWN = {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}
SLOW = {"error": {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}}


@dataclass
class KeyedProvider:
    """`good` keys answer. `limited` ones give 429 with the Retry-After, `broke` ones 402, all others 401."""

    good: set[str] = field(default_factory=set[str])
    limited: dict[str, str] = field(default_factory=dict[str, str])
    broke: set[str] = field(default_factory=set[str])
    calls: list[tuple[float, str, int]] = field(default_factory=list[tuple[float, str, int]])
    tests: list[str] = field(default_factory=list[str])
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def times(self, key: str, status: int | None = None) -> int:
        """How many calls came with this key, or of them those answered with this status."""
        return sum(1 for _, k, s in self.calls if k == key and status in (None, s))

    async def open(self) -> KeyedProvider:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.wait_for(self._server.wait_closed(), 5)
        while self._writers:
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.split("\r\n")
                fields = {n.lower(): v for n, v in (line.split(": ", 1) for line in lines if line)}
                await reader.readexactly(int(fields.get("content-length", 0)))
                key = fields.get("authorization", "").removeprefix("Bearer ")
                status, more, body = self._answer(key)
                if first.startswith("GET "):
                    self.tests.append(key)
                else:
                    self.calls.append((time.time(), key, status))
                payload = json.dumps(body).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}"
                    f"content-length: {len(payload)}\r\n\r\n".encode()
                    + payload
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    def _answer(self, key: str) -> tuple[int, str, object]:
        if key in self.good:
            return 200, "", ANSWER
        if key in self.limited:
            return 429, f"retry-after: {self.limited[key]}\r\n", SLOW
        if key in self.broke:
            return 402, "", MONEY
        return 401, "", UNKNOWN
