"""Providers that fail in every way: fallback before the first content, an honest error after it."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest
from support.stack import Stack, chat

pytestmark = pytest.mark.asyncio(loop_scope="session")

FALLS_OVER = [
    ("after-429", "rate", 429),
    ("after-500", "server", 500),
    ("after-503", "capacity", 503),
    ("after-garbage", "garbage", 200),
    ("after-error-200", "server", 200),
    ("after-empty", "garbage", 200),
    ("after-hang", "timeout", None),
    ("after-nobody", "connection", None),
    ("after-no-key", "no_key", None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("route", "failure", "status"), FALLS_OVER)
async def test_before_the_first_content_the_next_target_answers(
    stack: Stack, route: str, failure: str, status: int | None, stream: bool
) -> None:
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat(route, stream=stream))
    assert answer.status_code == 200
    assert answer.headers["x-keyrail-model"] == "echo"
    assert answer.headers["x-keyrail-attempts"] == "2"
    assert ("[DONE]" in answer.text) == stream
    first, second = sorted(
        await stack.settled(answer.headers["x-keyrail-request-id"], 2), key=lambda a: a["hop"]
    )
    if route == "after-empty" and stream:
        failure = "truncated"  # an empty event stream is one without its end
    assert (first["status"], first["failure"], first["http_status"]) == ("failed", failure, status)
    assert (second["status"], second["model"]) == ("ok", "echo")


async def test_a_broken_first_chunk_falls_over_too(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat("after-cut-0", stream=True))
    assert answer.headers["x-keyrail-attempts"] == "2"
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("model", "failure", "estimated"),
    [
        ("sandbox/cut-5", "truncated", True),
        ("sandbox/no-done", "truncated", False),  # its usage came, only its end did not
        ("sandbox/error-200+after-3", "server", True),
        ("takes-too-long", "timeout", True),
    ],
)
async def test_after_content_the_stream_ends_with_an_honest_error(
    stack: Stack, model: str, failure: str, estimated: bool
) -> None:
    raw = await stack.openai().chat.completions.with_raw_response.create(**chat(model, stream=True))
    pieces: list[str] = []

    async def read() -> None:
        async for chunk in raw.parse():
            pieces.extend(c.delta.content for c in chunk.choices if c.delta.content)

    with pytest.raises(openai.APIError):
        await read()
    assert pieces, "what had come reached the client"
    (attempt,) = await stack.settled(raw.headers["x-keyrail-request-id"])
    assert (attempt["status"], attempt["failure"]) == ("failed", failure)
    assert attempt["output_tokens"] >= 1
    assert attempt["estimated"] == estimated
    shown = await stack.ledger("requests", "show", attempt["request_id"])
    assert shown["status"] == "failed"


# models of their own: what others fail with opens breakers, and then a failure says so
@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        ("sandbox/status-400+stall-1ms", 400, openai.BadRequestError),
        ("sandbox/context-length+stall-1ms", 400, openai.BadRequestError),
        ("sandbox/status-500+stall-1ms", 502, openai.InternalServerError),
        ("sandbox/garbage+stall-1ms", 502, openai.InternalServerError),
        ("sandbox/cut-5+stall-1ms", 502, openai.InternalServerError),
        ("only-hang", 504, openai.InternalServerError),
        ("stops-between-chunks", 504, openai.InternalServerError),
        ("sandbox/no-such-model", 404, openai.NotFoundError),
    ],
)
async def test_the_last_failure_reaches_the_client_in_its_own_format(
    stack: Stack, model: str, status: int, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind) as caught:
        await stack.openai().chat.completions.create(**chat(model, stream=model == "stops-between-chunks"))
    assert caught.value.status_code == status
    assert caught.value.body is not None


async def test_the_callers_own_mistake_is_not_tried_elsewhere(stack: Stack) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await stack.openai().chat.completions.create(**chat("after-400"))
    assert caught.value.response.headers["x-keyrail-attempts"] == "1"


async def test_a_providers_retry_after_reaches_the_client(stack: Stack) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await stack.openai().chat.completions.create(**chat("twice-429"))
    headers = caught.value.response.headers
    assert headers["retry-after"] == "1"
    assert headers["x-keyrail-attempts"] == "3", (
        "both once, and one again after the second that was asked for"
    )


async def test_a_key_that_the_provider_refuses_does_not_look_like_the_callers_own(stack: Stack) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await stack.openai().chat.completions.create(**chat("sandbox/status-401"))
    assert caught.value.status_code not in (401, 403)


async def until_closed(stack: Stack, attempt_id: str) -> None:
    """Until the sandbox saw its client leave, long before it would have said all that it has to say."""
    async with asyncio.timeout(10):
        while True:
            calls = {c["client_request_id"]: c for c in await stack.sandbox_calls()}
            if calls[attempt_id]["state"] == "closed_by_client":
                return
            await asyncio.sleep(0.02)


async def test_when_the_client_leaves_the_provider_is_left(stack: Stack) -> None:
    body = chat("sandbox/chunks-1000+slow-20ms", stream=True)
    async with stack.http() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        request_id = answer.headers["x-keyrail-request-id"]
        received = 0
        async for line in answer.aiter_lines():
            received += line.startswith("data: {")
            if received == 20:
                break
        async with asyncio.timeout(10):  # the ledger shows it a moment later
            while not (rows := await stack.attempts(request_id)):
                await asyncio.sleep(0.02)
    await until_closed(stack, rows[0]["attempt_id"])
    (attempt,) = await stack.settled(request_id)
    assert attempt["status"] == "cancelled"
    assert 15 <= attempt["output_tokens"] <= 700
    assert attempt["estimated"]
    shown = await stack.ledger("requests", "show", request_id)
    assert shown["status"] == "cancelled"


async def test_when_the_client_leaves_before_the_answer_the_provider_is_left_too(stack: Stack) -> None:
    async with stack.http() as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(
                "/v1/chat/completions",
                json=chat("sandbox/hang"),
                timeout=1.0,
                headers={"x-keyrail-team": "left"},
            )
    async with asyncio.timeout(10):
        while not (rows := [a for a in await stack.attempts() if a["team"] == "left"]):
            await asyncio.sleep(0.05)
    await until_closed(stack, rows[0]["attempt_id"])
    (attempt,) = await stack.settled(rows[0]["request_id"])
    assert attempt["status"] == "cancelled"
    assert attempt["output_tokens"] is None
