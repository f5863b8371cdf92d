"""Names in the wire format that more than one module of this dialect needs."""

from __future__ import annotations

from typing import Any, Final, cast

from keyrail.dialects.canonical.answer import Finish
from keyrail.dialects.canonical.parts import Cache

FINISHES: Final[dict[str, Finish]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "content_filter",
    "model_context_window_exceeded": "context",
}

STOP_REASONS: Final[dict[Finish, str]] = {
    **{finish: reason for reason, finish in FINISHES.items()},
    "error": "max_tokens",  # the nearest that says: this answer is not whole
}

CITATIONS: Final = frozenset(
    {
        "char_location",
        "page_location",
        "content_block_location",
        "web_search_result_location",
        "search_result_location",
    }
)
"""Types of citations that clients of this dialect know."""

HOSTED: Final = frozenset(
    {
        "server_tool_use",
        "mcp_tool_use",
        "mcp_tool_result",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "advisor_tool_result",
        "container_upload",
        "tool_addition",
        "tool_removal",
    }
)
"""Parts of conversations with hosted tools, which only this dialect has."""

RAW_ARGUMENTS: Final = "raw_arguments"
"""Where arguments go that are no JSON object: `input` must be one, and the words shall not be lost."""

ANSWER_TOOL: Final = "keyrail_json_answer"
"""The tool that models without structured output are made to call; its arguments are the answer's text."""


def finish_of(stop_reason: object) -> Finish | None:
    """The canonical finish; None where there is none yet. A reason of the future counts as a plain stop."""
    if type(stop_reason) is not str:
        return None
    return FINISHES.get(stop_reason, "stop")


def cache_of(block: dict[str, Any]) -> Cache | None:
    """The breakpoint on a block, a tool or the whole request."""
    control = block.get("cache_control")
    if type(control) is not dict:
        return None
    ttl = cast("dict[str, Any]", control).get("ttl")
    return Cache(ttl if type(ttl) is str else None)


def control_of(cache: Cache) -> dict[str, Any]:
    """The breakpoint as `cache_control`."""
    if cache.ttl in ("5m", "1h"):
        return {"type": "ephemeral", "ttl": cache.ttl}
    return {"type": "ephemeral"}
