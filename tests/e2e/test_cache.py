"""The exact cache on a running stack with two workers: what is given again, to whom, and what it costs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import openai
import pytest
import pytest_asyncio
from support.stack import Stack, chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

CONFIG = """
providers:
  made:
    dialect: openai-chat
    speaks: [openai-embeddings]
    base_url: "{url}/v1"
    needs_key: false
    prices: {{"*": {{input: 1000, output: 2000}}}}
  claude:
    dialect: anthropic-messages
    base_url: "{url}"
    needs_key: false
    prices: {{"*": {{input: 1000, output: 2000}}}}
  answers:
    dialect: openai-responses
    base_url: "{url}/v1"
    needs_key: false
    prices: {{"*": {{input: 1000, output: 2000}}}}
"""
ON = {"x-keyrail-cache": "on"}
COLD = {"temperature": 0}  # what Anthropic's client has no name for


@dataclass
class Cached:
    """A stack of two workers, and the sandbox behind it."""

    stack: Stack
    url: str

    async def ask(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        async with self.stack.http() as client:
            return await client.post("/v1/chat/completions", json=body, headers=headers or ON)

    @asynccontextmanager
    async def calls(self, count: int) -> AsyncGenerator[None]:
        """The sandbox is asked exactly so often meanwhile."""
        before = len(await self.stack.sandbox_calls(self.url))
        yield
        assert len(await self.stack.sandbox_calls(self.url)) - before == count

    def token(self, tenant: str) -> str:
        told = self.stack.cli("tokens", "issue", "--tenant", tenant, "--json")
        return json.loads(told.stdout)["key"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cached(tmp_path_factory: pytest.TempPathFactory, sandbox_url: str) -> AsyncIterator[Cached]:
    url = sandbox_url.removesuffix("/v1")
    home = tmp_path_factory.mktemp("cache") / "home"
    stack = Stack(home, CONFIG.format(url=url), scale={"provider-worker": 2})
    await stack.start()
    yield Cached(stack, url)
    await stack.close()
    assert stack.stop() == 0, stack.said()


def said(text: str, model: str = "made/echo", **more: Any) -> dict[str, Any]:
    return chat(model, text, temperature=0, max_tokens=50, **more)


async def test_a_second_request_is_answered_without_a_call_and_costs_nothing(cached: Cached) -> None:
    async with cached.calls(1):
        first = await cached.ask(said("answered twice"))
        assert (first.status_code, first.headers["x-keyrail-cache"]) == (200, "miss")
        second = await cached.ask(said("answered twice"))
        assert (second.status_code, second.headers["x-keyrail-cache"]) == (200, "hit"), second.headers
        assert second.headers["x-keyrail-cost-usd"] == "0"
        assert int(second.headers["age"]) >= 0
        assert first.json()["choices"][0]["message"]["content"] == "answered twice"
        assert second.json()["choices"][0]["message"]["content"] == "answered twice"
        assert first.json()["usage"]["total_tokens"] == second.json()["usage"]["total_tokens"]
        assert first.json()["id"] != second.json()["id"]
    (paid,) = await cached.stack.settled(first.headers["x-keyrail-request-id"])
    (free,) = await cached.stack.settled(second.headers["x-keyrail-request-id"])
    assert Decimal(paid["cost_usd"]) == Decimal(first.headers["x-keyrail-cost-usd"]) > 0
    assert (free["status"], free["price_source"], Decimal(free["cost_usd"])) == ("ok", "cache", 0)
    assert (free["input_tokens"], free["output_tokens"], free["provider_key_id"]) == (None, None, None)


# Anthropic's client names a version of the API, which its own provider is asked in: that is another request.
@pytest.mark.parametrize(("provider", "calls"), [("made", 1), ("claude", 2), ("answers", 1)])
async def test_every_official_client_reads_the_same_answer_streaming_or_not(
    cached: Cached, provider: str, calls: int
) -> None:
    async with cached.calls(calls):
        text, model = f"one answer for all of {provider}", f"{provider}/echo"
        key = cached.stack.key
        seen: Counter[str] = Counter()
        async with (
            openai.AsyncOpenAI(base_url=f"{cached.stack.url}/v1", api_key=key, max_retries=0) as oai,
            anthropic.AsyncAnthropic(base_url=cached.stack.url, api_key=key, max_retries=0) as claude,
        ):
            turns: Any = [{"role": "user", "content": text}]
            for _ in range(2):
                chat_raw = await oai.chat.completions.with_raw_response.create(
                    model=model, messages=turns, temperature=0, max_tokens=50, extra_headers=ON
                )
                seen[chat_raw.headers["x-keyrail-cache"]] += 1
                assert chat_raw.parse().choices[0].message.content == text
                pieces: list[str] = []
                usage = None
                async for chunk in await oai.chat.completions.create(
                    model=model,
                    messages=turns,
                    temperature=0.0,
                    max_completion_tokens=50,
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_headers=ON,
                ):
                    pieces += [choice.delta.content or "" for choice in chunk.choices]
                    usage = chunk.usage or usage
                assert "".join(pieces) == text
                assert usage is not None
                assert usage.total_tokens == chat_raw.parse().usage.total_tokens  # pyright: ignore
                response = await oai.responses.with_raw_response.create(
                    model=model,
                    input=text,
                    temperature=0,
                    max_output_tokens=50,
                    store=False,
                    extra_headers=ON,
                )
                seen[response.headers["x-keyrail-cache"]] += 1
                assert response.parse().output_text == text
                async with oai.responses.stream(
                    model=model, input=text, temperature=0, max_output_tokens=50, extra_headers=ON
                ) as stream:
                    assert (await stream.get_final_response()).output_text == text
                message = await claude.messages.with_raw_response.create(
                    model=model, messages=turns, max_tokens=50, extra_body=COLD, extra_headers=ON
                )
                seen[message.headers["x-keyrail-cache"]] += 1
                assert (await message.parse()).content[0].text == text  # pyright: ignore
                async with claude.messages.stream(
                    model=model, messages=turns, max_tokens=50, extra_body=COLD, extra_headers=ON
                ) as events:
                    assert await events.get_final_text() == text
        assert seen == {"miss": calls, "hit": 6 - calls}


async def test_a_hundred_of_the_same_in_flight_are_one_call(cached: Cached) -> None:
    async with cached.calls(1):
        body = said("a hundred at once", "made/echo+stall-1500ms")
        async with cached.stack.http() as client:
            answers = await asyncio.gather(
                *(client.post("/v1/chat/completions", json=body, headers=ON) for _ in range(100))
            )
        assert {answer.status_code for answer in answers} == {200}
        contents = {answer.json()["choices"][0]["message"]["content"] for answer in answers}
        assert contents == {"a hundred at once"}
        assert Counter(answer.headers["x-keyrail-cache"] for answer in answers) == {"miss": 1, "hit": 99}
    rows = [(await cached.stack.settled(a.headers["x-keyrail-request-id"]))[0] for a in answers[:20]]
    assert len({row["worker"] for row in rows}) == 2, "both workers were asked"


async def test_no_tenant_has_the_answer_of_another(cached: Cached) -> None:
    async with cached.calls(2):
        body = said("between tenants")
        assert (await cached.ask(body)).headers["x-keyrail-cache"] == "miss"
        token = await asyncio.to_thread(cached.token, "stranger")
        stranger = await cached.ask(body, authorization=f"Bearer {token}", **ON)
        assert (stranger.status_code, stranger.headers["x-keyrail-cache"]) == (200, "miss")


async def test_what_a_client_did_not_hear_to_its_end_is_not_kept(cached: Cached) -> None:
    async with cached.calls(2):
        body = said("left in the middle of it all", "made/echo+slow-300ms", stream=True)
        async with (
            cached.stack.http() as client,
            client.stream("POST", "/v1/chat/completions", json=body, headers=ON) as answer,
        ):
            async for line in answer.aiter_lines():
                if "left" in line:
                    break
        again = await cached.ask(body)
        assert again.headers["x-keyrail-cache"] == "miss"


@pytest.mark.parametrize(("model", "status"), [("made/echo+cut-0", 502), ("made/length", 200)])
async def test_an_answer_without_its_end_is_not_kept(cached: Cached, model: str, status: int) -> None:
    async with cached.calls(2):
        text = f"cut short by {model} itself"
        for _ in range(2):
            answer = await cached.ask(said(text, model))
            assert answer.status_code == status
            assert answer.headers.get("x-keyrail-cache") in ("miss", None)


async def test_modes_look_or_keep_or_neither(cached: Cached) -> None:
    async with cached.calls(6):
        body = said("mode by mode")

        async def ask(mode: str, **more: str) -> str | None:
            answer = await cached.ask(body, **{"x-keyrail-cache": mode}, **more)
            assert answer.status_code == 200
            return answer.headers.get("x-keyrail-cache")

        assert await ask("read") == "miss"
        assert await ask("on", **{"x-keyrail-cache-ttl": "1"}) == "miss"
        assert await ask("write") == "miss"
        assert await ask("read") == "hit"
        off = await cached.ask(body, **{"x-keyrail-cache": "off"})
        assert (off.headers["x-keyrail-cache"], off.headers["x-keyrail-cache-reason"]) == ("bypass", "off")
        warm = await cached.ask({**body, "temperature": 1}, **ON)
        assert (warm.headers["x-keyrail-cache"], warm.headers["x-keyrail-cache-reason"]) == (
            "bypass",
            "temperature",
        )
        plain = await cached.ask(body, accept="application/json")
        assert "x-keyrail-cache" not in plain.headers


async def test_an_answer_is_gone_after_its_time(cached: Cached) -> None:
    body = said("for a second")
    short = {"x-keyrail-cache": "on", "x-keyrail-cache-ttl": "1"}
    assert (await cached.ask(body, **short)).headers["x-keyrail-cache"] == "miss"
    async with asyncio.timeout(20):
        while (await cached.ask(body, **{"x-keyrail-cache": "read"})).headers["x-keyrail-cache"] == "hit":
            await asyncio.sleep(0.1)
    assert (await cached.ask(body, **short)).headers["x-keyrail-cache"] == "miss"


@pytest.mark.parametrize(
    ("header", "value"),
    [("x-keyrail-cache", "maybe"), ("x-keyrail-cache-ttl", "0"), ("x-keyrail-cache-ttl", "86401")],
)
async def test_nonsense_in_the_headers_is_refused_in_the_callers_format(
    cached: Cached, header: str, value: str
) -> None:
    async with cached.calls(0), cached.stack.http() as client:
        for path, place in (("/v1/chat/completions", "error"), ("/v1/messages", "error")):
            answer = await client.post(path, json=said("nonsense"), headers={header: value})
            assert answer.status_code == 400
            assert header in answer.json()[place]["message"]
            assert (answer.json().get("type") == "error") == (path == "/v1/messages")


async def test_embeddings_are_kept_as_they_came(cached: Cached) -> None:
    async with cached.stack.http() as client:
        asked = {"model": "made/echo", "input": "the same vector"}
        answers = [await client.post("/v1/embeddings", json=asked, headers=ON) for _ in range(2)]
    assert [answer.headers["x-keyrail-cache"] for answer in answers] == ["miss", "hit"]
    assert answers[0].json() == answers[1].json()


async def test_what_hits_saved_is_counted_once(cached: Cached) -> None:
    model = "echo+slow-1ms"
    answers = [await cached.ask(said("saved", f"made/{model}")) for _ in range(3)]
    for answer in answers:
        await cached.stack.settled(answer.headers["x-keyrail-request-id"])
    rows = await cached.stack.ledger("costs", "--by", "model", "--savings", "--since", "1h")
    (row,) = [row for row in rows if model in json.dumps(row)]
    paid = Decimal(answers[0].headers["x-keyrail-cost-usd"])
    assert (Decimal(row["cost_usd"]), Decimal(row["cache_saved_usd"])) == (paid, 2 * paid)


async def test_what_is_kept_is_counted_and_purged(cached: Cached) -> None:
    body = said("purge me")
    token = await asyncio.to_thread(cached.token, "purger")
    mine = {"authorization": f"Bearer {token}", **ON}
    assert (await cached.ask(body, **mine)).headers["x-keyrail-cache"] == "miss"
    assert (await cached.ask(body, **mine)).headers["x-keyrail-cache"] == "hit"
    assert (await cached.ask(body)).headers["x-keyrail-cache"] == "miss"
    stats = await cached.stack.ledger("cache", "stats")
    kept = {row["tenant"]: row["entries"] for row in stats["tenants"]}
    assert kept["purger"] == 1
    assert kept["default"] >= 1
    assert stats["bytes"] > 0
    gone = await cached.stack.ledger("cache", "purge", "--tenant", "purger")
    assert gone["purged"] >= 1
    async with asyncio.timeout(5):  # workers hear of it by a message
        while (await cached.ask(body, **mine | {"x-keyrail-cache": "read"})).headers[
            "x-keyrail-cache"
        ] == "hit":
            await asyncio.sleep(0.02)
    assert (await cached.ask(body)).headers["x-keyrail-cache"] == "hit", "another tenant's stays"
