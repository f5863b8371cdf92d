"""A whole answer: passed on byte for byte, read only for what the ledger needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import msgspec

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.openai_chat.errors import classify_error, garbage
from keyrail.dialects.openai_chat.usage import usage_of


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is ready for the client. `model` is the name the provider answered with."""

    body: bytes
    usage: Usage
    finish: str | None
    model: str | None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Extra(msgspec.Struct, gc=False):
    usage: dict[str, Any] | None = None


class _Body(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    x_groq: _Extra | None = None
    model: str | None = None
    service_tier: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def read_answer(body: bytes, provider: str) -> Answer | Failure:
    """Read a 200. An error inside it is classified; what is no chat completion is `garbage`."""
    try:
        if not body.isascii():
            str(body, "utf-8")
        answer = _decode(body)
    except (ValueError, RecursionError):
        answer = _loosely(body)
    if answer is None:
        detail = "an empty body" if not body.strip() else "a body that is not JSON"
        return garbage(provider, f"answered with {detail}")
    if answer.error:
        return classify_error(provider, json_text.parse_or_none(body))
    if answer.choices is None:
        return garbage(provider, "answered with JSON that is no chat completion")
    return Answer(
        body=body,
        usage=usage_of(
            answer.usage or (answer.x_groq.usage if answer.x_groq else None), served_tier=answer.service_tier
        ),
        finish=next((choice.finish_reason for choice in answer.choices if choice.finish_reason), None),
        model=answer.model,
    )


def _loosely(body: bytes) -> _Body | None:
    """The same from a body with fields of unexpected types; None when it is not a JSON object."""
    value = json_text.parse_or_none(body)
    if type(value) is not dict:
        return None if value is None else _Body()
    fields = cast("dict[str, Any]", value)
    extra = fields.get("x_groq")
    choices = fields.get("choices")
    reasons = [choice.get("finish_reason") for choice in choices or () if type(choice) is dict]
    return _Body(
        choices=[_Choice(reason if type(reason) is str else None) for reason in reasons]
        if type(choices) is list
        else None,
        usage=_object(fields.get("usage")),
        x_groq=_Extra(_object(cast("dict[str, Any]", extra).get("usage"))) if type(extra) is dict else None,
        model=_text(fields.get("model")),
        service_tier=_text(fields.get("service_tier")),
        error=fields.get("error"),
    )


def _object(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if type(value) is dict else None


def _text(value: object) -> str | None:
    return value if type(value) is str else None
