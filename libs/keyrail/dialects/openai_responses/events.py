"""One event of a stream, decoded only as far as anybody looks."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from keyrail.dialects import json_text


class Event(msgspec.Struct, gc=False):
    """Any event. `item`, `part` and `response` are left as they are until somebody needs them."""

    type: str | None = None
    delta: str | None = None
    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    logprobs: list[Any] | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    annotation: Any = None
    item: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()
    error: Any = None

    @property
    def key(self) -> int | str | None:
        """What tells its item from the others."""
        return self.item_id if self.output_index is None else self.output_index


_decode = msgspec.json.Decoder(Event).decode
_FIELDS: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Event)}
_RAW = ("item", "response")


def _loosely(payload: bytes) -> Event | None:
    """The same from an event with fields of unexpected types: those count as absent."""
    fields = json_text.parse_or_none(payload)
    if type(fields) is not dict:
        return None
    event = Event()
    for name, value in cast("dict[str, Any]", fields).items():
        type_ = _FIELDS.get(name)
        if name in _RAW:
            setattr(event, name, msgspec.Raw(json_text.dump(value)))
        elif type_ is not None:
            try:
                setattr(event, name, msgspec.convert(value, type_))
            except (ValueError, RecursionError):
                continue
    return event


def opened(raw: msgspec.Raw) -> dict[str, Any]:
    """What was left as it is; empty when it is no object."""
    value = json_text.parse_or_none(bytes(raw))
    return cast("dict[str, Any]", value) if type(value) is dict else {}


read = json_text.reader(_decode, _loosely)
"""The event in a `data` payload, None when that is no JSON object in UTF-8."""
