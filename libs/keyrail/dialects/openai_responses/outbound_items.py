"""Turns, written as input items for a provider of this dialect."""

from __future__ import annotations

import base64
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import (
    Audio,
    Call,
    Document,
    Foreign,
    Image,
    Part,
    Refusal,
    Result,
    Text,
    Thinking,
)
from keyrail.dialects.canonical.request import Message, refused

Item = dict[str, Any]

_FILE_NAMES = {"application/pdf": "document.pdf", "text/plain": "document.txt"}


class Items:
    """Collects items. `failure`: what this dialect can't say. `dropped`: what is left out."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.dropped: set[str] = set()
        self.failure: Failure | None = None
        self._custom: set[str] = set()  # ids of calls of custom tools
        self._content: list[Item] = []
        self._role = ""

    def write(self, messages: list[Message]) -> None:
        """Write all turns, until one can't be."""
        for index, message in enumerate(messages):
            if message.name is not None:
                self.dropped.add(f"messages[{index}].name")
            self._role = message.role
            for part in message.parts:
                self._part(f"messages[{index}]", part)
            self._flush()
            if self.failure is not None:
                return

    def _flush(self) -> None:
        """End the message item that is open."""
        content = self._content
        if not content:
            return
        self._content = []
        self.items.append({"type": "message", "role": self._role, "content": _plain(content)})

    def _part(self, path: str, part: Part) -> None:
        if type(part) is Call:
            self._flush()
            self._call(part)
        elif type(part) is Result:
            self._flush()
            self._result(path, part)
        elif type(part) is Thinking:
            self._flush()
            self._thinking(part)
        elif type(part) is Foreign:
            self._foreign(part)
        elif type(part) is Image and self._role == "assistant":
            self._made(part)
        elif (content := self._words(path, part)) is not None:
            self._content.append(content)

    def _words(self, path: str, part: Part) -> Item | None:
        if type(part) is Text:
            self._note(part)
            # Assistants' texts may be empty beside calls; an empty text says nothing.
            kind = "output_text" if self._role == "assistant" else "input_text"
            return {"type": kind, "text": part.text} if part.text else None
        if type(part) is Refusal:
            return {"type": "refusal", "refusal": part.text}
        if type(part) is Image:
            self._note(part)
            return image(part)
        if type(part) is Document:
            self._note(part)
            return document(part)
        assert type(part) is Audio
        self.failure = self.failure or refused(path, "This provider's Responses API takes no audio.")
        return None

    def _note(self, part: Text | Image | Document | Call | Result) -> None:
        if part.cache is not None:
            self.dropped.add("cache_control")

    def _call(self, part: Call) -> None:
        self._note(part)
        if part.custom:
            self._custom.add(part.id)
            item = {
                "type": "custom_tool_call",
                "call_id": part.id,
                "name": part.name,
                "input": part.arguments,
            }
        else:
            arguments = part.arguments or "{}"
            item = {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": arguments}
        self.items.append(item)

    def _result(self, path: str, part: Result) -> None:
        self._note(part)
        if part.failed:
            self.dropped.add("is_error")
        role, self._role = self._role, "tool"
        found = [self._words(path, inner) for inner in part.parts]
        self._role = role
        content = [inner for inner in found if inner is not None]
        kind = "custom_tool_call_output" if part.call_id in self._custom else "function_call_output"
        self.items.append({"type": kind, "call_id": part.call_id, "output": _plain(content)})

    def _thinking(self, part: Thinking) -> None:
        """OpenAI's own sealed thoughts go back; another maker's, and such that nothing seals, do not."""
        if part.seal is None or part.seal_kind != "openai":
            self.dropped.add("thinking")
            return
        item: Item = {"type": "reasoning"}
        if part.id is not None:
            item["id"] = part.id
        item["summary"] = [{"type": "summary_text", "text": part.text}] if part.text else []
        item["encrypted_content"] = part.seal
        self.items.append(item)

    def _made(self, part: Image) -> None:
        """An image that a model made: models of this dialect know images of users only."""
        self._flush()
        shown = {"type": "input_text", "text": "This image is from the assistant's answer:"}
        self.items.append({"type": "message", "role": "user", "content": [shown, image(part)]})

    def _foreign(self, part: Foreign) -> None:
        """A record of another dialect's hosted tool is left out; what a user sent is not."""
        if self._role == "assistant":
            self.dropped.add(part.what)
        else:
            message = f"'{part.what}' exists only in another dialect: this provider can't take it."
            self.failure = self.failure or refused(part.what, message)


def _plain(content: list[Item]) -> str | list[Item]:
    """A single text as a string, which every provider takes."""
    if not content:
        return ""
    only = content[0]
    return only["text"] if len(content) == 1 and "text" in only else content


def image(part: Image) -> Item:
    """An image part."""
    url = part.url if part.data is None else f"data:{part.media_type or 'image/png'};base64,{part.data}"
    return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}


def document(part: Document) -> Item:
    """A file part; plain text becomes a text file."""
    if part.file_id is not None:
        return {"type": "input_file", "file_id": part.file_id}
    if part.url is not None:
        return {"type": "input_file", "file_url": part.url}
    if part.data is not None:
        media_type, data = part.media_type or "application/pdf", part.data
    else:
        media_type, data = "text/plain", base64.b64encode((part.text or "").encode()).decode()
    return {
        "type": "input_file",
        "filename": part.name or _FILE_NAMES.get(media_type, "document"),
        "file_data": f"data:{media_type};base64,{data}",
    }
