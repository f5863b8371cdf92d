"""Input items, read into turns: what the model said, thought and called is one, tools' results another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import (
    Audio,
    Cache,
    Document,
    Foreign,
    Image,
    Part,
    Refusal,
    Result,
    Text,
)
from keyrail.dialects.canonical.request import Message, refused
from keyrail.dialects.openai_responses import sealing
from keyrail.dialects.openai_responses.answer import call_of, dicts, text_or_none, thinking_of

_DONE_BY_PROVIDER = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call"}
)
"""Items of hosted tools that hold the call and its result: a mere record. Other items that only this dialect
knows change what the model may or must do."""


class Turns:
    """Collects turns. `failure`: what can't be read for any other dialect. `dropped`: what is left out."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.dropped: list[str] = []
        self.failure: Failure | None = None
        self._names: dict[str, str] = {}  # of tools, by the id of the call
        self._sealed_calls: dict[str, str] = {}
        self._next_text: str | None = None
        self._next_image: str | None = None

    def read(self, items: list[dict[str, Any]]) -> None:
        """Read all items, until one can't be."""
        for index, item in enumerate(items):
            kind = item.get("type") or "message"
            handler = self._HANDLERS.get(kind)
            path = f"input[{index}]"
            if handler is not None:
                handler(self, path, item)
            elif kind in _DONE_BY_PROVIDER:
                self._assistant().parts.append(Foreign(what=kind, value=item))
            else:
                self.failure = refused(path, f"Items of type '{kind[:64]}' can't be sent to this provider.")
            if self.failure is not None:
                return

    def _assistant(self) -> Message:
        """The model's turn that is under way."""
        return self._turn("assistant")

    def _turn(self, role: Any) -> Message:
        messages = self.messages
        if not messages or messages[-1].role != role:
            messages.append(Message(role, []))
        return messages[-1]

    def _message(self, path: str, item: dict[str, Any]) -> None:
        role = item["role"]
        if item.get("phase") is not None:
            self.dropped.append(f"{path}.phase")
        content = item.get("content")
        parts = self._parts(f"{path}.content", content)
        if role == "assistant":
            if self._next_text is not None:
                for part in parts:
                    if type(part) is Text:
                        part.seal, self._next_text = self._next_text, None
                        break
            self._assistant().parts += parts
        else:
            self.messages.append(Message("user" if role == "user" else "system", parts))

    def _parts(self, path: str, content: object) -> list[Any]:
        if isinstance(content, str):
            return [Text(content)]
        found: list[Any] = []
        for index, part in enumerate(dicts(content)):
            read = part_of(f"{path}[{index}]", part)
            if isinstance(read, Failure):
                self.failure = self.failure or read
            else:
                found.append(read)
        return found

    def _reasoning(self, path: str, item: dict[str, Any]) -> None:
        thinking = thinking_of(item)
        opened = sealing.opened(thinking.seal) if thinking.seal else None
        if opened is None:
            if thinking.text or thinking.seal:
                self._assistant().parts.append(thinking)
            return
        kind, sealed = opened
        if sealed.on == "call" and sealed.call is not None:
            self._sealed_calls[sealed.call] = sealed.seal
        elif sealed.on == "text":
            self._next_text = sealed.seal
        elif sealed.on == "image":
            self._next_image = sealed.seal
        elif sealed.on == "text-before":
            self._seal_last_text(sealed.seal)
        else:
            thinking.seal = sealed.seal or None
            thinking.seal_kind = kind
            thinking.redacted = sealed.redacted or kind == "anthropic-redacted"
            thinking.id = sealed.id
            thinking.raw = sealed.raw
            self._assistant().parts.append(thinking)

    def _seal_last_text(self, seal: str) -> None:
        for part in reversed(self._assistant().parts):
            if type(part) is Text:
                part.seal = seal
                return

    def _call(self, path: str, item: dict[str, Any]) -> None:
        if item.get("namespace") is not None:
            self.failure = refused(
                f"{path}.namespace", "Tools in namespaces exist only at OpenAI: this provider has none."
            )
            return
        call = call_of(item)
        call.seal = self._sealed_calls.pop(call.id, None)
        self._names[call.id] = call.name
        self._assistant().parts.append(call)

    def _result(self, path: str, item: dict[str, Any]) -> None:
        output = item.get("output")
        parts = self._parts(f"{path}.output", output)
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "user" or type(last.parts[-1] if last.parts else None) is not Result:
            last = Message("user", [])
            self.messages.append(last)
        call_id = item["call_id"]
        last.parts.append(Result(call_id=call_id, parts=parts, name=self._names.get(call_id)))

    def _image(self, path: str, item: dict[str, Any]) -> None:
        result = item.get("result")
        if type(result) is not str or not result:
            self._assistant().parts.append(Foreign(what="image_generation_call", value=item))
            return
        form = text_or_none(item.get("output_format")) or "png"
        image = Image(media_type=f"image/{form}", data=result, seal=self._next_image)
        self._next_image = None
        self._assistant().parts.append(image)

    _HANDLERS: ClassVar[dict[str, Callable[..., None]]] = {
        "message": _message,
        "reasoning": _reasoning,
        "function_call": _call,
        "custom_tool_call": _call,
        "function_call_output": _result,
        "custom_tool_call_output": _result,
        "image_generation_call": _image,
    }


