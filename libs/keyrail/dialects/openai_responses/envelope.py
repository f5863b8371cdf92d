"""The response object: what an answer is in, and what of the request it repeats."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Finish
from keyrail.dialects.openai_responses.usage import usage_in

_NOTHING: dict[str, Any] = {}
_INCOMPLETE: dict[Finish | None, str] = {
    "length": "max_output_tokens",
    "context": "max_output_tokens",
    "content_filter": "content_filter",
}
_REPEATED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "temperature",
    "top_p",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
)
_DEFAULTS: dict[str, Any] = {
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "metadata": {},
    "top_logprobs": 0,
    "truncation": "disabled",
}


class Head(msgspec.Struct, gc=False):
    """Who answered, and when (seconds since 1970)."""

    id: str
    created: int
    model: str


def head(
    *, given: str | None, model: str, created: int | None, request: dict[str, Any] | None = None
) -> Head:
    """`given`: the provider's id. Where there is none the request and the time make one."""
    if given is None:
        seed = msgspec.json.encode([model, created, request])
        given = hashlib.blake2b(seed, digest_size=16).hexdigest()
    return Head(id=given if given.startswith("resp_") else f"resp_{given}", created=created or 0, model=model)


def item_id(prefix: str, response_id: str, index: int) -> str:
    """The id of an output item that has none, the same whenever the same answer is written."""
    name = hashlib.blake2b(f"{response_id}/{index}".encode(), digest_size=16).hexdigest()
    return f"{prefix}_{name}"


def incomplete_reason(finish: Finish | None) -> str | None:
    """Why an answer that ended so is incomplete; None when it is not."""
    return _INCOMPLETE.get(finish)


def response(
    head: Head,
    *,
    status: str,
    request: dict[str, Any] | None = None,
    output: list[dict[str, Any]] | None = None,
    usage: Usage | None = None,
    reason: str | None = None,
    error: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The object. `reason`: why it is incomplete.

    Settings are as the client wrote them, or the API's defaults; one that is the model's own is null.
    """
    asked = _NOTHING if request is None else request
    found: dict[str, Any] = {
        "id": head.id,
        "object": "response",
        "created_at": head.created,
        "status": status,
        "background": False,
        "completed_at": None,
        "error": error,
        "incomplete_details": None if reason is None else {"reason": reason},
        "model": head.model,
        "output": output or [],
        "previous_response_id": None,
        "reasoning": _reasoning(asked.get("reasoning")),
        "service_tier": asked.get("service_tier") if status == "in_progress" else _tier(usage),
        "store": False,
        "text": _text(asked.get("text")),
        "usage": usage_in(usage),
    }
    for name in _REPEATED:
        found[name] = asked.get(name)
    for name, default in _DEFAULTS.items():
        value = asked.get(name)
        found[name] = default if value is None else value
    return found


def _tier(usage: Usage | None) -> str | None:
    served = None if usage is None else usage.served_tier
    return "default" if served == "standard" else served


def _reasoning(asked: dict[str, Any] | None) -> dict[str, Any]:
    return {"effort": None, "summary": None, **(asked or _NOTHING)}


def _text(asked: dict[str, Any] | None) -> dict[str, Any]:
    found = {"format": {"type": "text"}, **(asked or _NOTHING)}
    if found["format"] is None:
        found["format"] = {"type": "text"}
    return found
