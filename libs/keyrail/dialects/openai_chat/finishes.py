"""Why an answer ended, in this dialect's words and the canonical ones."""

from __future__ import annotations

from keyrail.dialects.canonical.answer import Finish

_READ: dict[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "length": "length",
    "max_tokens": "length",
    "model_length": "context",  # Mistral
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "error": "error",
}
_WRITTEN: dict[Finish, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "pause": "stop",
    "error": "error",
}


def read(reason: object, *, calls: bool) -> Finish | None:
    """The canonical word; an ordinary end after calls is theirs. None where the provider gave no reason.

    A word that nobody knows is an ordinary end.
    """
    if type(reason) is not str or not reason:
        return "tool_calls" if calls else None
    finish = _READ.get(reason.lower(), "stop")
    return "tool_calls" if calls and finish in ("stop", "stop_sequence") else finish


def write(finish: Finish | None, *, calls: bool) -> str:
    """The word for a client, who always gets one."""
    if finish is None:
        finish = "stop"
    return "tool_calls" if calls and finish == "stop" else _WRITTEN[finish]
