"""Why an answer ended."""

from __future__ import annotations

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.answer import Finish
from keyrail.dialects.taxonomy import client_status

_FINISHES: dict[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
_UNSAID = frozenset({"", "FINISH_REASON_UNSPECIFIED"})


def finish_of(reason: str | None, *, calls: bool) -> Finish | None:
    """The canonical word; None where the provider said none.

    A reason that nobody knows is an error: an answer never counts as complete by guess.
    """
    if reason is None or reason in _UNSAID:
        return None
    finish = _FINISHES.get(reason, "error")
    return "tool_calls" if calls and finish == "stop" else finish


def gave_up(provider: str, reason: str | None, message: str | None) -> Failure:
    """The Failure of an answer that ended in an error and holds nothing."""
    why = message or f"it ended with {reason}"
    return Failure(
        kind="server",
        message=f"{provider} gave no usable answer: {why[:500]}",
        status=client_status("server", None),
        upstream_status=200,
        provider=provider,
        code=reason.lower()[:64] if reason else None,
    )
