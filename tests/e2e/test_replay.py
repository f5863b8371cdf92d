"""Recorded provider traffic through the running stack: the client's official SDK reads what the provider
said.

Each recorded request goes to the face of its own dialect, as it was; each recorded answer is also asked for
through
the faces of the other dialects. Skipped, with the reason, where the recordings are not at hand.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from support import recorded
from support.recorded import PROVIDERS, Case, Said
from support.replay import Replay
from support.stack import Stack

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not recorded.HERE, reason=f"NOT TESTED: recorded provider traffic is not here: {recorded.WIRE}"
    ),
]
CASES = recorded.load()
FACES = ("openai-chat", "openai-responses", "anthropic-messages")
AT_ONCE = 8
BASES = {
    "openai": "/v1",
    "anthropic": "",
    "gemini": "/v1beta",
    "groq": "/openai/v1",
    "mistral": "/v1",
    "openrouter": "/api/v1",
    "cerebras": "/v1",
}
STATELESS = ("previous_response_id", "conversation", "background", "prompt")


@dataclass
class Heard:
    """What came back: the ledger's name for it, and what the SDK read."""

    request_id: str
    said: Said


@dataclass
class Running:
    """The stack, and an official client for each face."""

    stack: Stack
    replay: Replay
    openai: openai.AsyncOpenAI
    anthropic: anthropic.AsyncAnthropic


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    replay = Replay(CASES, seed=7)
    url = await replay.start()
    lines = [f'  {name}: {{base_url: "{url}{path}"}}' for name, path in BASES.items()]
    for name, wire in sorted({(case.provider, case.wire) for case in CASES}):
        where = f'base_url: "{url}{BASES[name]}", dialect: {wire}, speaks: [], auth: none'
        lines.append(f"  {only(name, wire)}: {{{where}}}")
    keys = {f"{name.upper()}_API_KEY": f"sk-replayed-{name}" for name in PROVIDERS}
    config = "\n".join(["providers:", *lines])
    stack = Stack(tmp_path_factory.mktemp("replay") / "home", config, environment=keys)
    await stack.start()
    clients = (
        openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.key, max_retries=0),
        anthropic.AsyncAnthropic(base_url=stack.url, api_key=stack.key, max_retries=0),
    )
    yield Running(stack, replay, *clients)
    for client in clients:
        await client.close()
    await stack.close()
    assert stack.stop() == 0, stack.said()
    await replay.stop()


def only(provider: str, wire: str) -> str:
    """The name of a provider like this one that speaks only this dialect."""
    return f"{provider}-{wire}-only"


async def ask(running: Running, face: str, body: dict[str, Any]) -> Heard:
    """Ask through a face with its official SDK. Raises the SDK's errors."""
    body = dict(body)
    stream = body.pop("stream", None) is True
    model = body.pop("model")
    more: dict[str, Any] = {"stream": True} if stream else {}
    if face == "openai-chat":
        raw = await running.openai.chat.completions.with_raw_response.create(
            model=model, messages=body.pop("messages"), extra_body=body, **more
        )
    elif face == "openai-responses":
        raw = await running.openai.responses.with_raw_response.create(
            model=model, input=body.pop("input"), extra_body=body, **more
        )
    else:
        raw = await running.anthropic.messages.with_raw_response.create(
            model=model,
            messages=body.pop("messages"),
            max_tokens=body.pop("max_tokens", 1024),
            extra_body=body,
            **more,
        )
    parsed: Any = raw.parse()
    if inspect.isawaitable(parsed):
        parsed = await parsed
    events = [event async for event in parsed] if stream else [parsed]
    read = recorded.reader(face)
    return Heard(
        raw.headers["x-keyrail-request-id"], read([event.model_dump(warnings=False) for event in events])
    )


def simple(face: str, case: Case) -> dict[str, Any]:
    """A request in this face that any of these answers could be the answer to."""
    names = [] if case.failed else sorted({name for name, _ in recorded.said(case).calls})
    schema = {"type": "object", "properties": {}}
    model = case.asked.replace(case.provider, only(case.provider, case.wire), 1)
    body: dict[str, Any] = {"model": model, "stream": case.stream}
    match face:
        case "openai-chat":
            tools = [{"type": "function", "function": {"name": name, "parameters": schema}} for name in names]
            body |= {"messages": [{"role": "user", "content": "hi"}]}
            if case.stream:
                body["stream_options"] = {"include_usage": True}
        case "openai-responses":
            tools = [{"type": "function", "name": name, "parameters": schema} for name in names]
            body |= {"input": "hi"}
        case _:
            tools = [{"name": name, "input_schema": schema} for name in names]
            body |= {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1024}
    return body | ({"tools": tools} if tools else {})


