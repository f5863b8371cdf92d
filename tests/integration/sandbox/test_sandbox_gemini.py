"""Gemini's generateContent, as the official client sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest
from google import genai
from google.genai import errors, types
from support.sandbox_process import Running

SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOL = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)]
)
CONFIG = types.GenerateContentConfig(
    tools=[TOOL],
    thinking_config=types.ThinkingConfig(include_thoughts=True),
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)
TEXT = "one two three"
MODELS = (
    "echo",
    "tools",
    "tools-parallel",
    "tool-noargs",
    "tool-badargs",
    "reasoning",
    "reasoning-tools",
    "refusal",
    "length",
    "filter",
    "cached",
    "late-usage",
    "split-utf8",
    "crlf",
)


@pytest.fixture
async def client(sandbox: Running) -> AsyncIterator[genai.Client]:
    async with httpx2.AsyncClient(timeout=10) as own:  # without it the client warns about aiohttp
        options = types.HttpOptions(
            base_url=sandbox.url,
            httpx_async_client=own,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        with genai.Client(api_key="any", http_options=options) as client:
            yield client


def _parts(answers: list[types.GenerateContentResponse]) -> list[types.Part]:
    candidates = [candidate for answer in answers for candidate in answer.candidates or ()]
    return [part for c in candidates if c.content for part in c.content.parts or ()]


def _said(answers: list[types.GenerateContentResponse]) -> tuple[str, str, list[Any], Any]:
    parts = _parts(answers)
    text = "".join(part.text for part in parts if part.text and not part.thought)
    thoughts = "".join(part.text for part in parts if part.text and part.thought)
    calls = [(part.function_call, part.thought_signature) for part in parts if part.function_call]
    last = answers[-1].candidates[0].finish_reason if answers[-1].candidates else None
    return text, thoughts, calls, last


@pytest.mark.parametrize("model", MODELS)
async def test_a_streamed_answer_is_the_whole_one(client: genai.Client, model: str) -> None:
    whole = await client.aio.models.generate_content(model=model, contents=TEXT, config=CONFIG)
    stream = await client.aio.models.generate_content_stream(model=model, contents=TEXT, config=CONFIG)
    pieces = [piece async for piece in stream]
    assert pieces[-1].usage_metadata == whole.usage_metadata
    assert whole.usage_metadata is not None
    if model == "late-usage":
        assert pieces[-1].candidates is None
        del pieces[-1]
    assert _said(pieces) == _said([whole])
    assert pieces[-1].prompt_feedback == whole.prompt_feedback


async def test_a_turn_with_thoughts_and_a_tool_goes_on(client: genai.Client) -> None:
    first = await client.aio.models.generate_content(model="reasoning-tools", contents=TEXT, config=CONFIG)
    assert first.candidates
    mine = first.candidates[0].content
    assert mine is not None
    asked = types.Content(role="user", parts=[types.Part(text=TEXT)])
    result = types.Part.from_function_response(name="weather", response={"result": "sunny"})
    history: Any = [asked, mine, types.Content(role="user", parts=[result])]
    again = await client.aio.models.generate_content(model="reasoning-tools", contents=history, config=CONFIG)
    assert again.text == "sunny"
    for part in mine.parts or ():
        part.thought_signature = None
    with pytest.raises(errors.ClientError, match="thought_signature"):
        await client.aio.models.generate_content(model="reasoning-tools", contents=history, config=CONFIG)


async def test_tokens_are_counted_as_an_answer_would_count_them(client: genai.Client) -> None:
    counted = await client.aio.models.count_tokens(model="echo", contents=TEXT)
    answer = await client.aio.models.generate_content(model="echo", contents=TEXT)
    assert answer.usage_metadata is not None
    assert counted.total_tokens == answer.usage_metadata.prompt_token_count == 7


async def test_embeddings_are_the_same_one_by_one_and_together(
    client: genai.Client, http: httpx.AsyncClient
) -> None:
    config = types.EmbedContentConfig(output_dimensionality=5)
    many = await client.aio.models.embed_content(model="echo", contents=["one", "two"], config=config)
    assert many.embeddings
    one = {"content": {"parts": [{"text": "one"}]}, "outputDimensionality": 5}
    alone = (await http.post("/v1beta/models/echo:embedContent", json=one)).json()["embedding"]["values"]
    assert many.embeddings[0].values == alone
    assert many.embeddings[1].values != alone
    assert len(alone) == 5


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("error-auth", errors.ClientError, "INVALID_ARGUMENT"),
        ("error-money", errors.ClientError, "FAILED_PRECONDITION"),
        ("error-rate", errors.ClientError, "RESOURCE_EXHAUSTED"),
        ("error-capacity", errors.ServerError, "UNAVAILABLE"),
        ("unheard-of", errors.ClientError, "NOT_FOUND"),
    ],
)
async def test_the_client_knows_the_errors(
    client: genai.Client, model: str, error: type[errors.APIError], status: str
) -> None:
    with pytest.raises(error) as raised:
        await client.aio.models.generate_content(model=model, contents=TEXT)
    assert raised.value.status == status


async def test_without_sse_a_stream_is_one_json_array(http: httpx.AsyncClient) -> None:
    body = {"contents": [{"parts": [{"text": TEXT}]}]}
    for model, count in (("echo", 4), ("chunks-0", 1), ("error-mid-stream", 3)):
        answer = await http.post(f"/v1beta/models/{model}:streamGenerateContent", json=body)
        assert answer.headers["content-type"] == "application/json"
        assert len(json.loads(answer.text)) == count


async def test_models_are_listed_in_googles_shape(client: genai.Client) -> None:
    models = [model async for model in await client.aio.models.list()]
    assert models[0].name == "models/echo"
