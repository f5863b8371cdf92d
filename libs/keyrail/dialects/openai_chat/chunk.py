"""One chunk of a stream, decoded as far as a reader for another dialect needs it."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from keyrail.dialects import json_text, loose


class Function(msgspec.Struct, gc=False):
    """A piece of a call; a custom tool has `input` instead of arguments."""

    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class Call(msgspec.Struct, gc=False):
    """A piece of a call and which it is of."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Function | None = None
    extra_content: dict[str, Any] | None = None


class Delta(msgspec.Struct, gc=False):
    """What one choice adds. Lists are content in parts, as some providers send it."""

    content: str | list[Any] | None = None
    reasoning_content: str | list[Any] | None = None
    reasoning: str | list[Any] | None = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    annotations: list[Any] | None = None
    images: list[Any] | None = None
    extra_content: dict[str, Any] | None = None


class Choice(msgspec.Struct, gc=False):
    """What happens to one candidate."""

    index: int | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Extra(msgspec.Struct, gc=False):
    """Groq's own."""

    usage: dict[str, Any] | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """The whole event."""

    id: str | None = None
    created: int | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    service_tier: str | None = None
    x_groq: Extra | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Chunk).decode


def _loosely(payload: bytes) -> Chunk | None:
    """The same from a chunk with fields of unexpected types: those count as absent."""
    value = json_text.parse_or_none(payload)
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    extra = loose.fields(fields.get("x_groq"))
    return Chunk(
        id=loose.text(fields.get("id")),
        created=loose.integer(fields.get("created")),
        model=loose.text(fields.get("model")),
        choices=[_choice(loose.fields(choice)) for choice in loose.items(fields.get("choices"))],
        usage=loose.fields(fields.get("usage")),
        service_tier=loose.text(fields.get("service_tier")),
        x_groq=Extra(loose.fields(extra.get("usage")), extra.get("error")),
        error=fields.get("error"),
    )


def _choice(choice: dict[str, Any]) -> Choice:
    return Choice(
        index=loose.integer(choice.get("index")),
        delta=_delta(loose.fields(choice.get("delta"))),
        finish_reason=loose.text(choice.get("finish_reason")),
        logprobs=loose.fields(choice.get("logprobs")),
    )


def _delta(delta: dict[str, Any]) -> Delta:
    return Delta(
        content=_words(delta.get("content")),
        reasoning_content=_words(delta.get("reasoning_content")),
        reasoning=_words(delta.get("reasoning")),
        reasoning_details=loose.items(delta.get("reasoning_details")),
        refusal=loose.text(delta.get("refusal")),
        tool_calls=[_call(loose.fields(call)) for call in loose.items(delta.get("tool_calls"))],
        function_call=_function(delta.get("function_call")),
        annotations=loose.items(delta.get("annotations")),
        images=loose.items(delta.get("images")),
        extra_content=loose.fields(delta.get("extra_content")),
    )


def _words(value: object) -> str | list[Any] | None:
    return cast("Any", value) if type(value) in (str, list) else None


def _call(call: dict[str, Any]) -> Call:
    return Call(
        index=loose.integer(call.get("index")),
        id=loose.text(call.get("id")),
        function=_function(call.get("function")),
        custom=_function(call.get("custom")),
        extra_content=loose.fields(call.get("extra_content")),
    )


def _function(value: object) -> Function | None:
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    arguments = fields.get("arguments")
    if type(arguments) is dict:  # the object itself
        arguments = json_text.dump(arguments).decode()
    return Function(loose.text(fields.get("name")), loose.text(arguments), loose.text(fields.get("input")))


read = json_text.reader(_decode, _loosely)
"""The chunk in a `data` payload, None when that is no JSON object in UTF-8."""
