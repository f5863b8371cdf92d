"""Faults over real HTTP: what a client sees of them, and what the sandbox recorded."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
from support.sandbox_process import Running, body, call_in_state

CHAT = "/v1/chat/completions"


async def _broken(http: httpx.AsyncClient, model: str, **more: Any) -> bytes:
    """The bytes that came before the transfer broke off."""
    got: list[bytes] = []
    async with http.stream("POST", CHAT, json=body(model, **more)) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await _collect(answer, got)
    return b"".join(got)


async def _collect(answer: httpx.Response, got: list[bytes]) -> None:
    async for read in answer.aiter_raw():
        got.append(read)


def _contents(events: bytes) -> list[str]:
    found = [json.loads(line[6:]) for line in events.decode().splitlines() if line.startswith("data: {")]
    return [c["choices"][0]["delta"]["content"] for c in found if c.get("choices")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 502, 503, 529, 599])
async def test_status_nnn_is_that_status(http: httpx.AsyncClient, status: int) -> None:
    for stream in (True, False):
        answer = await http.post(CHAT, json=body(f"status-{status}", stream=stream))
        assert answer.status_code == status
        assert answer.json()["error"]["message"]
        assert answer.headers.get("retry-after") == ("1" if status in (429, 503) else None)


async def test_retry_after_n_says_how_long(http: httpx.AsyncClient) -> None:
    assert (await http.post(CHAT, json=body("status-429+retry-after-7"))).headers["retry-after"] == "7"
    assert (await http.post(CHAT, json=body("status-500+retry-after-0"))).headers["retry-after"] == "0"


async def test_the_official_client_knows_the_errors(sandbox: Running) -> None:
    async with openai.AsyncOpenAI(base_url=sandbox.url + "/v1", api_key="any", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as quota:
            await client.chat.completions.create(**body("insufficient-quota"))
        with pytest.raises(openai.BadRequestError) as context:
            await client.chat.completions.create(**body("context-length"))
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(**body("gpt-unheard-of"))
        with pytest.raises(openai.APIError):
            async for _ in await client.chat.completions.create(**body("error-200+after-3"), stream=True):
                pass
    assert quota.value.code == "insufficient_quota"
    assert "retry-after" not in quota.value.response.headers
    assert (context.value.code, context.value.param) == ("context_length_exceeded", "messages")
    assert missing.value.code == "model_not_found"


async def test_a_body_that_is_no_request_is_a_400(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, content=b"{")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_cut_breaks_a_stream_off_after_n_content_chunks(http: httpx.AsyncClient) -> None:
    mine = uuid4().hex
    http.headers["x-client-request-id"] = mine
    got = await _broken(http, "cut-5", stream=True)
    assert _contents(got) == ["", "one", " two", " three", "one", " two"]
    assert b"[DONE]" not in got
    call = await call_in_state(http, mine, "cut")
    assert call["chunks"] == 5


async def test_cut_breaks_a_whole_answer_off_in_its_middle(http: httpx.AsyncClient) -> None:
    got = await _broken(http, "cut-5")
    assert got.startswith(b'{"id":"chatcmpl-')
    with pytest.raises(json.JSONDecodeError):
        json.loads(got)


@pytest.mark.parametrize("stream", [True, False])
async def test_garbage_is_a_200_that_nobody_can_read(http: httpx.AsyncClient, stream: bool) -> None:
    answer = await http.post(CHAT, json=body("garbage", stream=stream))
    assert answer.status_code == 200
    assert b"data:" not in answer.content
    with pytest.raises(UnicodeDecodeError):
        answer.content.decode()


async def test_empty_is_a_200_without_a_body(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, json=body("empty", stream=True))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_error_200_is_an_error_object_in_a_200(http: httpx.AsyncClient) -> None:
    whole = await http.post(CHAT, json=body("error-200"))
    assert (whole.status_code, set(whole.json())) == (200, {"error"})
    stream = await http.post(CHAT, json=body("error-200", stream=True))
    (event,) = stream.text.strip().split("\n\n")
    assert set(json.loads(event.removeprefix("data: "))) == {"error"}


async def test_error_200_after_3_comes_after_three_content_chunks(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, json=body("error-200+after-3", "a b c d e", stream=True))
    events = answer.text.strip().split("\n\n")
    assert _contents("\n".join(events[:-1]).encode()) == ["", "a", " b", " c"]
    assert set(json.loads(events[-1].removeprefix("data: "))) == {"error"}


async def test_no_done_ends_cleanly_without_the_terminator(http: httpx.AsyncClient) -> None:
    events = (await http.post(CHAT, json=body("no-done", stream=True))).text.strip().split("\n\n")
    assert '"finish_reason":"stop"' in events[-1]


async def test_flaky_succeeds_with_the_last_of_each_n_calls(http: httpx.AsyncClient) -> None:
    model = "flaky-3+keepalive"  # a name of this test's own: the counter goes by name
    statuses = [(await http.post(CHAT, json=body(model))).status_code for _ in range(6)]
    assert statuses == [500, 500, 200, 500, 500, 200]


async def test_faults_combine_with_delays(http: httpx.AsyncClient) -> None:
    assert _contents(await _broken(http, "cut-2+slow-1ms+stall-1ms", stream=True)) == ["", "one", " two"]


async def test_seldom_fails_with_the_last_of_each_n_calls_alone(http: httpx.AsyncClient) -> None:
    model = "status-503+seldom-3"  # a name of this test's own: the counter goes by name
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    answers = [await http.post("/v1/chat/completions", json=body) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 503, 200, 200, 503]
