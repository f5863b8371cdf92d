"""A provider breaks off in the middle of its answer: where the route says so, another goes on."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from support.stack import Stack, chat

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "one two three four five six seven eight nine ten"


def asked(route: str, **more: Any) -> dict[str, Any]:
    return chat(route, stream=True) | {"messages": [{"role": "user", "content": QUESTION}]} | more


async def attempts(stack: Stack, request_id: str, count: int) -> list[dict[str, Any]]:
    return sorted(await stack.settled(request_id, count), key=lambda attempt: attempt["hop"])


async def test_another_target_goes_on_and_the_client_reads_one_answer(stack: Stack) -> None:
    raw = await stack.openai().chat.completions.with_raw_response.create(
        **asked("goes-on", stream_options={"include_usage": True})
    )
    chunks = [chunk async for chunk in raw.parse()]
    text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    assert text == QUESTION
    assert len({chunk.id for chunk in chunks}) == 1
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    first, failed, second = await attempts(stack, raw.headers["x-keyrail-request-id"], 3)
    assert (first["status"], first["failure"], first["role"]) == ("failed", "truncated", "serve")
    assert (failed["status"], failed["failure"], failed["role"]) == ("failed", "server", "continue")
    assert (second["status"], second["role"], second["model"]) == ("ok", "continue", "echo")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == first["output_tokens"] + second["output_tokens"]
    shown = await stack.ledger("requests", "show", first["request_id"])
    assert shown["status"] == "ok"


async def test_the_stream_says_who_went_on(stack: Stack) -> None:
    async with (
        stack.http() as client,
        client.stream("POST", "/v1/chat/completions", json=asked("goes-on")) as answer,
    ):
        text = (await answer.aread()).decode()
    assert text.count(": continued by sandbox/echo\n\n") == 1
    assert text.endswith("data: [DONE]\n\n")


async def test_a_messages_client_reads_one_answer_too(stack: Stack) -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=stack.url, api_key=stack.key, max_retries=0) as client,
        client.messages.stream(
            model="goes-on", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
        ) as stream,
    ):
        message = await stream.get_final_message()
    assert [block.text for block in message.content if block.type == "text"] == [QUESTION]
    assert message.stop_reason == "end_turn"


@pytest.mark.parametrize(
    "more",
    [
        {"response_format": {"type": "json_object"}},
        {"model": "breaks-off-in-a-call", "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"model": "nobody-goes-on"},
    ],
    ids=["json", "tool-call", "no-target-can"],
)
async def test_what_is_not_safe_to_go_on_with_ends_with_an_honest_error(
    stack: Stack, more: dict[str, Any]
) -> None:
    raw = await stack.openai().chat.completions.with_raw_response.create(**asked("goes-on") | more)

    async def read() -> None:
        async for _ in raw.parse():
            pass

    with pytest.raises(openai.APIError):
        await read()
    (attempt,) = await attempts(stack, raw.headers["x-keyrail-request-id"], 1)
    assert (attempt["status"], attempt["failure"]) == ("failed", "truncated")


async def test_the_one_that_goes_on_may_break_off_itself(stack: Stack) -> None:
    raw = await stack.openai().chat.completions.with_raw_response.create(**asked("goes-on-twice"))
    chunks = [chunk async for chunk in raw.parse()]
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == QUESTION
    rows = await attempts(stack, raw.headers["x-keyrail-request-id"], 3)
    assert [row["role"] for row in rows] == ["serve", "continue", "continue"]
