"""OpenAI's official client on answers without a server."""

from __future__ import annotations

from typing import Any

import httpx2
from openai import OpenAI, Stream, omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent


def client(status: int, body: bytes, headers: dict[str, str]) -> OpenAI:
    """A client whose every request is answered so."""
    answer = httpx2.MockTransport(lambda _: httpx2.Response(status, content=body, headers=headers))
    return OpenAI(api_key="none", http_client=httpx2.Client(transport=answer), max_retries=0)


def answer_of(body: bytes) -> Response:
    """What `responses.create` gives for this body."""
    return client(200, body, {"content-type": "application/json"}).responses.create(model="m", input="x")


def stream_of(body: bytes) -> Stream[ResponseStreamEvent]:
    """What `responses.create(stream=True)` gives for this stream."""
    return client(200, body, {"content-type": "text/event-stream"}).responses.create(
        model="m", input="x", stream=True
    )


def accumulate(stream: Stream[ResponseStreamEvent]) -> tuple[list[Any], Response]:
    """All events, put together by the client's own accumulator, which raises at what does not fit; and the
    response that the last one holds."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    events: list[Any] = []
    for event in stream:
        state.handle_event(event)
        events.append(event)
    return events, events[-1].response
