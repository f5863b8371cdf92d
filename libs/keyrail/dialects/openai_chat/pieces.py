"""What the chunks of one candidate add to it, as canonical events."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail.dialects import loose
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    CallBegin,
    CitationPiece,
    End,
    Event,
    ImagePiece,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.openai_chat import finishes, speech, thoughts, tools
from keyrail.dialects.openai_chat.chunk import Call, Choice, Delta, Function

_NO_FUNCTION = Function()


class _Open(msgspec.Struct, gc=False):
    """A call that is being told. Without a name it has not begun, and what came of it waits."""

    position: int
    id: str | None = None
    name: str | None = None
    waiting: str = ""
    custom: bool = False
    seal: str | None = None
    begun: bool = False


class Pieces:
    """Reads the deltas of one candidate.

    Thoughts are read in the spelling in which they come first: where a provider sends several, they all say
    the same.
    """

    __slots__ = ("_by_index", "_calls", "_candidate", "_place", "_spelling", "_unsealed", "finish")

    def __init__(self, candidate: int, place: str) -> None:
        self._candidate = candidate
        self._place = place
        self._calls: list[_Open] = []
        self._by_index: dict[int, _Open] = {}
        self._spelling: str | None = None
        self._unsealed = False  # thoughts have come since the last seal
        self.finish: str | None = None

    def read(self, choice: Choice, delta: Delta, events: list[Event]) -> None:
        """Append what this delta tells."""
        if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
            self._thoughts(delta, events)
        content = delta.content
        if type(content) is str and content and not choice.logprobs and not delta.extra_content:
            events.append(TextPiece(content, self._candidate))
        elif content or choice.logprobs or delta.extra_content:
            self._content(choice, delta, content or "", events)
        if delta.refusal:
            events.append(RefusalPiece(delta.refusal, self._candidate))
        if delta.images:
            events += [
                ImagePiece(image, self._candidate) for image in speech.images_of({"images": delta.images})
            ]
        if delta.annotations:
            events += [CitationPiece(value, self._candidate) for value in delta.annotations]
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._call(call, events)
        elif delta.function_call is not None:
            self._call(Call(index=0, function=delta.function_call), events)

    def end(self) -> End:
        """The end of this candidate."""
        calls = any(call.begun for call in self._calls)
        return End(finishes.read(self.finish, calls=calls), candidate=self._candidate)

    def _content(self, choice: Choice, delta: Delta, content: str | list[Any], events: list[Event]) -> None:
        logprobs = loose.items(choice.logprobs.get("content")) or None if choice.logprobs else None
        seal = thoughts.signature_of({"extra_content": delta.extra_content}) if delta.extra_content else None
        if type(content) is str:
            if content or logprobs or seal:
                events.append(TextPiece(content, self._candidate, logprobs, seal))
            return
        for value in loose.items(content):
            part = loose.fields(value)
            if part.get("type") == "thinking":
                self._think("content", thoughts.plain({"reasoning": part.get("thinking")}), events)
            elif (text := loose.text(part.get("text"))) is not None:
                events.append(TextPiece(text, self._candidate))

    def _thoughts(self, delta: Delta, events: list[Event]) -> None:
        if delta.reasoning_content:
            self._think("reasoning_content", _plain(delta.reasoning_content), events)
        if delta.reasoning:
            self._think("reasoning", _plain(delta.reasoning), events)
        for value in delta.reasoning_details or ():
            entry = loose.fields(value)
            self._think("reasoning_details", thoughts.words_of(entry), events)
            if thoughts.seal_of(entry) is not None:
                seal = Seal(
                    thoughts.packed(entry),
                    "openrouter",
                    redacted=not self._unsealed,
                    candidate=self._candidate,
                    id=loose.text(entry.get("id")),
                    raw=entry,
                )
                events.append(seal)
                self._unsealed = False

    def _think(self, spelling: str, text: str, events: list[Event]) -> None:
        if not text or self._spelling not in (None, spelling):
            return
        self._spelling = spelling
        self._unsealed = True
        events.append(ThinkingPiece(text, self._candidate))

    def _call(self, piece: Call, events: list[Event]) -> None:
        function = piece.function or piece.custom or _NO_FUNCTION
        call = self._find(piece, function)
        call.id = call.id or piece.id or None
        call.custom = call.custom or piece.custom is not None
        if piece.extra_content:
            call.seal = call.seal or thoughts.signature_of({"extra_content": piece.extra_content})
        text = function.arguments or function.input or ""
        if call.begun:
            if text:
                events.append(ArgumentsPiece(call.position, text, self._candidate))
            return
        call.waiting += text
        call.name = function.name or None
        if call.name is not None:
            call.begun = True
            events.append(self._begin(call, call.name))

    def _begin(self, call: _Open, name: str) -> CallBegin:
        id_ = call.id or tools.invented_id(f"{self._place}.{call.position}", name)
        return CallBegin(call.position, id_, name, call.waiting, call.custom, call.seal, self._candidate)

    def _find(self, piece: Call, function: Function) -> _Open:
        """The call that a piece is of: by its index, else by its id, else the last one.

        A piece with a name and an id of its own begins another call whatever its index says.
        """
        index = piece.index
        if index is not None:
            found = self._by_index.get(index)
        elif piece.id:
            found = next((call for call in self._calls if call.id == piece.id), None)
        else:
            found = self._calls[-1] if self._calls and not (function.name and self._calls[-1].begun) else None
        if found is not None and function.name and piece.id and found.id and found.id != piece.id:
            found = None
        if found is None:
            found = _Open(len(self._calls))
            self._calls.append(found)
        if index is not None:
            self._by_index[index] = found
        return found


def _plain(value: str | list[Any]) -> str:
    return value if type(value) is str else thoughts.plain({"reasoning": value})
