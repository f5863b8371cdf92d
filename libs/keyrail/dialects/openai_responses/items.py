"""Output items, each as it stands in a whole answer and in the event that ends it."""

from __future__ import annotations

from typing import Any, Literal, cast

from keyrail.dialects import json_text

Status = Literal["in_progress", "completed", "incomplete"]
Item = dict[str, Any]

_ANNOTATIONS = ("url_citation", "file_citation", "container_file_citation", "file_path")


def message(item_id: str, content: list[Item], status: Status) -> Item:
    """Words of the model. `content`: output_text and refusal parts."""
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def output_text(text: str, logprobs: list[Any] | None = None, annotations: list[Item] | None = None) -> Item:
    """A part with words."""
    return {
        "type": "output_text",
        "text": text,
        "annotations": annotations or [],
        "logprobs": logprobs or [],
    }


def refusal(text: str) -> Item:
    """A part with the words of a refusal."""
    return {"type": "refusal", "refusal": text}


def summary(text: str) -> Item:
    """A part of a reasoning item's summary."""
    return {"type": "summary_text", "text": text}


def reasoning(item_id: str, text: str, sealed: str | None) -> Item:
    """Thoughts, in one part so that a seal still fits them, and what lets their maker take them back."""
    return {
        "id": item_id,
        "type": "reasoning",
        "summary": [summary(text)] if text else [],
        "encrypted_content": sealed,
    }


def call(item_id: str, call_id: str, name: str, text: str, status: Status, *, custom: bool) -> Item:
    """A call; `text` is its arguments, or the free text of a custom tool's."""
    if custom:
        kind, field = "custom_tool_call", "input"
    else:
        kind, field = "function_call", "arguments"
    return {"id": item_id, "type": kind, "status": status, "call_id": call_id, "name": name, field: text}


def image(item_id: str, data: str, media_type: str | None) -> Item:
    """An image that the model made: the nearest this dialect has is a call of its own image tool."""
    return {
        "id": item_id,
        "type": "image_generation_call",
        "status": "completed",
        "result": data,
        "output_format": (media_type or "image/png").rpartition("/")[2],
    }


def custom_names(request: dict[str, Any] | None) -> frozenset[str]:
    """The tools of a request that take free text."""
    tools: list[Item] = (request or {}).get("tools") or []
    return frozenset(
        name for tool in tools if tool.get("type") == "custom" and type(name := tool.get("name")) is str
    )


def free_text(arguments: str) -> str:
    """What goes into a custom tool, where a provider filled in a function's one string."""
    value = json_text.parse_or_none(arguments.encode())
    if type(value) is dict:
        values = list(cast("dict[str, Any]", value).values())
        if len(values) == 1 and type(values[0]) is str:
            return values[0]
    return arguments


def annotation(value: object, *, start: int, end: int) -> Item | None:
    """A citation for the text from `start` to `end`; None when it is of a kind that is not shown here."""
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    inner = fields.get("url_citation")
    if type(inner) is dict:  # chat's shape
        fields = {"type": "url_citation", **cast("dict[str, Any]", inner)}
    elif fields.get("type") in _ANNOTATIONS:
        return fields
    url = fields.get("url")
    if type(url) is not str:
        return None
    title = fields.get("title")
    first, last = fields.get("start_index"), fields.get("end_index")
    return {
        "type": "url_citation",
        "url": url,
        "title": title if type(title) is str else "",
        "start_index": first if type(first) is int else start,
        "end_index": last if type(last) is int else end,
    }
