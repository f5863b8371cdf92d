"""An upstream that answers at once: the OpenAI chat format, pre-rendered, so that it costs next to nothing.

A body with `"stream":true` is answered by 100 events (the last one is usage, with no choices) and `[DONE]`,
in one burst; if the word `paced` is anywhere in the body, one event every 20 ms instead. Any other body gets
a JSON answer of 1.2 KB. The first line on stdout is the port.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any, cast

import httptools
import uvloop

EVENTS = 100
GAP_S = 0.02
_WORDS = "the rail carries every request to its own provider and notes what it cost on the way "
_USAGE = {
    "prompt_tokens": 220,
    "completion_tokens": 180,
    "total_tokens": 400,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
_SHARED = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "gpt-5.4-mini"}


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer() -> bytes:
    """The whole response to a call that does not stream."""
    message = {"role": "assistant", "content": _WORDS * 8, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {**_SHARED, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    return _response("200 OK", "application/json", json.dumps(body).encode())


def _event(choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
    body = {**_SHARED, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return f"data: {json.dumps(body)}\n\n".encode()


def events() -> list[bytes]:
    """The events of a stream, `[DONE]` last and on its own."""
    rendered: list[bytes] = []
    for number in range(EVENTS - 1):
        delta = {"role": "assistant", "content": ""} if number == 0 else {"content": _WORDS[:72]}
        finish = "stop" if number == EVENTS - 2 else None
        rendered.append(
            _event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], None)
        )
    return [*rendered, _event([], _USAGE), b"data: [DONE]\n\n"]


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(event: bytes) -> bytes:
    """An event as an HTTP chunk of its own."""
    return b"%x\r\n%b\r\n" % (len(event), event)


ANSWER = answer()
CHUNKS = [chunk(event) for event in events()]
CHUNKS[-1] += b"0\r\n\r\n"
BURST = STREAM_HEAD + b"".join(CHUNKS)
NOT_FOUND = _response(
    "404 Not Found", "application/json", b'{"error":{"message":"only /v1/chat/completions"}}'
)


class Upstream(asyncio.Protocol):
    """One connection. A client that pipelines behind a paced stream is not served."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._url = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.abort()

    def on_message_begin(self) -> None:
        self._body = b""
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        assert self._transport is not None
        body = self._body
        if not self._url.endswith(b"/chat/completions"):
            self._transport.write(NOT_FOUND)
        elif b'"stream":true' not in body and b'"stream": true' not in body:
            self._transport.write(ANSWER)
        elif b"paced" not in body:
            self._transport.write(BURST)
        else:
            # the role comes with the first word, as from the providers: a gateway may wait for content
            self._transport.write(STREAM_HEAD + CHUNKS[0])
            self._pace(1, self._loop.time())

    def _pace(self, number: int, began: float) -> None:
        if self._transport is None:
            return
        self._transport.write(CHUNKS[number])
        if number + 1 < len(CHUNKS):
            at = began + number * GAP_S
            self._timer = self._loop.call_at(at, self._pace, number + 1, began)


async def serve() -> None:
    """Serve on a port of the system's choice until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    server = await loop.create_server(lambda: Upstream(loop), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
