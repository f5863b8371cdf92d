"""The official client of the chat dialect, reading what a test gives it."""

from __future__ import annotations

import httpx2
from openai import OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk


def _client(body: bytes, content_type: str) -> OpenAI:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": content_type}, content=body)

    transport = httpx2.MockTransport(answer)
    return OpenAI(
        api_key="none",
        base_url="http://test/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
    )


def parse(body: bytes) -> ChatCompletion:
    """The answer as the client has it; what its types don't allow is an error."""
    ChatCompletion.model_validate_json(body)
    with _client(body, "application/json") as client:
        return client.chat.completions.create(model="m", messages=[])


def chunks(stream: bytes) -> list[ChatCompletionChunk]:
    """The chunks of a stream, each of them valid. Raises APIError for an error event."""
    with _client(stream, "text/event-stream") as client:
        found = list(client.chat.completions.create(model="m", messages=[], stream=True))
    for chunk in found:
        ChatCompletionChunk.model_validate(chunk.model_dump())
    return found


def assembled(stream: bytes) -> ChatCompletion:
    """The whole answer that the client's own helper puts together."""
    state = ChatCompletionStreamState()
    for chunk in chunks(stream):
        state.handle_chunk(chunk)
    return state.get_final_completion()
