"""Anthropic's Messages, as the official client sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message
from support.sandbox_process import Running

TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
QUESTION: Any = {"role": "user", "content": "one two three"}
MODELS = (
    "echo",
    "tools",
    "tools-parallel",
    "tool-noargs",
    "reasoning",
    "reasoning-tools",
    "refusal",
    "length",
    "filter",
    "cached",
    "late-usage",
    "split-utf8",
    "keepalive+crlf",
)


@pytest.fixture
async def client(sandbox: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=sandbox.url, api_key="any", max_retries=0) as client:
        yield client


async def _whole(client: anthropic.AsyncAnthropic, model: str, *messages: Any) -> Message:
    return await client.messages.create(
        model=model, max_tokens=100, messages=messages or (QUESTION,), tools=[TOOL]
    )


def _without_ids(message: Message) -> dict[str, Any]:
    said = message.model_dump(exclude={"id", "usage"}, exclude_none=True)
    for block in said["content"]:
        block.pop("id", None)
    return said


@pytest.mark.parametrize("model", MODELS)
async def test_a_streamed_message_is_the_whole_one(client: anthropic.AsyncAnthropic, model: str) -> None:
    whole = await _whole(client, model)
    async with client.messages.stream(
        model=model, max_tokens=100, messages=[QUESTION], tools=[TOOL]
    ) as stream:
        streamed = await stream.get_final_message()
    mine = _without_ids(streamed)
    for block in mine["content"]:
        block.pop("parsed_output", None)
    assert mine == _without_ids(whole)
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.input_tokens == whole.usage.input_tokens
    assert streamed.usage.cache_read_input_tokens == whole.usage.cache_read_input_tokens


async def test_a_turn_with_thoughts_and_a_tool_goes_on(client: anthropic.AsyncAnthropic) -> None:
    first = await _whole(client, "reasoning-tools")
    assert first.stop_reason == "tool_use"
    thinking, call = first.content
    assert thinking.type == "thinking"
    assert call.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    mine = {"role": "assistant", "content": first.content}
    theirs = {"role": "user", "content": [result]}
    again = await _whole(client, "reasoning-tools", QUESTION, mine, theirs)
    assert again.content[-1].model_dump()["text"] == "sunny"
    bare = {"role": "assistant", "content": [call]}
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking`"):
        await _whole(client, "reasoning-tools", QUESTION, bare, theirs)


async def test_tokens_are_counted_as_a_message_would_count_them(client: anthropic.AsyncAnthropic) -> None:
    counted = await client.messages.count_tokens(model="echo", messages=[QUESTION], system="be kind")
    message = await client.messages.create(model="echo", max_tokens=9, messages=[QUESTION], system="be kind")
    assert counted.input_tokens == message.usage.input_tokens == 12


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("error-auth", anthropic.AuthenticationError),
        ("error-money", anthropic.BadRequestError),
        ("error-rate", anthropic.RateLimitError),
        ("error-capacity", anthropic.InternalServerError),
        ("error-server", anthropic.InternalServerError),
        ("error-missing", anthropic.NotFoundError),
        ("unheard-of", anthropic.NotFoundError),
    ],
)
async def test_the_client_knows_the_errors(
    client: anthropic.AsyncAnthropic, model: str, error: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(error) as raised:
        await _whole(client, model)
    assert raised.value.request_id
    with pytest.raises(error):
        await client.messages.count_tokens(model=model, messages=[QUESTION])


@pytest.mark.parametrize("model", ["error-mid-stream", "error-200"])
async def test_an_error_in_a_stream_is_raised(client: anthropic.AsyncAnthropic, model: str) -> None:
    with pytest.raises(anthropic.APIStatusError, match="Internal server error"):
        async with client.messages.stream(model=model, max_tokens=9, messages=[QUESTION]) as stream:
            await stream.get_final_message()


async def test_models_are_listed_in_anthropics_shape(client: anthropic.AsyncAnthropic) -> None:
    models = [model async for model in client.models.list()]
    assert models[0].id == "echo"
    assert models[0].lifecycle == "active"
