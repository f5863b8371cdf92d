"""Answers over real HTTP, as the official client and a plain one see them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from support.sandbox_process import Running, body

CHAT = "/v1/chat/completions"


@pytest.fixture
async def client(sandbox: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=sandbox.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


async def _chunks(client: openai.AsyncOpenAI, model: str, **more: Any) -> list[ChatCompletionChunk]:
    request = body(model, **more)
    return [chunk async for chunk in await client.chat.completions.create(**request, stream=True)]


def _text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def _events(http: httpx.AsyncClient, model: str, **more: Any) -> list[str]:
    answer = await http.post(CHAT, json=body(model, stream=True, **more))
    return answer.text.split("\n\n")


async def test_echo_answers_with_the_question(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**body("echo"))
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        7,
        3,
        10,
    )


async def test_max_tokens_ends_the_answer(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**body("echo", max_tokens=2))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("one two", "length")


async def test_unknown_keys_are_reported_back(http: httpx.AsyncClient) -> None:
    answer = (await http.post(CHAT, json=body("echo", vendor={"a": 1}, temperature=0))).json()
    assert answer["sandbox"] == {"seen": ["vendor"]}
    assert "sandbox" not in (await http.post(CHAT, json=body("echo"))).json()


async def test_every_answer_has_a_request_id_of_its_own(http: httpx.AsyncClient) -> None:
    ids = [(await http.post(CHAT, json=body(m))).headers["x-request-id"] for m in ("echo", "echo", "nope")]
    assert len(set(ids)) == 3


async def test_a_stream_with_usage_is_openais(client: openai.AsyncOpenAI) -> None:
    chunks = await _chunks(client, "echo", stream_options={"include_usage": True})
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    assert (deltas[0].role, deltas[0].content) == ("assistant", "")
    assert [delta.content for delta in deltas[1:]] == ["one", " two", " three", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * 4 + ["stop"]
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 10
    assert len({chunk.id for chunk in chunks}) == 1


async def test_usage_is_null_until_the_last_chunk_only_when_asked_for(http: httpx.AsyncClient) -> None:
    asked = await _events(http, "echo", stream_options={"include_usage": True})
    assert [event.count('"usage":null') for event in asked] == [1] * 5 + [0, 0, 0]
    assert asked[-2:] == ["data: [DONE]", ""]
    assert not any('"usage"' in event for event in await _events(http, "echo"))


async def test_streamed_and_whole_answers_count_the_same(client: openai.AsyncOpenAI) -> None:
    for model in ("echo", "reasoning", "json", "chunks-30", "bytes-1000", "cached", "metered"):
        whole = await client.chat.completions.create(**body(model))
        chunks = await _chunks(client, model, stream_options={"include_usage": True})
        assert chunks[-1].usage == whole.usage, model
        assert _text(chunks) == whole.choices[0].message.content, model


async def test_chunks_n_streams_n_content_chunks(http: httpx.AsyncClient) -> None:
    events = await _events(http, "chunks-100")
    assert len(events) == 1 + 100 + 1 + 1 + 1  # role, content, finish, terminator, and nothing after it


async def test_a_tool_call_comes_in_pieces(client: openai.AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    chunks = await _chunks(client, "tools", tools=tools)
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    functions = [call.function for call in calls if call.function]
    assert (calls[0].id or "").startswith("call_")
    assert functions[0].name == "weather"
    assert len(functions) > 2
    assert json.loads("".join(f.arguments or "" for f in functions)) == {"place": "one two three"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"

    whole = (await client.chat.completions.create(**body("tools", tools=tools))).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.content is None
    (call,) = whole.message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"place": "one two three"}


async def test_json_answers_with_an_object(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**body("json", 'say "x"\n'))
    assert json.loads(answer.choices[0].message.content or "") == {"echo": 'say "x"\n', "words": 2}


async def test_reasoning_comes_before_the_content(http: httpx.AsyncClient) -> None:
    events = await _events(http, "reasoning", stream_options={"include_usage": True})
    kinds = ["r" if "reasoning_content" in event else "c" for event in events[1:9]]
    assert kinds == ["r"] * 5 + ["c"] * 3
    usage = json.loads(events[-3].removeprefix("data: "))["usage"]
    assert (usage["completion_tokens"], usage["completion_tokens_details"]["reasoning_tokens"]) == (8, 5)
    message = (await http.post(CHAT, json=body("reasoning"))).json()["choices"][0]["message"]
    assert message["reasoning_content"]


async def test_cached_tokens_are_in_the_usage(client: openai.AsyncOpenAI) -> None:
    usage = (await client.chat.completions.create(**body("cached"))).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 3


async def test_no_usage_leaves_it_out_even_when_asked(http: httpx.AsyncClient) -> None:
    asked = {"stream_options": {"include_usage": True}}
    assert not any('"usage"' in event for event in await _events(http, "no-usage", **asked))
    assert "usage" not in (await http.post(CHAT, json=body("no-usage"))).json()


async def test_keepalive_puts_a_comment_before_each_content_chunk(http: httpx.AsyncClient) -> None:
    assert (await _events(http, "keepalive")).count(": keepalive") == 3


async def test_crlf_ends_every_line_so(http: httpx.AsyncClient) -> None:
    text = (await http.post(CHAT, json=body("crlf+keepalive", stream=True))).text
    assert text.endswith("data: [DONE]\r\n\r\n")
    assert text.count("\n") == text.count("\r\n")


async def test_split_utf8_is_whole_again_for_the_client(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(**body("split-utf8"))
    assert "žluťoučký" in (whole.choices[0].message.content or "")
    assert _text(await _chunks(client, "split-utf8")) == whole.choices[0].message.content


async def test_metered_counts_its_calls(http: httpx.AsyncClient) -> None:
    turns = [int((await http.post(CHAT, json=body("metered"))).headers["x-sandbox-turn"]) for _ in range(3)]
    assert [turn - turns[0] for turn in turns] == [0, 1, 2]


async def test_stall_waits_before_the_first_byte(http: httpx.AsyncClient) -> None:
    started = time.monotonic()
    async with http.stream("POST", CHAT, json=body("stall-200ms", stream=True)) as answer:
        assert time.monotonic() - started >= 0.2
        assert "three" in (await answer.aread()).decode()


async def test_slow_waits_before_each_content_chunk(client: openai.AsyncOpenAI) -> None:
    started = time.monotonic()
    seconds: list[float] = []
    async for _ in await client.chat.completions.create(**body("slow-60ms"), stream=True):
        seconds.append(time.monotonic() - started)
    assert seconds[1] >= 0.06  # the first is the role
    assert seconds[3] >= 0.18


async def test_slow_waits_for_all_chunks_of_a_whole_answer(http: httpx.AsyncClient) -> None:
    started = time.monotonic()
    await http.post(CHAT, json=body("slow-60ms"))
    assert time.monotonic() - started >= 0.18


async def test_slow_streams_run_side_by_side(client: openai.AsyncOpenAI) -> None:
    started = time.monotonic()
    await asyncio.gather(*(_chunks(client, "chunks-5+slow-50ms") for _ in range(8)))
    assert time.monotonic() - started < 8 * 0.25


async def test_the_models_are_listed(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert "echo" in names
    assert "cut-5" in names


async def test_healthz_answers(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("POST", "/v1/models"), ("POST", "/v1/images")])
async def test_other_paths_are_404_in_openais_shape(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_url"
