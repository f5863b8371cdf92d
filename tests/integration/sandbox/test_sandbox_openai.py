"""OpenAI's Responses and embeddings, as the official client sees them."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response
from support.sandbox_process import Running

TOOL: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    "strict": False,
}
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
    "logprobs",
    "late-usage",
    "split-utf8",
    "keepalive+crlf",
)


@pytest.fixture
async def client(sandbox: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=sandbox.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


async def _streamed(client: openai.AsyncOpenAI, model: str) -> tuple[Response, list[str]]:
    """The response that the client puts together from the events, and the types of these."""
    kinds: list[str] = []
    call = client.responses.stream(
        model=model,
        input="one two three",
        tools=[TOOL],
        reasoning={"summary": "auto"},
        include=["reasoning.encrypted_content"],
    )
    async with call as stream:
        async for event in stream:
            kinds.append(event.type)
        return await stream.get_final_response(), kinds


@pytest.mark.parametrize("model", MODELS)
async def test_a_streamed_response_is_the_whole_one(client: openai.AsyncOpenAI, model: str) -> None:
    if model in ("length", "filter"):
        # The client's helper waits for response.completed only.
        events = [e async for e in await client.responses.create(model=model, input="a b c", stream=True)]
        assert events[-1].type == "response.incomplete"
        assert events[-1].response.output_text == "a"
        return
    whole = await client.responses.create(
        model=model,
        input="one two three",
        tools=[TOOL],
        reasoning={"summary": "auto"},
        include=["reasoning.encrypted_content"],
    )
    streamed, kinds = await _streamed(client, model)
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert streamed.output_text == whole.output_text
    assert streamed.usage == whole.usage
    assert [item.type for item in streamed.output] == [item.type for item in whole.output]


async def test_the_pieces_of_parallel_calls_come_by_turns(client: openai.AsyncOpenAI) -> None:
    call = client.responses.create(model="tools-parallel", input="one two", tools=[TOOL], stream=True)
    deltas = [e async for e in await call if e.type == "response.function_call_arguments.delta"]
    assert [delta.output_index for delta in deltas[:4]] == [0, 1, 0, 1]
    for position in (0, 1):
        arguments = "".join(delta.delta for delta in deltas if delta.output_index == position)
        assert json.loads(arguments) == {"place": "one two"}


async def test_events_are_numbered_without_a_gap(client: openai.AsyncOpenAI) -> None:
    call = client.responses.create(
        model="reasoning", input="one two", reasoning={"summary": "auto"}, stream=True
    )
    numbers = [event.sequence_number async for event in await call]
    assert numbers == list(range(len(numbers)))


async def test_a_turn_with_reasoning_and_a_tool_goes_on(client: openai.AsyncOpenAI) -> None:
    history: list[Any] = [{"role": "user", "content": "one two"}]
    first = await client.responses.create(
        model="reasoning-tools",
        input=history,
        tools=[TOOL],
        store=False,
        include=["reasoning.encrypted_content"],
    )
    call = first.output[-1]
    assert call.type == "function_call"
    history += [item.model_dump(exclude_none=True) for item in first.output]
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    again = await client.responses.create(model="reasoning-tools", input=history, tools=[TOOL])
    assert again.output_text == "sunny"


async def test_a_failed_response_says_why(client: openai.AsyncOpenAI) -> None:
    call = client.responses.create(model="error-mid-stream", input="one two three", stream=True)
    *_, last = [event async for event in await call]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.code == "server_error"
    with pytest.raises(openai.BadRequestError) as missing:
        await client.responses.create(model="unheard-of", input="x")
    assert missing.value.code == "model_not_found"


async def test_embeddings_are_unit_vectors_of_their_texts(client: openai.AsyncOpenAI) -> None:
    floats = await client.embeddings.create(
        model="echo", input=["one", "two", "one"], encoding_format="float"
    )
    one, two, again = (item.embedding for item in floats.data)
    assert one == again
    assert one != two
    assert math.isclose(sum(number * number for number in one), 1, abs_tol=1e-5)
    packed = await client.embeddings.create(model="echo", input=["one"], dimensions=3)
    assert len(packed.data[0].embedding) == 3
    assert packed.usage.prompt_tokens == 1
    default = await client.embeddings.create(model="echo", input="one")
    assert default.data[0].embedding == pytest.approx(one, abs=1e-6)
    with pytest.raises(openai.RateLimitError):
        await client.embeddings.create(model="error-rate", input="one")


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2], [3]]])
async def test_tokens_can_be_embedded_too(http: httpx.AsyncClient, given: Any) -> None:
    answer = await http.post("/v1/embeddings", json={"model": "echo", "input": given})
    assert answer.json()["usage"]["prompt_tokens"] == 3
    assert len(answer.json()["data"]) == (1 if given == [1, 2, 3] else 2)


@pytest.mark.parametrize("given", ["", [], ["one", ""], None, {"a": 1}])
async def test_nothing_to_embed_is_a_400(http: httpx.AsyncClient, given: Any) -> None:
    assert (await http.post("/v1/embeddings", json={"model": "echo", "input": given})).status_code == 400


async def test_the_pieces_of_parallel_chat_calls_come_by_turns(client: openai.AsyncOpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": TOOL["parameters"]}}
    call = client.chat.completions.create(
        model="tools-parallel",
        messages=[{"role": "user", "content": "one two"}],
        tools=[tool],
        stream=True,
    )
    pieces = [
        c for chunk in [chunk async for chunk in await call] for c in chunk.choices[0].delta.tool_calls or ()
    ]
    named = [piece.index for piece in pieces if piece.function and piece.function.name]
    assert named == [0, 1]
    for position in (0, 1):
        own = [p.function.arguments or "" for p in pieces if p.index == position and p.function]
        assert json.loads("".join(own)) == {"place": "one two"}
