"""Output items of a stream while they are open: each knows the events that begin, fill and end it."""

from __future__ import annotations

from typing import Any

from keyrail.dialects import json_text
from keyrail.dialects.openai_responses import items
from keyrail.dialects.openai_responses.items import Item, Status

_dump = json_text.dump


class Log:
    """The events written so far. `take` hands their bytes over."""

    __slots__ = ("_out", "sequence")

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self.sequence = 0

    def add(self, kind: str, **fields: Any) -> None:
        """One event."""
        data = _dump({"type": kind, "sequence_number": self.sequence, **fields})
        self.sequence += 1
        self._out.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))

    def delta(self, head: bytes, tail: bytes, text: str) -> None:
        """One event out of its beginning (before the number), its end (after the text) and its text."""
        self._out.append(head + b'%d,"delta":' % self.sequence + _dump(text) + tail)
        self.sequence += 1

    def raw(self, data: bytes) -> None:
        """Bytes that are no event."""
        self._out.append(data)

    def take(self) -> bytes:
        """What is ready to send."""
        data = b"".join(self._out)
        self._out.clear()
        return data


def _hot(kind: str, fields: dict[str, Any]) -> tuple[bytes, bytes]:
    """Beginning and end of the many events that only differ in their number and text."""
    name = kind.encode()
    rest = _dump(fields)[1:]
    return b'event: %s\ndata: {"type":"%s","sequence_number":' % (name, name), b"," + rest + b"\n\n"


class Message:
    """Words of the model: parts of text and of refusal, one of which may be open."""

    __slots__ = (
        "_content",
        "_head",
        "_kind",
        "_log",
        "_logprobs",
        "_notes",
        "_pieces",
        "_tail",
        "id",
        "index",
        "seal",
    )

    def __init__(self, log: Log, item_id: str, index: int) -> None:
        self._log = log
        self._content: list[Item] = []
        self._kind = ""
        self._pieces: list[str] = []
        self._logprobs: list[Any] = []
        self._notes: list[Item] = []
        self._head = self._tail = b""
        self.id = item_id
        self.index = index
        self.seal: str | None = None
        item = items.message(item_id, [], "in_progress")
        log.add("response.output_item.added", output_index=index, item=item)

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index, "content_index": len(self._content)}

    def _open(self, kind: str, part: Item) -> None:
        if self._kind:
            self._close_part()
        self._kind = kind
        place = self._place()
        self._log.add("response.content_part.added", **place, part=part)
        if kind == "text":
            self._head, self._tail = _hot("response.output_text.delta", {**place, "logprobs": []})
        else:
            self._head, self._tail = _hot("response.refusal.delta", place)

    def text(self, text: str, logprobs: list[Any] | None) -> None:
        """More words."""
        if self._kind != "text":
            self._open("text", items.output_text(""))
        if logprobs:
            self._logprobs += logprobs
            self._log.add("response.output_text.delta", **self._place(), delta=text, logprobs=logprobs)
        elif text:
            self._log.delta(self._head, self._tail, text)
        self._pieces.append(text)

    def refusal(self, text: str) -> None:
        """More words of a refusal."""
        if self._kind != "refusal":
            self._open("refusal", items.refusal(""))
        self._log.delta(self._head, self._tail, text)
        self._pieces.append(text)

    def cite(self, value: object) -> None:
        """A source for the words so far."""
        if self._kind != "text":
            self._open("text", items.output_text(""))
        note = items.annotation(value, start=0, end=sum(map(len, self._pieces)))
        if note is None:
            return
        self._log.add(
            "response.output_text.annotation.added",
            **self._place(),
            annotation_index=len(self._notes),
            annotation=note,
        )
        self._notes.append(note)

    def _close_part(self) -> None:
        text = "".join(self._pieces)
        place = self._place()
        if self._kind == "text":
            part = items.output_text(text, self._logprobs, self._notes)
            self._log.add("response.output_text.done", **place, text=text, logprobs=self._logprobs)
        else:
            part = items.refusal(text)
            self._log.add("response.refusal.done", **place, refusal=text)
        self._log.add("response.content_part.done", **place, part=part)
        self._content.append(part)
        self._kind = ""
        self._pieces = []
        self._logprobs = []
        self._notes = []

    def close(self, status: Status) -> Item:
        """The whole item."""
        if self._kind:
            self._close_part()
        return items.message(self.id, self._content, status)


class Thoughts:
    """A reasoning item: one part of summary, which begins with its first words."""

    __slots__ = ("_head", "_log", "_pieces", "_tail", "given", "id", "index", "sealed")

    def __init__(self, log: Log, item_id: str, index: int, given: str | None) -> None:
        self._log = log
        self._pieces: list[str] = []
        self.id = item_id
        self.index = index
        self.given = given
        self.sealed: str | None = None
        self._head = self._tail = b""
        log.add("response.output_item.added", output_index=index, item=items.reasoning(item_id, "", None))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index, "summary_index": 0}

    def text(self, text: str) -> None:
        """More thoughts."""
        if not text:
            return
        if not self._pieces:
            place = self._place()
            self._head, self._tail = _hot("response.reasoning_summary_text.delta", place)
            self._log.add("response.reasoning_summary_part.added", **place, part=items.summary(""))
        self._log.delta(self._head, self._tail, text)
        self._pieces.append(text)

    def close(self, status: Status) -> Item:
        """The whole item. It has no status of its own."""
        text = "".join(self._pieces)
        if text:
            place = self._place()
            self._log.add("response.reasoning_summary_text.done", **place, text=text)
            self._log.add("response.reasoning_summary_part.done", **place, part=items.summary(text))
        return items.reasoning(self.id, text, self.sealed)


class OpenCall:
    """A call. `held`: its tool takes free text, but comes as a function's arguments: sent at the end."""

    __slots__ = ("_custom", "_head", "_held", "_log", "_name", "_pieces", "_tail", "call_id", "id", "index")

    def __init__(
        self, log: Log, item_id: str, index: int, *, call_id: str, name: str, custom: bool, held: bool
    ) -> None:
        self._log = log
        self._name = name
        self._custom = custom
        self._held = held
        self._pieces: list[str] = []
        self.call_id = call_id
        self.id = item_id
        self.index = index
        kind = "custom_tool_call_input" if custom else "function_call_arguments"
        self._head, self._tail = _hot(f"response.{kind}.delta", self._place())
        item = items.call(item_id, call_id, name, "", "in_progress", custom=custom)
        log.add("response.output_item.added", output_index=index, item=item)

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index}

    def text(self, text: str) -> None:
        """More of its arguments."""
        if not text:
            return
        self._pieces.append(text)
        if not self._held:
            self._log.delta(self._head, self._tail, text)

    def close(self, status: Status) -> Item:
        """The whole item. A function without arguments gets an empty object: clients parse them."""
        text = "".join(self._pieces)
        if self._held:
            text = items.free_text(text)
            self._log.delta(self._head, self._tail, text)
        elif not text and not self._custom:
            text = "{}"
            self._log.delta(self._head, self._tail, text)
        if self._custom:
            self._log.add("response.custom_tool_call_input.done", **self._place(), input=text)
        else:
            self._log.add(
                "response.function_call_arguments.done", **self._place(), name=self._name, arguments=text
            )
        return items.call(self.id, self.call_id, self._name, text, status, custom=self._custom)


OpenItem = Message | Thoughts | OpenCall
