"""All trials, in one stack: what each cell of the page says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anthropic
import openai

from support.compatibility import features
from support.compatibility.asking import Face
from support.compatibility.chat import Chat
from support.compatibility.features import Feature, Missing, Trial, named
from support.compatibility.messages import Messages
from support.compatibility.responses import Responses
from support.stack import Stack

BASES = {
    "openai": "/v1",
    "anthropic": "",
    "gemini": "/v1beta",
    "groq": "/v1",
    "cerebras": "/v1",
    "deepinfra": "/v1",
    "mistral": "/v1",
    "xai": "/v1",
    "openrouter": "/v1",
}
AT_ONCE = 12
OURS = ("unsupported_parameter", "embeddings_unsupported")
FIELD = re.compile(r"(model|messages|tools|tool_choice|thinking|output_config)\b[\w.\[\]]*: ")

_dropped: ContextVar[dict[str, None]] = ContextVar("dropped")
"""What the answers of the running trial said was dropped."""


@dataclass(frozen=True)
class Column:
    """The way to one face: its features by name."""

    path: str
    features: dict[str, Callable[[str], Awaitable[None]]]


Table = dict[str, dict[str, str]]
"""Cells by feature and provider."""


@dataclass(frozen=True)
class Matrix:
    """Tables by the path of a face, and what was neither yes, dropped nor refused."""

    tables: dict[str, Table]
    faults: list[str]


async def tried(home: Path, sandbox_url: str) -> Matrix:
    """Start a stack whose providers are all at this sandbox, and try everything."""
    bases = [f'  {name}: {{base_url: "{sandbox_url}{path}"}}' for name, path in BASES.items()]
    keys = {f"{name.upper()}_API_KEY": f"sk-compatibility-{name}" for name in BASES}
    stack = Stack(home, "\n".join(["providers:", *bases]), environment=keys)
    await stack.start()
    try:
        async with _clients(stack) as (openai_client, anthropic_client):
            return await _all(_columns(openai_client, anthropic_client))
    finally:
        stack.stop()


@asynccontextmanager
async def _clients(stack: Stack) -> AsyncGenerator[tuple[openai.AsyncOpenAI, anthropic.AsyncAnthropic]]:
    async def listen(response: Any) -> None:
        names = response.headers.get("x-keyrail-dropped", "")
        _dropped.get().update(dict.fromkeys(name for name in names.split(", ") if name))

    hooks: dict[str, Any] = {"event_hooks": {"response": [listen]}}
    one = openai.DefaultAsyncHttpxClient(**hooks)
    two = anthropic.DefaultAsyncHttpxClient(**hooks)
    yield (
        openai.AsyncOpenAI(
            base_url=f"{stack.url}/v1", api_key=stack.key, max_retries=0, http_client=one, timeout=20
        ),
        anthropic.AsyncAnthropic(
            base_url=stack.url, api_key=stack.key, max_retries=0, http_client=two, timeout=20
        ),
    )
    await one.aclose()
    await two.aclose()


def _columns(one: openai.AsyncOpenAI, two: anthropic.AsyncAnthropic) -> list[Column]:
    async def embeddings(provider: str) -> None:
        answer = await one.embeddings.create(model=named(provider, "echo"), input=["one", "two"])
        assert [len(entry.embedding) for entry in answer.data] == [16, 16]
        assert answer.data[0].embedding != answer.data[1].embedding

    async def count_tokens(provider: str) -> None:
        asked: Any = {
            "model": named(provider, "echo"),
            "messages": [{"role": "user", "content": features.TEXT}],
        }
        count = await two.messages.count_tokens(**asked)
        assert 10 < count.input_tokens < 40

    def of(face: Face, more: dict[str, Feature]) -> dict[str, Callable[[str], Awaitable[None]]]:
        every = {**features.OF_ALL_FACES, **more}
        return {name: partial(_on, feature, face) for name, feature in every.items()}

    probable: dict[str, Feature] = {"logprobs": features.logprobs}
    return [
        Column("/v1/chat/completions", of(Chat(one), probable)),
        Column("/v1/responses", of(Responses(one), probable)),
        Column("/v1/messages", {**of(Messages(two), {}), "count_tokens": count_tokens}),
        Column("/v1/embeddings", {"embeddings": embeddings}),
    ]


async def _on(feature: Feature, face: Face, provider: str) -> None:
    await feature(Trial(face, provider))


async def _all(columns: list[Column]) -> Matrix:
    gate = asyncio.Semaphore(AT_ONCE)
    tables: dict[str, Table] = {column.path: {name: {} for name in column.features} for column in columns}
    faults: list[str] = []

    async def one(path: str, name: str, run: Callable[[str], Awaitable[None]], provider: str) -> None:
        async with gate:
            try:
                tables[path][name][provider] = await _cell(run, provider)
            except Exception as error:  # noqa: BLE001 - whatever went wrong is this cell's fault
                what = f"{type(error).__name__}: {str(error)[:600]}"
                faults.append(f"{path} | {name} | {provider}: {what}")

    await asyncio.gather(
        *(
            one(column.path, name, run, provider)
            for column in columns
            for name, run in column.features.items()
            if name != features.KEY_OUT
            for provider in BASES
        )
    )
    for column in columns:
        if (run := column.features.get(features.KEY_OUT)) is not None:
            await asyncio.gather(*(one(column.path, features.KEY_OUT, run, provider) for provider in BASES))
            await asyncio.sleep(features.KEY_OUT_S)  # what Retry-After says
    return Matrix(tables, sorted(faults))


async def _cell(run: Callable[[str], Awaitable[None]], provider: str) -> str:
    """`yes`, `dropped: NAME` or `refused`. Raises whatever else happened."""
    dropped: dict[str, None] = {}
    _dropped.set(dropped)
    try:
        await run(provider)
    except Missing:
        if not dropped:
            raise
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        if not _names_parameter(error):
            raise
        return "refused"
    return f"dropped: {', '.join(f'`{name}`' for name in dropped)}" if dropped else "yes"


def _names_parameter(error: openai.APIStatusError | anthropic.APIStatusError) -> bool:
    """Whether the gateway refused something in the client's request; a provider speaks of its own fields."""
    if error.status_code not in (400, 404):
        return False
    if isinstance(error, openai.APIStatusError):
        return bool(error.param) and error.code in OURS
    told: Any = error.body
    return FIELD.match(told["error"]["message"]) is not None
