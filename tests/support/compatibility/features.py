"""What is tried: each feature once, for whichever face and provider."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import openai

from support.compatibility.asking import Answer, Ask, Call, Face, Interrupted

TEXT = "one two three four five six seven eight nine ten eleven twelve"
TOOLS = ("weather", "time")
NAMED = {"anthropic": "claude-sonnet-4-6+", "gemini": "gemini-3-flash+", "mistral": "usage-always+"}
"""What is put before the sandbox's names: models by which the gateway knows what they take, and usage without
being asked for it."""
STRICT = {"mistral": "-strict-422"}
"""Which refusal a field gets that the dialect does not define, where it is not `-strict`."""


class Missing(Exception):
    """An answer as it should be, but without what the feature is about."""


def named(provider: str, model: str) -> str:
    """The sandbox's model at a provider, for a client of the gateway."""
    return f"{provider}/{NAMED.get(provider, '')}{model}{STRICT.get(provider, '-strict')}"


@dataclass(frozen=True)
class Trial:
    """One feature on its way to one provider through one face."""

    face: Face
    provider: str

    def ask(self, model: str, text: str = TEXT, *, picture: bool = False, **more: Any) -> Ask:
        return Ask(named(self.provider, model), [self.face.user(text, image=picture)], **more)

    async def answer(self, model: str, text: str = TEXT, **more: Any) -> Answer:
        return await self.face.ask(self.ask(model, text, **more))

    async def error(self, model: str) -> openai.APIStatusError | anthropic.APIStatusError:
        try:
            answer = await self.answer(model)
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            return error
        raise AssertionError(f"no error but {answer}")


async def plain(trial: Trial) -> None:
    answer = await trial.answer("echo")
    assert answer.text == TEXT
    assert answer.finish not in ("length", "tool_calls")


async def streamed(trial: Trial) -> None:
    assert (await trial.answer("echo", stream=True)).text == TEXT


async def stream_usage(trial: Trial) -> None:
    whole = await trial.answer("echo")
    parts = await trial.answer("echo", stream=True)
    if parts.usage is None:
        raise Missing
    assert parts.usage == whole.usage
    assert min(parts.usage[:2]) > 0


async def tool_call(trial: Trial) -> None:
    await _round_trip(trial, "tools", expected=1)


async def tool_call_streamed(trial: Trial) -> None:
    await _round_trip(trial, "tools", expected=1, stream=True)


async def parallel(trial: Trial) -> None:
    await _round_trip(trial, "tools-parallel", expected=2)


async def parallel_streamed(trial: Trial) -> None:
    await _round_trip(trial, "tools-parallel", expected=2, stream=True)


async def no_arguments(trial: Trial) -> None:
    for stream in (False, True):
        answer = await trial.answer("tool-noargs", tools=TOOLS, stream=stream)
        (call,) = answer.calls
        assert json.loads(call.arguments or "{}") == {}


async def thinking(trial: Trial) -> None:
    await _thoughts(trial, stream=False)


async def thinking_streamed(trial: Trial) -> None:
    await _thoughts(trial, stream=True)


async def thinking_back(trial: Trial) -> None:
    await _round_trip(trial, "reasoning-tools", expected=1, think=True)


async def thinking_back_streamed(trial: Trial) -> None:
    await _round_trip(trial, "reasoning-tools", expected=1, think=True, stream=True)


async def cached(trial: Trial) -> None:
    counts = [(await trial.answer("cached", TEXT * 20, stream=stream)).usage for stream in (False, True)]
    assert counts[0] == counts[1]
    if counts[0] is None or not counts[0][2]:
        raise Missing
    assert counts[0][2] < counts[0][0]


async def json_schema(trial: Trial) -> None:
    answer = await trial.answer("json", schema=True)
    value = json.loads(answer.text)
    if list(value) != ["city"]:
        raise Missing


async def image(trial: Trial) -> None:
    answer = await trial.answer("image", picture=True)
    if answer.text == "images: none":
        raise Missing
    assert answer.text == "images: image/png"


async def logprobs(trial: Trial) -> None:
    answer = await trial.answer("logprobs", logprobs=True)
    assert answer.text == TEXT
    if not answer.logprobs:
        raise Missing
    assert "".join(entry.token for entry in answer.logprobs) == TEXT


async def length(trial: Trial) -> None:
    for stream in (False, True):
        answer = await trial.answer("length", stream=stream)
        assert answer.text
        assert TEXT.startswith(answer.text.strip())
        assert answer.finish == "length"


async def rate(trial: Trial) -> None:
    error = await trial.error("error-rate")
    assert isinstance(error, openai.RateLimitError | anthropic.RateLimitError), error
    assert error.response.headers["retry-after"] == str(KEY_OUT_S)


async def context(trial: Trial) -> None:
    error = await trial.error("error-context")
    assert isinstance(error, openai.BadRequestError | anthropic.BadRequestError), error
    if isinstance(error, openai.BadRequestError):
        assert error.code == "context_length_exceeded"
    else:
        assert "prompt is too long" in str(error)


async def mid_stream(trial: Trial) -> None:
    text = None
    try:
        await trial.answer("error-mid-stream", stream=True)
    except Interrupted as broken:
        text = broken.text.strip()
    assert text == "one two"


async def _thoughts(trial: Trial, *, stream: bool) -> None:
    answer = await trial.answer("reasoning", think=True, stream=stream)
    assert answer.text == TEXT
    if not answer.thoughts:
        raise Missing


async def _round_trip(
    trial: Trial, model: str, *, expected: int, think: bool = False, stream: bool = False
) -> None:
    asked = trial.ask(model, tools=TOOLS, think=think, stream=stream)
    answer = await trial.face.ask(asked)
    assert [call.name for call in answer.calls] == list(TOOLS[:expected])
    if think and not answer.thoughts:
        raise Missing
    results = {call.id: _result(call) for call in answer.calls}
    assert len(results) == expected
    history = [*asked.history, *answer.turn, *trial.face.results(results)]
    last = await trial.face.ask(Ask(asked.model, history, tools=TOOLS, think=think, stream=stream))
    assert not last.calls
    for text in results.values():
        assert text in last.text


def _result(call: Call) -> str:
    assert list(json.loads(call.arguments)) == ["city"]
    return f"the {call.name} is fine"


Feature = Callable[[Trial], Awaitable[None]]

KEY_OUT = "rate limit, with retry-after"
"""The feature after which nobody is called with the provider's key for KEY_OUT_S."""
KEY_OUT_S = 1

OF_ALL_FACES: dict[str, Feature] = {
    "answer": plain,
    "stream": streamed,
    "usage in a stream": stream_usage,
    "tool call and its result": tool_call,
    "tool call, streamed": tool_call_streamed,
    "parallel tool calls": parallel,
    "parallel tool calls, streamed": parallel_streamed,
    "tool call without arguments": no_arguments,
    "thinking shown": thinking,
    "thinking shown, streamed": thinking_streamed,
    "thinking given back": thinking_back,
    "thinking given back, streamed": thinking_back_streamed,
    "cached tokens in usage": cached,
    "JSON schema": json_schema,
    "image input": image,
    "stop reason: length": length,
    KEY_OUT: rate,
    "error: prompt too long": context,
    "error within a stream": mid_stream,
}
