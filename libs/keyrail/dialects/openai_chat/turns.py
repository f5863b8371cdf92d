"""Canonical turns, written as chat messages for a provider.

A user's turn becomes one `tool` message for each result it holds, then a message with what those can't hold
(images and files, each under the name of its call) and the user's own parts. Assistant turns that follow each
other become one message where that loses no border between two texts, because the results of calls must
follow the message that made them all. A refusal's words are the assistant's words.
"""

from __future__ import annotations

from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import (
    Audio,
    Cache,
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
from keyrail.dialects.openai_chat import media, thoughts, tools

_FAILED = "Error: "


class Turns:
    """Writes one conversation. `messages` are the provider's; `dropped` names what they have no place for."""

    def __init__(self, quirks: Quirks) -> None:
        self.messages: list[dict[str, Any]] = []
        self.dropped: dict[str, None] = {}  # a set that keeps its order
        self._caches = "cache_control" in quirks.takes
        self._details = "reasoning_details" in quirks.takes
        self._signatures = "extra_content" in quirks.takes
        self._thoughts = quirks.thoughts
        self._text_results = quirks.text_results

    def write(self, messages: list[Message]) -> Failure | None:
        """All of them; a Failure names what can't be written."""
        spoken: Message | None = None
        for message in messages:
            if message.role == "assistant":
                spoken = self._speech(message) if spoken is None else self._joined(spoken, message)
                continue
            if spoken is not None:
                self._assistant(spoken)
                spoken = None
            problem = self._system(message) if message.role == "system" else self._user(message)
            if problem is not None:
                return problem
        if spoken is not None:
            self._assistant(spoken)
        return None

    def _speech(self, message: Message) -> Message:
        return Message("assistant", list(message.parts), message.name)

    def _joined(self, spoken: Message, message: Message) -> Message:
        """Both turns as one where the first has no words or the second none; else the first is written."""
        if _has_words(spoken) and _has_words(message):
            self._assistant(spoken)
            return self._speech(message)
        spoken.parts += message.parts
        return spoken

    def _system(self, message: Message) -> Failure | None:
        parts: list[Any] = []
        for part in message.parts:
            if not isinstance(part, Text):
                return refused("system", "The instructions of this model can hold text only.")
            parts.append(self._cached({"type": "text", "text": part.text}, part.cache))
        self._say("system", parts, message.name)
        return None

    def _say(self, role: str, parts: list[dict[str, Any]], name: str | None) -> None:
        message: dict[str, Any] = {"role": role, "content": _content(parts)}
        if name is not None:
            message["name"] = name
        self.messages.append(message)

    def _user(self, message: Message) -> Failure | None:
        parts: list[dict[str, Any]] = []
        own: list[dict[str, Any]] = []
        results = False
        for part in message.parts:
            if isinstance(part, Result):
                results = True
                problem = self._result(part, parts)
            else:
                problem = self._own(part, own)
            if problem is not None:
                return problem
        if parts or own or not results:
            self._say("user", parts + own, message.name)
        return None

    def _own(self, part: Part, into: list[dict[str, Any]]) -> Failure | None:
        if isinstance(part, Audio):
            into.append(media.write_audio(part))
            return None
        if isinstance(part, Refusal):
            part = Text(part.text)
        if not isinstance(part, Text | Image | Document):
            what = part.what if isinstance(part, Foreign) else type(part).__name__.lower()
            return refused(what, f"A part of the type {what!r} can't be sent to this model.")
        written = self._written(part)
        if isinstance(written, Failure):
            return written
        into.append(self._cached(written, part.cache))
        return None

    def _written(self, part: Text | Image | Document) -> dict[str, Any] | Failure:
        if isinstance(part, Document) and part.citations:
            self.dropped["citations"] = None
        return media.write_part(part, links=self._details)  # OpenRouter does

    def _result(self, result: Result, later: list[dict[str, Any]]) -> Failure | None:
        """The `tool` message; images and files go to `later`."""
        texts: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for part in result.parts:
            written = self._written(part)
            if isinstance(written, Failure):
                return written
            (texts if written["type"] == "text" else rest).append(written)
        called = result.name or result.call_id
        if rest:
            later += [{"type": "text", "text": f"The result of the tool call {called}:"}, *rest]
            if not texts:
                texts.append({"type": "text", "text": "The result is in the next message."})
        if result.failed:
            first = texts[0]["text"] if texts else ""
            if not first.lower().startswith("error"):
                texts[:1] = [{"type": "text", "text": _FAILED + first}]
        if texts:
            self._cached(texts[-1], result.cache)
        content = "\n".join(text["text"] for text in texts) if self._text_results else _content(texts)
        self.messages.append({"role": "tool", "tool_call_id": result.call_id, "content": content})
        return None

    def _assistant(self, message: Message) -> None:
        words: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        thinking: list[Thinking] = []
        seal: str | None = None
        joins = False
        for part in message.parts:
            if isinstance(part, Text | Refusal):
                text = self._words(part)
                seal = part.seal if isinstance(part, Text) and part.seal is not None else seal
                if joins and "cache_control" not in words[-1]:
                    words[-1]["text"] += text["text"]
                    words[-1] |= {name: value for name, value in text.items() if name == "cache_control"}
                elif text["text"]:
                    words.append(text)
                joins = bool(words)
                continue
            joins = False
            if isinstance(part, Call):
                calls.append(self._call(part))
            elif isinstance(part, Thinking):
                thinking.append(part)
            else:
                what = part.what if isinstance(part, Foreign) else type(part).__name__.lower()
                self.dropped[what] = None
        written: dict[str, Any] = {"role": "assistant", "content": _spoken(words, bool(calls))}
        if message.name is not None:
            written["name"] = message.name
        self._think(written, thinking)
        if calls:
            written["tool_calls"] = calls
        if self._signatures:
            thoughts.with_signature(written, seal)
        self.messages.append(written)

    def _words(self, part: Text | Refusal) -> dict[str, Any]:
        written = {"type": "text", "text": part.text}
        return self._cached(written, part.cache if isinstance(part, Text) else None)

    def _call(self, call: Call) -> dict[str, Any]:
        written = tools.write_call(call)
        if self._signatures:
            thoughts.with_signature(written, call.seal)
        return self._cached(written, call.cache)

    def _think(self, written: dict[str, Any], thinking: list[Thinking]) -> None:
        """Thoughts in the field that the provider takes them back in; the sealed ones of others nowhere."""
        entries: list[dict[str, Any]] = []
        text = ""
        for part in thinking:
            found = thoughts.entries(part, len(entries)) if self._details else []
            entries += found
            if self._thoughts is not None and (found or part.seal is None):
                text += part.text
            elif not found:
                self.dropped["thinking"] = None
        if text and self._thoughts is not None:
            written[self._thoughts] = text
        if entries:
            written["reasoning_details"] = entries

    def _cached(self, written: dict[str, Any], cache: Cache | None) -> dict[str, Any]:
        if cache is not None:
            if self._caches:
                written["cache_control"] = tools.cache_control(cache)
            else:
                self.dropped["cache_control"] = None
        return written


def _has_words(message: Message) -> bool:
    return any(isinstance(part, Text | Refusal) and part.text for part in message.parts)


def _content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A single plain text as a string, which everybody takes."""
    if not parts:
        return ""
    first = parts[0]
    return first["text"] if len(parts) == 1 and first["type"] == "text" and len(first) == 2 else parts


def _spoken(words: list[dict[str, Any]], calls: bool) -> str | list[dict[str, Any]] | None:
    """Texts that something stood between are paragraphs of one; null only beside calls."""
    if not words:
        return None if calls else ""
    if any("cache_control" in text for text in words):
        return words
    return "\n\n".join(text["text"] for text in words)
