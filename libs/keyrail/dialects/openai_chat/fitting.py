"""A chat request for one provider: its own name of the model, usage asked for in streams, quirks applied."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Written


def fit(request: dict[str, Any], *, model: str, quirks: Quirks) -> Written | Failure:
    """The body, and what the provider does not take. Changes `request`.

    Fields that nothing is said about go through in their order. A Failure names what can't be left out.
    """
    request["model"] = model
    dropped = tuple(name for name in quirks.drop if request.pop(name, None) is not None)
    if quirks.rename:
        request = _renamed(request, quirks)
    if quirks.drop_message_nulls:
        request["messages"] = [_without_nulls(message) for message in request["messages"]]
    if request.get("stream") is True:
        if quirks.send_stream_options:
            request["stream_options"] = {**(request.get("stream_options") or {}), "include_usage": True}
        else:
            request.pop("stream_options", None)
    return Written(request, dropped)


def _renamed(request: dict[str, Any], quirks: Quirks) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for name, value in request.items():
        target = quirks.rename.get(name, name)
        if target == name or target not in request:
            renamed[target] = value
    return renamed


def _without_nulls(message: Any) -> Any:
    if type(message) is not dict:
        return message
    fields = cast(dict[str, Any], message)
    if None not in fields.values():
        return fields
    return {name: value for name, value in fields.items() if value is not None or name == "content"}
