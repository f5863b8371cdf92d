"""The main job, driven by the official OpenAI client through the running stack."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from support.stack import Stack, chat

WORDS = "one two three four five six seven eight nine ten"

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_answer_comes_back_and_its_cost_is_on_the_ledger(stack: Stack) -> None:
    raw = await stack.openai().chat.completions.with_raw_response.create(**chat("sandbox/echo", WORDS))
    answer = raw.parse()
    assert answer.choices[0].message.content == WORDS
    assert raw.headers["x-keyrail-provider"] == "sandbox"
    assert raw.headers["x-keyrail-model"] == "echo"
    assert raw.headers["x-keyrail-attempts"] == "1"
    assert raw.headers["x-keyrail-cost-usd"] == "0"
    (attempt,) = await stack.settled(raw.headers["x-keyrail-request-id"])
    assert answer.usage is not None
    assert (attempt["status"], attempt["cost_usd"]) == ("ok", "0")
    assert attempt["input_tokens"] == answer.usage.prompt_tokens
    assert attempt["output_tokens"] == answer.usage.completion_tokens


async def test_a_stream_arrives_in_pieces_and_ends(stack: Stack) -> None:
    stream = await stack.openai().chat.completions.create(**chat("sandbox/echo", WORDS, stream=True))
    pieces = [c.choices[0].delta.content async for c in stream if c.choices[0].delta.content]
    assert "".join(pieces) == WORDS
    assert len(pieces) > 5


@pytest.mark.parametrize("asked", [True, False])
async def test_usage_is_streamed_only_to_who_asks_and_always_on_the_ledger(stack: Stack, asked: bool) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat("sandbox/echo", stream=True, **options))
    chunks = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
    assert any(c.get("usage") for c in chunks) == asked
    assert any(c["choices"] == [] for c in chunks) == asked
    (attempt,) = await stack.settled(answer.headers["x-keyrail-request-id"])
    assert attempt["output_tokens"] == 10
    assert not attempt["estimated"]


async def test_unknown_fields_pass_both_ways(stack: Stack) -> None:
    answer = await stack.openai().chat.completions.create(
        **chat("sandbox/echo"), extra_body={"brand_new_option": {"deep": [1, 10**30]}}
    )
    assert answer.model_extra is not None
    assert answer.model_extra["sandbox"] == {"seen": ["brand_new_option"]}


async def test_tool_calls_are_streamed_as_they_come(stack: Stack) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    stream = await stack.openai().chat.completions.create(**chat("sandbox/tools", stream=True, tools=[tool]))
    calls = [d async for c in stream if c.choices for d in c.choices[0].delta.tool_calls or []]
    assert calls[0].function is not None
    assert calls[0].function.name == "weather"
    json.loads("".join(c.function.arguments or "" for c in calls if c.function))


async def test_the_models_are_listed_and_can_be_asked_for_one_by_one(stack: Stack) -> None:
    client = stack.openai()
    names = [model.id async for model in client.models.list()]
    assert {"sandbox/echo", "split", "claude-sonnet-5-5"} <= set(names)
    assert not any(name.startswith("openai/") for name in names), "no key, so not callable"
    assert (await client.models.retrieve("sandbox/echo")).owned_by == "sandbox"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("sandbox/never")


async def test_an_alias_takes_a_name_that_applications_already_send(stack: Stack) -> None:
    raw = await stack.openai().chat.completions.with_raw_response.create(**chat("claude-sonnet-5-5"))
    assert raw.headers["x-keyrail-model"] == "echo"


async def test_a_weighted_route_spreads_requests_by_weight(stack: Stack) -> None:
    client = stack.openai()
    firsts: list[str] = []
    for _ in range(60):
        raw = await client.chat.completions.with_raw_response.create(**chat("split", "hi"))
        firsts.append(raw.headers["x-keyrail-model"])
    assert 30 <= firsts.count("echo") < 60


async def test_the_providers_log_and_the_ledger_can_be_joined(stack: Stack) -> None:
    raw = await stack.openai().chat.completions.with_raw_response.create(**chat("sandbox/echo"))
    (attempt,) = await stack.settled(raw.headers["x-keyrail-request-id"])
    seen = [c["client_request_id"] for c in await stack.sandbox_calls()]
    assert attempt["attempt_id"] in seen


async def test_tags_reach_the_ledger(stack: Stack) -> None:
    tags = {"x-keyrail-team": "search", "x-keyrail-feature": "summaries"}
    raw = await stack.openai().chat.completions.with_raw_response.create(
        **chat("sandbox/echo"), extra_headers=tags
    )
    await stack.settled(raw.headers["x-keyrail-request-id"])
    teams = {row["team"]: row for row in await stack.ledger("costs", "--by", "team")}
    assert teams["search"]["requests"] == 1
    features = {row["feature"] for row in await stack.ledger("costs", "--by", "feature")}
    assert "summaries" in features


async def test_an_attempt_is_visible_while_it_still_runs(stack: Stack) -> None:
    async with stack.http() as client:
        request = asyncio.create_task(client.post("/v1/chat/completions", json=chat("sandbox/stall-4s")))
        running: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while not running:
                running = [a for a in await stack.attempts() if a["model"] == "stall-4s"]
        assert (running[0]["status"], running[0]["cost_usd"]) == ("running", None)
        request_id = (await request).headers["x-keyrail-request-id"]
    assert (await stack.settled(request_id))[0]["status"] == "ok"


async def test_a_request_is_shown_with_its_attempts_and_their_sum(stack: Stack) -> None:
    raw = await stack.openai().chat.completions.with_raw_response.create(**chat("after-429"))
    request_id = raw.headers["x-keyrail-request-id"]
    await stack.settled(request_id, 2)
    shown = await stack.ledger("requests", "show", request_id)
    assert (shown["status"], shown["cost_usd"]) == ("ok", "0")
    assert [(a["model"], a["status"]) for a in shown["attempts"]] == [
        ("status-429+retry-after-0", "failed"),
        ("echo", "ok"),
    ]
