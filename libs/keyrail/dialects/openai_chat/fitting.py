"""A chat request for one provider: its own name of the model, usage asked for in streams, its quirks
applied."""

from __future__ import annotations

from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.contracts.quirks import Quirks
from keyrail.dialects import flavour
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.openai_chat import flavour as chat_flavour


def fit(request: dict[str, Any], *, model: str, quirks: Quirks) -> Written | Failure:
    """The body, and what the provider does not take. Changes `request`.

    Fields that nothing is said about go through in their order. A Failure names what can't be left out.
    """
    request["model"] = model
    if request.get("stream") is True:
        if quirks.send_stream_options:
            request["stream_options"] = {**(request.get("stream_options") or {}), "include_usage": True}
        else:
            request.pop("stream_options", None)  # usage comes all the same
    written = flavour.apply(request, quirks)
    if isinstance(written, Failure) or not chat_flavour.touches_messages(quirks):
        return written
    messages, dropped = chat_flavour.messages(written.body["messages"], quirks)
    return Written({**written.body, "messages": messages}, (*written.dropped, *dropped))
