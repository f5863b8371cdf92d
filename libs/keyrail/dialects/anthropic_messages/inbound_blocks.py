"""Content blocks of a client in the canonical form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import carried
from keyrail.dialects.anthropic_messages.blocks import cache_of
from keyrail.dialects.canonical.parts import (
    Call,
    Document,
    Foreign,
    Image,
    Part,
    Result,
    Text,
    Thinking,
)
from keyrail.dialects.canonical.request import refused


class Unreadable(Exception):
    """The request has no canonical form; `failure` says why. It never leaves this package."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def parts_of(content: Any, path: str, dropped: list[str]) -> list[Part]:
    """The parts of a message's content: a string or blocks that `check` has passed."""
    if type(content) is str:
        return [Text(content)]
    parts: list[Part] = []
    waiting: str | None = None  # the seal of what comes next
    for place, block in enumerate(cast("list[dict[str, Any]]", content)):
        kind = block["type"]
        if kind in ("thinking", "redacted_thinking"):
            part = _thinking(block)
            if part.redacted and part.seal_kind == "gemini":
                waiting = part.seal
                continue
            if not part.text and part.seal_kind == "gemini" and parts and type(parts[-1]) is Text:
                parts[-1].seal = part.seal
                continue
            parts.append(part)
            continue
        read = _BLOCKS.get(kind)
        where = f"{path}[{place}]"
        made = [Foreign(kind, block)] if read is None else read(block, where, dropped)
        if waiting is not None:
            waiting = _seal(made[0], waiting, parts)
        parts += made
    if waiting is not None:
        parts.append(_lone(waiting))
    return parts


def _seal(part: Part, seal: str, parts: list[Part]) -> None:
    if type(part) is Text or type(part) is Call:
        part.seal = seal
    else:
        parts.append(_lone(seal))


def _lone(seal: str) -> Thinking:
    return Thinking(seal=seal, seal_kind="gemini", redacted=True)


def _thinking(block: dict[str, Any]) -> Thinking:
    redacted = block["type"] == "redacted_thinking"
    found = block.get("data" if redacted else "signature")
    seal = found if type(found) is str and found else None
    text = "" if redacted else block["thinking"]
    cache = cache_of(block)
    foreign = None if seal is None else carried.inward(seal)
    if foreign is not None:
        kind, seal, id_, raw = foreign
        return Thinking(text, seal=seal, seal_kind=kind, redacted=redacted, id=id_, raw=raw, cache=cache)
    own = "anthropic-redacted" if redacted else "anthropic"
    return Thinking(text, seal=seal, seal_kind=own if seal else None, redacted=redacted, cache=cache)


def _text(block: dict[str, Any], path: str, dropped: list[str]) -> list[Part]:
    citations = block.get("citations")
    return [
        Text(
            block["text"],
            cache=cache_of(block),
            citations=cast("list[Any]", citations) if type(citations) is list and citations else None,
        )
    ]


def _image(block: dict[str, Any], path: str, dropped: list[str]) -> list[Part]:
    source = block["source"]
    cache = cache_of(block)
    if block.get("transformations"):
        dropped.append(f"{path}.transformations")
    match source["type"]:
        case "base64" if _are_texts(source, "data", "media_type"):
            return [Image(media_type=source["media_type"], data=source["data"], cache=cache)]
        case "url" if _are_texts(source, "url"):
            return [Image(url=source["url"], cache=cache)]
        case other:
            raise Unreadable(refused(f"{path}.source", f"The image source '{other}' is Anthropic's only."))


def _document(block: dict[str, Any], path: str, dropped: list[str]) -> list[Part]:
    title = block.get("title")
    citations = block.get("citations")
    document = Document(
        name=title if type(title) is str else None,
        citations=type(citations) is dict and cast("dict[str, Any]", citations).get("enabled") is True,
        cache=cache_of(block),
    )
    source = block["source"]
    match source["type"]:
        case "base64" if _are_texts(source, "data"):
            document.data = source["data"]
            document.media_type = source.get("media_type") or "application/pdf"
        case "url" if _are_texts(source, "url"):
            document.url = source["url"]
        case "text" if _are_texts(source, "data"):
            document.text = source["data"]
            document.media_type = "text/plain"
        case "file" if _are_texts(source, "file_id"):
            document.file_id = source["file_id"]
        case "content":
            document.text = _joined(source.get("content"), f"{path}.source.content")
            document.media_type = "text/plain"
        case other:
            raise Unreadable(refused(f"{path}.source", f"The document source '{other}' can't be read."))
    context = block.get("context")
    # What is said about a document has no field elsewhere; before it, the model reads it all the same.
    return [Text(context), document] if type(context) is str and context else [document]


def _search_result(block: dict[str, Any], path: str, dropped: list[str]) -> list[Part]:
    source, title = block.get("source"), block.get("title")
    citations = block.get("citations")
    text = _joined(block.get("content"), f"{path}.content")
    return [
        Document(
            media_type="text/plain",
            text=f"{source}\n\n{text}" if type(source) is str and source else text,
            name=title if type(title) is str else None,
            citations=type(citations) is dict and cast("dict[str, Any]", citations).get("enabled") is True,
            cache=cache_of(block),
        )
    ]


def _joined(content: object, path: str) -> str:
    if type(content) is str:
        return content
    texts: list[str] = []
    for block in cast("list[object]", content) if type(content) is list else ():
        text = cast("dict[str, Any]", block).get("text") if type(block) is dict else None
        if type(text) is not str:
            raise Unreadable(refused(path, "Only text can be carried to another provider here."))
        texts.append(text)
    return "\n\n".join(texts)


def _call(block: dict[str, Any], path: str, dropped: list[str]) -> list[Part]:
    arguments = json_text.dump(block.get("input") or {}).decode()
    return [Call(block["id"], block["name"], arguments, cache=cache_of(block))]


def _result(block: dict[str, Any], path: str, dropped: list[str]) -> list[Part]:
    found = parts_of(block.get("content") or [], f"{path}.content", dropped)
    parts: list[Text | Image | Document] = []
    for part in found:
        if not isinstance(part, Text | Image | Document):
            what = part.what if type(part) is Foreign else type(part).__name__
            raise Unreadable(refused(f"{path}.content", f"A result's '{what}' is Anthropic's only."))
        parts.append(part)
    return [Result(block["tool_use_id"], parts, failed=block.get("is_error") is True, cache=cache_of(block))]


def _are_texts(source: dict[str, Any], *names: str) -> bool:
    return all(type(source.get(name)) is str for name in names)


_BLOCKS: dict[str, Callable[[dict[str, Any], str, list[str]], list[Part]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_use": _call,
    "tool_result": _result,
}
