"""Reads a provider's stream: the events of a response become canonical pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    Boundary,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    ImagePiece,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Call, Image, Part, Refusal, Text, Thinking
from keyrail.dialects.openai_responses import answer, events
from keyrail.dialects.openai_responses.errors import classify_error, garbage, truncated
from keyrail.dialects.openai_responses.usage import usage_of
from keyrail.dialects.sse import Splitter, TooLong

Key = int | str | None


class _Item(msgspec.Struct, gc=False):
    """How far an output item has come. `sent` is what of each part: characters by its place."""

    position: int | None = None  # of a call
    arguments: int = 0
    parts: dict[int, int] = {}
    thoughts: str = ""  # which kind of them counts: summary or text
    summary: int = 0  # the part of the summary that came last
    thought: bool = False
    done: bool = False


class Reader:
    """Reads one stream of a provider. `failure`: the stream is over, and why."""

    def __init__(self, provider: str) -> None:
        self.failure: Failure | None = None
        self._provider = provider
        self._splitter = Splitter()
        self._out: list[Event] = []
        self._items: dict[Key, _Item] = {}
        self._calls = 0
        self._begun = False
        self._over = False
        self._read = 0

    def feed(self, data: bytes) -> list[Event]:
        """What this read completes. Nothing follows a failure or `Done`."""
        if self._over:
            return []
        try:
            blocks = self._splitter.feed(data)
        except TooLong:
            self._fail(garbage(self._provider, "sent an event that is too long"))
            return []
        return self._take(blocks)

    def end(self) -> list[Event]:
        """The body has ended: what was left. Without `Done` among all events, `failure` is set by now."""
        if self._over:
            return []
        found = self._take(self._splitter.finish())
        if not self._over:
            if self._read:
                self._fail(truncated(self._provider))
            else:
                self._fail(garbage(self._provider, "answered with a body that is no event stream"))
        return found

    def _take(self, blocks: list[tuple[bytes, bytes]]) -> list[Event]:
        for name, payload in blocks:
            if self._over:
                break
            if payload.startswith(b"[DONE]"):
                continue
            event = events.read(payload)
            if event is None:
                self._fail(garbage(self._provider, "sent an event that is not JSON in UTF-8"))
                break
            self._read += 1
            if event.type is None and name:
                event.type = name.decode("utf-8", "replace")
            handler = self._HANDLERS.get(event.type or "")
            if handler is not None:
                handler(self, event)
            elif event.type == "error" or (event.error and not (event.type or "").startswith("response.")):
                self._fail(classify_error(self._provider, json_text.parse_or_none(payload)))
        found = self._out
        self._out = []
        return found

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self._over = True

    def _emit(self, piece: Event) -> None:
        if not self._begun:
            self._begun = True
            self._out.append(Begin())
        self._out.append(piece)

    def _begin(self, event: events.Event) -> None:
        if not self._begun:
            self._begin_with(events.opened(event.response))

    def _begin_with(self, response: dict[str, Any]) -> None:
        self._begun = True
        self._out.append(
            Begin(
                id=answer.text_or_none(response.get("id")),
                model=answer.text_or_none(response.get("model")),
                created=answer.seconds(response.get("created_at")),
            )
        )

    def _item(self, key: Key) -> _Item:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(parts={})
        return item

    def _text(self, event: events.Event) -> None:
        text = event.delta
        if text:
            key = event.item_id if event.output_index is None else event.output_index
            parts = (self._items.get(key) or self._item(key)).parts
            place = event.content_index or 0
            parts[place] = parts.get(place, 0) + len(text)
            self._emit(TextPiece(text, 0, event.logprobs or None))

    def _text_done(self, event: events.Event) -> None:
        self._rest(event, event.text, TextPiece)

    def _refusal(self, event: events.Event) -> None:
        if event.delta:
            item = self._item(event.key)
            place = event.content_index or 0
            item.parts[place] = item.parts.get(place, 0) + len(event.delta)
            self._emit(RefusalPiece(event.delta))

    def _refusal_done(self, event: events.Event) -> None:
        self._rest(event, event.refusal, RefusalPiece)

    def _rest(self, event: events.Event, text: str | None, piece: type[TextPiece | RefusalPiece]) -> None:
        """Words that came only with the end of their part."""
        item = self._item(event.key)
        place = event.content_index or 0
        if text and place not in item.parts:
            item.parts[place] = len(text)
            self._emit(piece(text))

    def _annotation(self, event: events.Event) -> None:
        if event.annotation is not None:
            self._emit(CitationPiece(event.annotation))

    def _summary(self, event: events.Event) -> None:
        self._thinking(event, event.delta, "summary")

    def _summary_done(self, event: events.Event) -> None:
        item = self._item(event.key)
        if not item.thought or (item.thoughts == "summary" and item.summary != (event.summary_index or 0)):
            self._thinking(event, event.text, "summary")

    def _thought(self, event: events.Event) -> None:
        self._thinking(event, event.delta, "text")

    def _thought_done(self, event: events.Event) -> None:
        if not self._item(event.key).thought:
            self._thinking(event, event.text, "text")

    def _thinking(self, event: events.Event, text: str | None, kind: str) -> None:
        """More thoughts. Where a summary and the thoughts themselves come, the first of the two counts."""
        if not text:
            return
        item = self._item(event.key)
        item.thoughts = item.thoughts or kind
        if item.thoughts != kind:
            return
        place = (event.summary_index if kind == "summary" else event.content_index) or 0
        if item.thought and place != item.summary:
            text = "\n\n" + text
        item.summary = place
        item.thought = True
        self._emit(ThinkingPiece(text, id=event.item_id))

    def _added(self, event: events.Event) -> None:
        fields = events.opened(event.item)
        item = self._item(_key(event, fields))
        if fields.get("type") in ("function_call", "custom_tool_call") and item.position is None:
            self._call(item, answer.call_of(fields))

    def _call(self, item: _Item, call: Call) -> None:
        item.position = self._calls
        item.arguments = len(call.arguments)
        self._calls += 1
        self._emit(CallBegin(item.position, call.id, call.name, arguments=call.arguments, custom=call.custom))

    def _arguments(self, event: events.Event) -> None:
        item = self._items.get(event.key)
        if event.delta and item is not None and item.position is not None:
            item.arguments += len(event.delta)
            self._emit(ArgumentsPiece(item.position, event.delta))

    def _arguments_done(self, event: events.Event) -> None:
        item = self._items.get(event.key)
        whole = event.arguments or event.input
        if whole and item is not None and item.position is not None:
            self._missing(item, whole)

    def _missing(self, item: _Item, whole: str) -> None:
        """Arguments that came only with their end."""
        assert item.position is not None
        if len(whole) > item.arguments:
            self._emit(ArgumentsPiece(item.position, whole[item.arguments :]))
            item.arguments = len(whole)

    def _finished(self, event: events.Event) -> None:
        fields = events.opened(event.item)
        self._complete(self._item(_key(event, fields)), fields)

    def _complete(self, item: _Item, fields: dict[str, Any]) -> None:
        """An output item as a whole: what of it has not come in pieces, and its seal."""
        if item.done:
            return
        item.done = True
        logprobs: list[Any] = []
        for part in answer.parts_of(fields, logprobs):
            self._part(item, part, logprobs)
        if fields.get("type") in ("message", "reasoning", "function_call", "custom_tool_call"):
            self._emit(Boundary())

    def _part(self, item: _Item, part: Part, logprobs: list[Any]) -> None:
        if type(part) is Text and part.text and not item.parts:
            self._emit(TextPiece(part.text, logprobs=logprobs or None))
            for citation in part.citations or ():
                self._emit(CitationPiece(citation))
        elif type(part) is Refusal and not item.parts:
            self._emit(RefusalPiece(part.text))
        elif type(part) is Thinking:
            if part.text and not item.thought:
                self._emit(ThinkingPiece(part.text, id=part.id))
            if part.seal:
                self._emit(Seal(part.seal, "openai", id=part.id))
        elif type(part) is Call:
            if item.position is None:
                self._call(item, part)
            else:
                self._missing(item, part.arguments)
        elif type(part) is Image:
            self._emit(ImagePiece(part))

    def _terminal(self, event: events.Event) -> None:
        response = events.opened(event.response)
        if response.get("error") and response.get("status") not in ("completed", "incomplete"):
            self._failed(event)
            return
        if not self._begun:
            self._begin_with(response)
        if event.type == "response.incomplete":
            response["status"] = "incomplete"
        for index, fields in enumerate(answer.dicts(response.get("output"))):
            item = self._items.get(index) or self._items.get(answer.text_or_none(fields.get("id")))
            if item is None and len(self._items) <= index:
                self._complete(self._item(index), fields)
        finish = answer.finish_of(response, called=self._calls > 0)
        usage = usage_of(
            response.get("usage"), served_tier=response.get("service_tier"), tools=response.get("tool_usage")
        )
        self._emit(End(finish))
        self._emit(Counted(usage))
        self._emit(Done())
        self._over = True

    def _failed(self, event: events.Event) -> None:
        self._fail(classify_error(self._provider, {"response": events.opened(event.response)}))

    _HANDLERS: ClassVar[dict[str, Callable[..., None]]] = {
        "response.created": _begin,
        "response.in_progress": _begin,
        "response.queued": _begin,
        "response.output_text.delta": _text,
        "response.output_text.done": _text_done,
        "response.output_text.annotation.added": _annotation,
        "response.refusal.delta": _refusal,
        "response.refusal.done": _refusal_done,
        "response.reasoning_summary_text.delta": _summary,
        "response.reasoning_summary_text.done": _summary_done,
        "response.reasoning_text.delta": _thought,
        "response.reasoning_text.done": _thought_done,
        "response.output_item.added": _added,
        "response.output_item.done": _finished,
        "response.function_call_arguments.delta": _arguments,
        "response.function_call_arguments.done": _arguments_done,
        "response.custom_tool_call_input.delta": _arguments,
        "response.custom_tool_call_input.done": _arguments_done,
        "response.completed": _terminal,
        "response.incomplete": _terminal,
        "response.failed": _failed,
        "response.cancelled": _failed,
    }


def _key(event: events.Event, fields: dict[str, Any]) -> Key:
    return answer.text_or_none(fields.get("id")) if event.output_index is None else event.output_index


def reader(provider: str) -> Reader:
    """What reads a stream."""
    return Reader(provider)
