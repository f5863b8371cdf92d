"""The built-in OpenAI provider against aimock, an OpenAI mock from npm that nobody here wrote."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import pytest
import pytest_asyncio
from support import npm
from support.nats import free_port
from support.stack import Stack, chat

SAYS = "Hello from a mock that nobody here wrote."

pytestmark = [pytest.mark.proof, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The mock's URL."""
    folder = npm.installed("aimock", tmp_path_factory.mktemp("aimock"))
    binary = folder / "node_modules" / ".bin" / "llmock"
    port = free_port()
    command = [str(binary), "-p", str(port), "-f", str(folder / "fixtures.json"), "--strict"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait(10)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def openai_stack(aimock: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack whose `openai` is the mock, with a key from the environment."""
    config = f'providers: {{openai: {{base_url: "{aimock}"}}}}'
    stack = Stack(
        tmp_path_factory.mktemp("foreign") / "home", config, environment={"OPENAI_API_KEY": "sk-canary-9f2"}
    )
    await stack.start()
    yield stack
    await stack.close()
    stack.stop()


async def test_a_bare_name_reaches_its_owner_and_is_priced(openai_stack: Stack) -> None:
    client = openai_stack.openai()
    raw = await client.chat.completions.with_raw_response.create(**chat("gpt-5.4-mini", "hello"))
    answer = raw.parse()
    assert answer.choices[0].message.content == SAYS
    assert (raw.headers["x-keyrail-provider"], raw.headers["x-keyrail-model"]) == ("openai", "gpt-5.4-mini")
    (attempt,) = await openai_stack.settled(raw.headers["x-keyrail-request-id"])
    assert answer.usage is not None
    # the list price: 0.75 and 4.50 dollars for a million tokens in and out
    expected = Decimal("0.00000075") * answer.usage.prompt_tokens
    expected += Decimal("0.0000045") * answer.usage.completion_tokens
    assert expected > 0
    assert Decimal(attempt["cost_usd"]) == expected
    assert Decimal(raw.headers["x-keyrail-cost-usd"]) == expected
    assert (attempt["price_source"], attempt["provider_key_id"]) == ("catalogue", "env")


async def test_a_stream_comes_through(openai_stack: Stack) -> None:
    stream = await openai_stack.openai().chat.completions.create(**chat("gpt-5.4-mini", "hello", stream=True))
    assert "".join([c.choices[0].delta.content or "" async for c in stream if c.choices]) == SAYS


async def test_a_tool_call_comes_through(openai_stack: Stack) -> None:
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    answer = await openai_stack.openai().chat.completions.create(
        **chat("openai/gpt-5.4-mini", "weather?", tools=[tool])
    )
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert json.loads(calls[0].function.arguments) == {"city": "Jena"}


async def test_ten_requests_at_once_are_ten_rows(openai_stack: Stack) -> None:
    create = openai_stack.openai().chat.completions.with_raw_response.create
    answers = await asyncio.gather(*(create(**chat("gpt-5.4-mini", "hello")) for _ in range(10)))
    ids = {answer.headers["x-keyrail-request-id"] for answer in answers}
    assert len(ids) == 10
    for request_id in ids:
        assert [a["status"] for a in await openai_stack.settled(request_id)] == ["ok"]