def same(heard: Said, expected: Said) -> str | None:
    """What differs; unknown counts as nothing in formats that must have a number."""
    if heard.text.strip() != expected.text.strip():
        return f"text {heard.text[:200]!r} for {expected.text[:200]!r}"
    if [(name, value(text)) for name, text in heard.calls] != [(n, value(t)) for n, t in expected.calls]:
        return f"calls {heard.calls} for {expected.calls}"
    for name in ("input_tokens", "output_tokens", "cached"):
        got, wanted = getattr(heard, name) or 0, getattr(expected, name) or 0
        if got != wanted:
            return f"{name} {got} for {wanted}"
    return None


def value(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


async def every(cases: list[Case], one: Callable[[Case], Awaitable[str | None]]) -> list[str]:
    """What is wrong with any of the cases."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def checked(case: Case) -> str | None:
        async with gate:
            try:
                problem = await one(case)
            except (openai.APIError, anthropic.APIError) as error:
                problem = f"{type(error).__name__}: {str(error)[:400]}"
            return f"{case} {case.path}: {problem}" if problem else None

    return [problem for problem in await asyncio.gather(*map(checked, cases)) if problem]


async def on_the_ledger(running: Running, expected: dict[str, Said]) -> list[str]:
    """What the ledger has otherwise than the provider counted it."""
    await running.stack.all_settled([])
    rows = {row["request_id"]: row for row in await running.stack.attempts()}
    wrong: list[str] = []
    for request_id, said in expected.items():
        row = rows[request_id]
        got = (row["status"], row["input_tokens"], row["output_tokens"])
        if got != ("ok", said.input_tokens, said.output_tokens):
            wrong.append(f"{row['provider']}/{row['model']}: {got} for {said}")
    return wrong


def expressible(case: Case, face: str) -> bool:
    return case.wire == face and not case.failed and not any(case.request.get(name) for name in STATELESS)


@pytest.mark.parametrize("face", FACES)
async def test_a_recorded_request_gets_its_recorded_answer(running: Running, face: str) -> None:
    cases = [case for case in CASES if expressible(case, face)]
    assert len(cases) > 100
    expected: dict[str, Said] = {}

    async def one(case: Case) -> str | None:
        body = {**case.request, "model": case.asked}
        if case.stream and face == "openai-chat":
            body["stream_options"] = {"include_usage": True}
        heard = await ask(running, face, body)
        said = expected[heard.request_id] = recorded.said(case)
        return same(heard.said, said)

    wrong = await every(cases, one)
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cases)}", *wrong])
    wrong = await on_the_ledger(running, expected)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("face", FACES)
async def test_an_answer_of_another_dialect_says_the_same_in_this_one(running: Running, face: str) -> None:
    cases = [case for case in CASES if case.wire != face and not case.failed][::3]
    assert len(cases) > 100
    await check_translated(running, face, cases)


@pytest.mark.proof
@pytest.mark.parametrize("face", FACES)
async def test_all_answers_of_other_dialects_say_the_same_in_this_one(running: Running, face: str) -> None:
    cases = [case for case in CASES if case.wire != face and not case.failed]
    assert len(cases) > 300
    await check_translated(running, face, cases)


async def check_translated(running: Running, face: str, cases: list[Case]) -> None:
    expected: dict[str, Said] = {}

    async def one(case: Case) -> str | None:
        heard = await ask(running, face, simple(face, case))
        said = expected[heard.request_id] = recorded.said(case)
        return same(heard.said, said)

    wrong = await every(cases, one)
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cases)}", *wrong])
    wrong = await on_the_ledger(running, expected)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("face", FACES)
async def test_a_recorded_refusal_is_an_error_of_the_sdk(running: Running, face: str) -> None:
    async def one(case: Case) -> str | None:
        try:
            heard = await ask(running, face, simple(face, case))
        except (openai.APIError, anthropic.APIError) as error:
            return None if case.stream or getattr(error, "status_code", 0) >= 400 else repr(error)
        return f"no error but {heard.said}"

    assert await every([case for case in CASES if case.failed], one) == []
