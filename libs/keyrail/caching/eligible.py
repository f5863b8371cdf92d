"""What is never kept, and why. `REASONS` is the whole list; the rules below it are in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from keyrail.caching.key import Asked
from keyrail.contracts.slips import CacheRule, Slip
from keyrail.dialects import loose
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.parts import Audio, Document, Foreign, Image, Result

Reason = Literal[
    "off",
    "operation",
    "choices",
    "temperature",
    "hosted-tools",
    "stored",
    "audio",
    "remote-media",
    "foreign",
    "large",
    "role",
    "failed",
    "finish",
]

REASONS: Final[dict[Reason, str]] = {
    "off": "The client switched it off, or its tenant does not allow it.",
    "operation": "Tokens were counted: that is free, and no answer.",
    "choices": "More than one answer was asked for: they are samples, and meant to differ.",
    "temperature": "The temperature is not said to be 0, and the route does not say any_temperature.",
    "hosted-tools": "The provider searches the web, runs code or calls servers: the world changes meanwhile.",
    "stored": "It names something stored at the provider (a file, a container, an earlier response), or "
    "has it store this.",
    "audio": "Sound was asked for, or answered.",
    "remote-media": "An image or a file is behind a URL: what is there can change.",
    "foreign": "Only its own dialect can say what is asked or answered, so it can't be told apart safely.",
    "large": "The request or the answer is larger than what is kept.",
    "role": "The attempt was in a race or went on with another's answer.",
    "failed": "The answer did not come to its end, or nobody heard it to its end.",
    "finish": "The answer did not end by itself: it was cut at a limit, filtered or paused.",
}
"""Each reason with a sentence for the documentation."""

MOST_REQUEST: Final = 1 << 20
"""Bytes of a request that is looked at at all."""
MOST_ANSWER: Final = 1 << 20
"""Bytes of an answer as the provider sent it."""
MOST_KEPT: Final = 256 * 1024
"""Bytes of an entry, compressed."""
FINISHED: Final = frozenset({"stop", "stop_sequence", "tool_calls"})
"""How an answer ends that is whole."""

_OWN_TOOLS: Final = frozenset({None, "function", "custom"})
_HOSTED: Final = (
    "web_search_options",
    "plugins",
    "search_parameters",
    "search_settings",
    "web_search",
    "enable_search",
    "compound_custom",
    "mcp_servers",
)
"""Parameters by which providers are asked to search or to call somebody."""
_STORED: Final = (
    "container",
    "previous_response_id",
    "conversation",
    "prompt",
    "documents",
    "vector_store_ids",
)
"""Parameters that name something stored."""


def refused(rule: CacheRule, slip: Slip, asked: Asked) -> Reason | None:
    """Why this request is neither looked up nor kept; None when it may be."""
    for reason, applies in _RULES:
        if applies(rule, slip, asked):
            return reason
    return None


def unfit(answer: Answer, role: str) -> Reason | None:
    """Why this whole answer is not kept; None when it may be."""
    if role != "serve":
        return "role"
    if len(answer.candidates) != 1:
        return "choices"
    candidate = answer.candidates[0]
    if candidate.finish not in FINISHED:
        return "finish"
    if any(isinstance(part, Audio) for part in candidate.parts):
        return "audio"
    if any(isinstance(part, Foreign | Document | Result) for part in candidate.parts):
        return "foreign"
    if any(isinstance(part, Image) and part.data is None for part in candidate.parts):
        return "remote-media"
    return None


def _off(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    return rule.mode == "off"


def _operation(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    return slip.facts.operation != "generate"


def _choices(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    return slip.facts.choices > 1 or (loose.integer(asked.body.get("best_of")) or 1) > 1


def _temperature(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    if rule.any_temperature or asked.dialect == "openai-embeddings":
        return False
    asked_for = asked.body.get("temperature")
    return type(asked_for) is bool or asked_for != 0


def _hosted(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    tools = loose.items(asked.body.get("tools"))
    if any(loose.fields(tool).get("type") not in _OWN_TOOLS for tool in tools):
        return True
    return any(asked.body.get(name) not in (None, False, [], {}) for name in _HOSTED)


def _stored(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    body = asked.body
    # A Responses request is stored nowhere: the gateway says so to the provider, whatever the client said.
    if asked.dialect != "openai-responses" and body.get("store") is True:
        return True
    return any(body.get(name) is not None for name in _STORED) or _names_file(asked.tidied)


def _audio(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    return "audio" in loose.items(asked.body.get("modalities")) or asked.body.get("audio") is not None


def _remote(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    return asked.request is not None and any(
        _is_remote(part) for message in asked.request.messages for part in message.parts
    )


def _foreign(rule: CacheRule, slip: Slip, asked: Asked) -> bool:
    if asked.request is None:
        return asked.problem is not None
    return any(isinstance(part, Foreign) for message in asked.request.messages for part in message.parts)


_RULES: Final[tuple[tuple[Reason, Callable[[CacheRule, Slip, Asked], bool]], ...]] = (
    ("off", _off),
    ("operation", _operation),
    ("choices", _choices),
    ("temperature", _temperature),
    ("hosted-tools", _hosted),
    ("stored", _stored),
    ("audio", _audio),
    ("remote-media", _remote),
    ("foreign", _foreign),
)


def _is_remote(part: msgspec.Struct) -> bool:
    if isinstance(part, Result):
        return any(_is_remote(each) for each in part.parts)
    return isinstance(part, Image | Document) and part.url is not None


def _names_file(value: Any) -> bool:
    """Whether a part below refers to a file of the provider's. Data of the client's own is not looked at."""
    if type(value) is list:
        return any(_names_file(each) for each in value)
    if type(value) is not dict:
        return False
    fields = loose.fields(value)
    if type(fields.get("file_id")) is str or fields.get("type") == "item_reference":
        return True
    inner = (each for name, each in fields.items() if name not in ("parameters", "input_schema", "schema"))
    return any(_names_file(each) for each in inner)
