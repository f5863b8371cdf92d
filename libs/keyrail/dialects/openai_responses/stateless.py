"""What a Responses API that remembers nothing refuses, whichever provider would serve the request.

Nothing is stored: `store: true` counts as false, so whatever refers to something stored is refused here, with
the name of the parameter, before anybody is paid.
"""

from __future__ import annotations

from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.request import refused

_STATE = {
    "previous_response_id": "This gateway stores no responses: send the whole conversation in 'input' "
    "instead of 'previous_response_id'.",
    "conversation": "This gateway stores no conversations: send the whole conversation in 'input' "
    "instead of 'conversation'.",
    "prompt": "Prompt templates that are stored at a provider can't be used here: send the prompt itself in "
    "'instructions' and 'input'.",
}
"""Parameters that name something stored."""

_REFERENCE = (
    "This gateway stores no items: send the item itself instead of a reference to it. Reasoning is kept by "
    "including 'reasoning.encrypted_content'."
)


def problem_of(body: dict[str, Any]) -> Failure | None:
    """The first parameter that asks for memory. Items of the input are for `is_reference`."""
    for name, sentence in _STATE.items():
        if body.get(name) is not None:
            return refused(name, sentence)
    if body.get("background") is True:
        return refused(
            "background", "Responses can't run in the background here: stream the response instead."
        )
    return None


def is_reference(item: dict[str, Any]) -> bool:
    """Whether an input item only names one that is stored; the `type` may be left out."""
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "id" in item and "role" not in item)


def reference(param: str) -> Failure:
    """The refusal of such an item."""
    return refused(param, _REFERENCE)


def unserved(method: str, path: str) -> Failure:
    """What to answer on the other endpoints below /v1/responses: all of them need stored responses, or the
    provider's own model of tokens."""
    last = path.rstrip("/").rpartition("/")[2]
    if last == "compact":
        message = "Conversations are not compacted here: shorten the input yourself, or start a new one."
    elif last == "input_tokens":
        message = "Input tokens are not counted here before a request: the response's usage tells them."
    else:
        message = "Responses are not stored here, so they can't be fetched, listed, cancelled or deleted."
    return Failure(
        kind="bad_request",
        message=f"{message} ({method} {path[:128]})",
        status=404,
        code="not_supported",
    )
