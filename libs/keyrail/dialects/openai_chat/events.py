"""One event of a chat stream, decoded only as far as anybody looks."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from keyrail.dialects import json_text


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    function: _Function | None = None


class Delta(msgspec.Struct, gc=False):
    """What one choice adds. Lists are content in parts, as some providers send it."""

    content: str | list[Any] | None = None
    reasoning: str | list[Any] | None = None
    reasoning_content: str | list[Any] | None = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    audio: dict[str, Any] | None = None
    images: list[Any] | None = None

    def weigh(self) -> int:
        """Characters of output in here; -1 when it holds no part of the answer, only the role, say."""
        text = self.content
        # Nearly all deltas are text alone, and each one comes through here.
        if (
            self.tool_calls is None
            and self.reasoning is None
            and self.reasoning_content is None
            and self.reasoning_details is None
            and self.refusal is None
            and self.function_call is None
            and self.audio is None
            and self.images is None
        ):
            if not text:
                return -1
            return len(text) if type(text) is str else _in_parts(cast("list[Any]", text))
        return self._weigh_all()

    def _weigh_all(self) -> int:
        texts = [
            text for text in (self.content, self.reasoning, self.reasoning_content, self.refusal) if text
        ]
        functions = [call.function for call in self.tool_calls or () if call.function is not None]
        if self.function_call is not None:
            functions.append(self.function_call)
        if not (texts or self.tool_calls or functions or self.reasoning_details or self.audio or self.images):
            return -1
        count = sum(len(text) if type(text) is str else _in_parts(cast("list[Any]", text)) for text in texts)
        return count + sum(len(call.arguments or "") + len(call.name or "") for call in functions)


class _Choice(msgspec.Struct, gc=False):
    delta: Delta | None = None
    finish_reason: str | None = None


class _Extra(msgspec.Struct, gc=False):
    usage: dict[str, Any] | None = None
    error: Any = None


class Event(msgspec.Struct, gc=False):
    """One chunk; `choices` None when there is no such list."""

    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    model: str | None = None
    service_tier: str | None = None
    x_groq: _Extra | None = None
    error: Any = None


decode = msgspec.json.Decoder(Event).decode
"""The event in a payload of plain ASCII. Raises ValueError or RecursionError; then ask `read`."""


def read(payload: bytes) -> Event | None:
    """The event in a `data` payload, None when that is no JSON object in UTF-8."""
    try:
        str(payload, "utf-8")  # the decoder doesn't look into fields that it skips
        return decode(payload)
    except (ValueError, RecursionError):
        return _loosely(payload)


def _loosely(payload: bytes) -> Event | None:
    """The same from an event with fields of unexpected types: those count as absent."""
    value = json_text.parse_or_none(payload)
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    choices: object = fields.get("choices")
    event = Event(
        usage=_fit(fields.get("usage"), dict[str, Any]),
        model=_fit(fields.get("model"), str),
        service_tier=_fit(fields.get("service_tier"), str),
        x_groq=_fit(fields.get("x_groq"), _Extra),
        error=fields.get("error"),
    )
    if type(choices) is list:
        event.choices = [_choice(choice) for choice in cast("list[object]", choices)]
    return event


def _choice(value: object) -> _Choice:
    if type(value) is not dict:
        return _Choice()
    choice = cast("dict[str, Any]", value)
    found = _Choice(finish_reason=_fit(choice.get("finish_reason"), str))
    delta = choice.get("delta")
    if type(delta) is dict:
        fitting = {name: _fit(delta.get(name), type_) for name, type_ in _DELTA_TYPES.items()}
        if any(value is None and delta.get(name) for name, value in fitting.items()):
            fitting["images"] = [None]  # content of a kind and size that nobody knows
        found.delta = Delta(**fitting)
    return found


_DELTA_TYPES: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Delta)}


def _fit(value: object, type_: Any) -> Any:
    try:
        return msgspec.convert(value, type_)
    except (ValueError, RecursionError):
        return None


def _in_parts(parts: list[Any]) -> int:
    """Characters in content parts: `text`, and the texts of a `thinking` list."""
    count = 0
    for part in parts:
        if type(part) is dict:
            for name in ("text", "thinking"):
                text = cast("dict[str, Any]", part).get(name)
                if type(text) is str:
                    count += len(text)
                elif type(text) is list:
                    count += _in_parts(cast("list[Any]", text))
    return count
