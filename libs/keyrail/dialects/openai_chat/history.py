"""A client's messages, read into canonical turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects import loose
from keyrail.dialects.canonical.parts import Document, Foreign, Image, Part, Result, Text
from keyrail.dialects.canonical.request import Message, refused
from keyrail.dialects.openai_chat import media, speech, tools

_Reader = Callable[[str, dict[str, Any]], Part | Failure]


class History:
    """Reads one conversation, in order. `messages`: the turns; `dropped`: what nobody else could take."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.dropped: list[str] = []
        self._names: dict[str, str] = {}  # what the tools of earlier calls are called, by the calls' ids
        self._called: dict[str, str] = {}  # the last call of a function, by its name
        self._results = False  # the last turn holds results, and takes more

    def read(self, messages: list[dict[str, Any]]) -> Failure | None:
        """All of them; a Failure names what can't be read."""
        for index, message in enumerate(messages):
            param = f"messages[{index}]"
            role = message["role"]
            if role in ("tool", "function"):
                problem = self._result(param, message, role)
            elif role == "assistant":
                problem = self._assistant(param, message)
            else:
                problem = self._turn(param, message, "user" if role == "user" else "system")
            if problem is not None:
                return problem
        return None

    def _add(self, message: Message, *, results: bool = False) -> None:
        self.messages.append(message)
        self._results = results

    def _turn(self, param: str, message: dict[str, Any], role: Any) -> Failure | None:
        parts = _content(param, message)
        if isinstance(parts, Failure):
            return parts
        self._add(Message(role, parts, loose.text(message.get("name"))))
        return None

    def _assistant(self, param: str, message: dict[str, Any]) -> Failure | None:
        calls = speech.calls_of(message, param)
        if None in calls:
            name = f"{param}.tool_calls[{calls.index(None)}].function.name"
            return refused(name, f"Missing required parameter: '{name}'.")
        for call in calls:
            if call is not None:
                self._names[call.id] = call.name
                self._called[call.name] = call.id
        if message.get("audio") is not None:
            self.dropped.append(f"{param}.audio")
        parts = speech.read(message, place=param, from_provider=False)
        self._add(Message("assistant", parts, loose.text(message.get("name"))))
        return None

    def _result(self, param: str, message: dict[str, Any], role: str) -> Failure | None:
        name = loose.text(message.get("name"))
        call_id = loose.text(message.get("tool_call_id"))
        if role == "function" and name is not None:
            call_id = self._called.get(name) or tools.invented_id(param, name)
        if call_id is None:
            missing = f"{param}.tool_call_id" if role == "tool" else f"{param}.name"
            return refused(missing, f"Missing required parameter: '{missing}'.")
        parts = _content(param, message)
        if isinstance(parts, Failure):
            return parts
        held: list[Text | Image | Document] = []
        for place, part in enumerate(parts):
            if not isinstance(part, Text | Image | Document):
                where = f"{param}.content[{place}]"
                return refused(where, "The result of a tool can hold text, images and files only.")
            held.append(part)
        cache = next((part.cache for part in held if part.cache is not None), None)
        for part in held:
            part.cache = None
        result = Result(call_id, held, name or self._names.get(call_id), cache=cache)
        if self._results:
            self.messages[-1].parts.append(result)
        else:
            self._add(Message("user", [result]), results=True)
        return None


def _content(param: str, message: dict[str, Any]) -> list[Part] | Failure:
    """The parts of what anybody but an assistant says."""
    content = message.get("content")
    cache = tools.read_cache(message)
    if type(content) is str:
        return [Text(content, cache)]
    parts: list[Part] = []
    for index, value in enumerate(loose.items(content)):
        part = _part(f"{param}.content[{index}]", loose.fields(value))
        if isinstance(part, Failure):
            return part
        parts.append(part)
    if cache is not None and parts:
        _mark(parts[-1], cache)
    return parts


def _part(param: str, value: dict[str, Any]) -> Part | Failure:
    kind: str = value["type"]
    read = _READERS.get(kind)
    if read is None:
        return Foreign(kind, value)
    part = read(param, value)
    if not isinstance(part, Failure):
        cache = tools.read_cache(value)
        if cache is not None:
            _mark(part, cache)
    return part


def _mark(part: Part, cache: Any) -> None:
    if isinstance(part, Text | Image | Document):
        part.cache = cache


def _text(param: str, value: dict[str, Any]) -> Part | Failure:
    text = value.get("text")
    if type(text) is not str:
        return refused(f"{param}.text", f"Missing required parameter: '{param}.text'.")
    return Text(text)


def _document(param: str, value: dict[str, Any]) -> Part | Failure:
    return media.read_link(param, value, "document_url")


def _video(param: str, value: dict[str, Any]) -> Part | Failure:
    return media.read_link(param, value, "video_url")


_READERS: dict[str, _Reader] = {
    "text": _text,
    "input_text": _text,
    "image_url": media.read_image,
    "input_audio": media.read_audio,
    "file": media.read_file,
    "document_url": _document,
    "video_url": _video,
}
