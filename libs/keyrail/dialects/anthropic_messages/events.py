"""One event of a Messages stream, decoded only as far as anybody looks."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from keyrail.dialects import json_text


class Delta(msgspec.Struct, gc=False):
    """What a block or the message gains; which fields there are depends on the types of event and delta."""

    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None


class Start(msgspec.Struct, gc=False):
    """The message of a `message_start`."""

    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None


class Event(msgspec.Struct, gc=False):
    """Any event."""

    type: str | None = None
    delta: Delta | None = None
    content_block: dict[str, Any] | None = None
    message: Start | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Event).decode


def _loosely(payload: bytes) -> Event | None:
    """The same from an event with fields of unexpected types: those count as absent."""
    value = json_text.parse_or_none(payload)
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    return Event(
        type=fit(fields.get("type"), str),
        delta=_struct(fields.get("delta"), Delta),
        content_block=fit(fields.get("content_block"), dict[str, Any]),
        message=_struct(fields.get("message"), Start),
        usage=fit(fields.get("usage"), dict[str, Any]),
        error=fields.get("error"),
    )


def _struct(value: object, type_: Any) -> Any:
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    found = {field.name: fit(fields.get(field.name), field.type) for field in msgspec.structs.fields(type_)}
    return type_(**found)


def fit(value: object, type_: Any) -> Any:
    """The value where it is of that type, else None."""
    try:
        return msgspec.convert(value, type_)
    except (ValueError, RecursionError):
        return None


read = json_text.reader(_decode, _loosely)
"""The event in a `data` payload, None when that is no JSON object in UTF-8."""