def part_of(path: str, part: dict[str, Any]) -> Part | Failure:
    """A content part. An image that is a file at a provider is refused: nobody else could open it."""
    kind = part["type"]
    text = part.get("text")
    if kind in ("input_text", "output_text", "text") and type(text) is str:
        return Text(text, cache=_cache(part))
    if kind == "refusal" and type(part.get("refusal")) is str:
        return Refusal(part["refusal"])
    if kind == "input_image":
        return _image(path, part)
    if kind == "input_file":
        return _file(path, part)
    if kind == "input_audio":
        return _audio(path, part)
    return refused(path, f"A content part of type '{kind[:64]}' can't be read.")


def _cache(part: dict[str, Any]) -> Cache | None:
    """A breakpoint; how long OpenAI keeps it has no name elsewhere."""
    return Cache() if type(part.get("prompt_cache_breakpoint")) is dict else None


def _image(path: str, part: dict[str, Any]) -> Image | Failure:
    url = part.get("image_url")
    detail = text_or_none(part.get("detail"))
    if type(url) is str and url:
        media_type, data = _data(url)
        if data is not None:
            return Image(media_type=media_type, data=data, detail=detail, cache=_cache(part))
        return Image(url=url, detail=detail, cache=_cache(part))
    if part.get("file_id") is not None:
        return refused(
            f"{path}.file_id",
            "An image that is stored at a provider can't be sent to another: send its data.",
        )
    return refused(path, "An image needs an 'image_url'.")


def _file(path: str, part: dict[str, Any]) -> Document | Failure:
    name = text_or_none(part.get("filename"))
    cache = _cache(part)
    data, url, file_id = (text_or_none(part.get(key)) for key in ("file_data", "file_url", "file_id"))
    if data is not None:
        media_type, inner = _data(data)
        return Document(media_type=media_type, data=data if inner is None else inner, name=name, cache=cache)
    if url is not None:
        return Document(url=url, name=name, cache=cache)
    if file_id is not None:
        return Document(file_id=file_id, name=name, cache=cache)
    return refused(path, "A file needs 'file_data', 'file_url' or 'file_id'.")


def _audio(path: str, part: dict[str, Any]) -> Audio | Failure:
    inner = part.get("input_audio")
    fields = cast("dict[str, Any]", inner) if type(inner) is dict else part
    data, form = fields.get("data"), fields.get("format")
    if type(data) is str and type(form) is str:
        return Audio(data=data, format=form)
    return refused(path, "Audio needs 'data' and 'format'.")


def _data(url: str) -> tuple[str | None, str | None]:
    """Media type and base64 of a data URI; nothing of any other address."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None, None
    return head[5:-7].partition(";")[0] or None, data
