"""How many tokens a request can have at most, known before it is sent: what a hard budget rests on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from keyrail.contracts.slips import Dialect, Facts

FRAMING: Final = 1_024
"""Tokens that a provider adds by itself: its framing, and the instructions that come with tools or a form."""
IMAGE_MOST: Final = 48_169
"""The largest image where images cost most: gpt-4o-mini, 2,833 tokens and 5,667 for each of eight tiles."""
IMAGE_LEAST: Final = 8_500
"""The same for the smallest one: however few bytes it has, it costs a tile."""
FILE_MOST: Final = 1_000_000
"""A file fills a context window at most."""
LONGEST_TIER: Final = 32

_CAPS: Final[Mapping[Dialect, str]] = {
    "openai-chat": "max_completion_tokens",
    "openai-responses": "max_output_tokens",
}
_PLAIN: Final = frozenset(
    {
        "text",
        "input_text",
        "output_text",
        "refusal",
        "input_audio",  # a token of sound has many more bytes than any text's
        "thinking",
        "redacted_thinking",
        "tool_use",
        "message",
        "function_call",
        "custom_tool_call",
        "reasoning",
    }
)
_NESTED: Final = ("content", "output")
_IMAGES: Final = frozenset({"image_url", "image", "input_image"})
_FILES: Final = frozenset({"file", "input_file", "document"})
_HOLDERS: Final = frozenset({"tool_result", "function_call_output", "custom_tool_call_output"})
_DATA: Final = ("url", "image_url", "data", "file_data")
_OWN_TOOLS: Final = frozenset({None, "function", "custom", "local_shell", "apply_patch"})
_TOOLS_WITH_INSTRUCTIONS: Final = ("bash_", "text_editor_", "computer_", "memory_")
_UNBOUNDED: Final = frozenset(
    {
        "web_search_options",
        "plugins",
        "mcp_servers",
        "context_management",
        "prompt",  # stored at the provider
        "prediction",  # what of it is rejected is billed beyond the limit
        "models",  # others may answer, at other prices
        "inference_geo",
    }
)


def most_input(document: Mapping[str, Any], facts: Facts, size: int) -> int | None:
    """An upper bound of the prompt's tokens. `size`: bytes of the body as it came. None: there is no bound.

    It rests on this: models read text as tokens of one byte at least, and the JSON around a message or a
    tool is longer than what the provider frames it with. Media count apart: an image or a file that is
    elsewhere as the most that one costs, one inside the body by its bytes, within the limits above. No bound
    have tools that the provider runs (their results come into the prompt), what it has stored, and parts that
    are not known here. Wrong it can be for an image that is large and compresses to next to nothing (one
    colour), for a file with many nearly empty pages, and where a model's name asks for a search (`:online`).
    """
    keys = document.keys()
    if not keys.isdisjoint(_UNBOUNDED) and any(document.get(name) is not None for name in _UNBOUNDED):
        return None
    if _other_than_text(document) or document.get("speed") not in (None, "standard"):
        return None
    tools = _tools(document.get("tools"))
    if tools is None:
        return None
    total = size + FRAMING + tools
    if facts.dialect == "openai-embeddings":
        return total
    for part in _parts(document):
        more = _part(part)
        if more is None:
            return None
        total += more
    return total


def with_output_cap(document: dict[str, Any], dialect: Dialect, cap: int) -> bool:
    """Limit the answer in a body that names no limit, in the dialect's own words. False: it has no such."""
    name = _CAPS.get(dialect)
    if name is not None:
        document[name] = cap
    return name is not None


def bounded(document: dict[str, Any], facts: Facts, size: int, cap: int) -> Facts:
    """The facts with the bounds, of a request that a hard budget applies to. `size` as for `most_input`.

    Where it names no limit of its answer, `cap` is set in the facts and the body: without one is no bound.
    """
    if facts.operation != "generate":
        return facts
    if facts.max_output_tokens is None and with_output_cap(document, facts.dialect, cap):
        facts = facts.replace(max_output_tokens=cap, output_cap=cap)
    return facts.replace(input_tokens_most=most_input(document, facts, size))


def tier_of(document: Mapping[str, Any]) -> str | None:
    """The service tier that a body which was checked asks for; a longer name than any is cut."""
    tier = document.get("service_tier")
    return tier[:LONGEST_TIER] if tier else None


def _other_than_text(document: Mapping[str, Any]) -> bool:
    """Whether sound or images are to be answered, which have prices of their own."""
    modalities = document.get("modalities")
    return modalities is not None and modalities != ["text"]


def _tools(tools: object) -> int | None:
    """Tokens of the instructions that come with Anthropic's tools; None: the provider runs one."""
    total = 0
    for tool in _dicts(tools):
        kind = tool.get("type")
        if type(kind) is str and kind.startswith(_TOOLS_WITH_INSTRUCTIONS):
            total += FRAMING
        elif kind not in _OWN_TOOLS:
            return None
    return total


def _parts(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every part of every message, those inside tools' results too."""
    yield from _dicts(document.get("system"))
    for message in document.get("messages") or ():
        content = message.get("content")
        if type(content) is list:
            yield from _inner(_dicts(cast("object", content)))
        if message.get("audio") is not None:  # an answer that was spoken, by its id
            yield {"type": "audio"}
    yield from _inner(_dicts(document.get("input")))


def _inner(parts: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for part in parts:
        if "type" in part or "role" not in part:  # else it is a plain message among Responses' items
            yield part
        for name in _NESTED:
            if type(part.get(name)) is list:
                yield from _inner(_dicts(part[name]))


def _part(part: dict[str, Any]) -> int | None:
    """Tokens beyond the bytes that the part has in the body. None: nobody knows."""
    kind = part.get("type")
    if kind in _PLAIN or kind in _HOLDERS:
        return 0
    if kind in _IMAGES:
        inside = _inside(part, kind)
        return IMAGE_MOST if inside is None else min(IMAGE_MOST, max(inside, IMAGE_LEAST)) - inside
    if kind in _FILES:
        inside = _inside(part, kind)
        return FILE_MOST if inside is None else min(FILE_MOST, inside) - inside
    return None


def _inside(part: dict[str, Any], kind: str) -> int | None:
    """Bytes of the media in the body; None where it is elsewhere."""
    holder = part.get("source") or part.get(kind) or part
    if type(holder) is str:
        return _length(holder)
    if type(holder) is not dict:
        return None
    source = cast("dict[str, Any]", holder)
    if source.get("type") == "text":
        return 0  # counted by its bytes anyway
    for name in _DATA:
        value = source.get(name)
        if type(value) is str:
            return _length(value) if name in ("url", "image_url") else len(value)
    return None


def _length(uri: str) -> int | None:
    return len(uri) if uri[:5].lower() == "data:" else None


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    if type(value) is list:
        for each in cast("list[object]", value):
            if type(each) is dict:
                yield cast("dict[str, Any]", each)
