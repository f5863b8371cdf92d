"""What Anthropic's official client makes of answers, streams and errors, without a server."""

from __future__ import annotations

import json
from typing import Any, cast

import httpx2
from anthropic import Anthropic
from anthropic.types import Message


def client(status: int, headers: dict[str, str], body: bytes) -> Anthropic:
    """A client whose every request is answered by this."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers=headers, content=body)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return Anthropic(api_key="none", base_url="http://127.0.0.1", http_client=http, max_retries=0)


def through_sdk(stream: bytes) -> Message:
    """The message that the client's accumulator puts together."""
    sdk = client(200, {"content-type": "text/event-stream"}, stream)
    messages: Any = [{"role": "user", "content": "?"}]
    with sdk.messages.stream(model="m", max_tokens=1, messages=messages) as events:
        return cast("Message", events.get_final_message())


def payloads(stream: bytes) -> list[dict[str, Any]]:
    """The data of all events."""
    lines = stream.decode().splitlines()
    return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
