"""What one answer is in writes, without a network that could join them."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from keyrail_sandbox.app import create_app


async def _writes(model: str, *, stream: bool) -> list[bytes]:
    """The parts of the body as the server is told to write them."""
    body = {"model": model, "messages": [{"role": "user", "content": "one two"}], "stream": stream}
    asked = False
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            # Nobody leaves before the answer is complete: the watcher is cancelled here.
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    await create_app()(scope, receive, send)
    return [message["body"] for message in sent[1:]]


def _torn(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


@pytest.mark.parametrize("stream", [True, False])
async def test_split_utf8_tears_characters_apart(stream: bool) -> None:
    writes = await _writes("split-utf8", stream=stream)
    assert any(_torn(write) for write in writes)
    assert "žluťoučký" in b"".join(writes).decode()


async def test_each_chunk_is_a_write_of_its_own() -> None:
    writes = await _writes("chunks-10", stream=True)
    assert len(writes) == 1 + 10 + 1  # the role, the chunks, and all that follows the content
