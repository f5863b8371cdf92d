"""Writes a stream for a client: canonical pieces become the events of a response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Finish
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
    Ping,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Thinking
from keyrail.dialects.openai_responses import envelope, items, sealing
from keyrail.dialects.openai_responses.answer import GAVE_UP
from keyrail.dialects.openai_responses.items import Item, Status
from keyrail.dialects.openai_responses.open_items import Log, Message, OpenCall, OpenItem, Thoughts


class Writer:
    """Writes one stream.

    Words and thoughts that follow each other share an item; calls stay open until a boundary or the end, so
    that their pieces may be interleaved. Seals that are not OpenAI's travel in reasoning items of their own.
    """

    def __init__(
        self, *, model: str, request: dict[str, Any] | None = None, created: int | None = None
    ) -> None:
        self._model = model
        self._request = request
        self._created = created
        self._custom = items.custom_names(request)
        self._log = Log()
        self._head: envelope.Head | None = None
        self._next = 0
        self._message: Message | None = None
        self._thoughts: Thoughts | None = None
        self._calls: dict[int, OpenCall] = {}
        self._finished: dict[int, Item] = {}
        self._given: set[str] = set()  # ids of reasoning items that came with them
        self._worded = False
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._over = False

    def write(self, events: list[Event]) -> bytes:
        """Bytes that are ready to send; empty when these events show nowhere."""
        for event in events:
            if self._over or getattr(event, "candidate", 0):
                continue
            if type(event) is TextPiece and self._message is not None and not event.seal:  # nearly all are
                if event.text or event.logprobs:
                    self._message.text(event.text, event.logprobs)
                continue
            kind = type(event)
            if kind is Ping:
                self._log.raw(b": ping\n\n")
                continue
            if self._head is None and kind is not Begin:
                self._begin(Begin())
            self._HANDLERS[kind](self, event)
        return self._log.take()

    def _begin(self, event: Begin) -> None:
        if self._head is not None:
            return
        self._head = envelope.head(
            given=event.id,
            model=event.model or self._model,
            created=event.created or self._created,
            request=self._request,
        )
        response = envelope.response(self._head, status="in_progress", request=self._request)
        self._log.add("response.created", response=response)
        self._log.add("response.in_progress", response=response)

    def _name(self, prefix: str) -> tuple[str, int]:
        """Id and index of the next item."""
        assert self._head is not None
        index = self._next
        self._next += 1
        return envelope.item_id(prefix, self._head.id, index), index

    def _text(self, event: TextPiece) -> None:
        if event.seal and self._message is None:
            self._close_shown()
            place: sealing.Place = "text-before" if self._worded and not event.text else "text"
            self._sealed_alone(sealing.on_part(place, event.seal))
        elif event.seal and self._message is not None:
            self._message.seal = event.seal
        if event.text or event.logprobs:
            message = self._message
            if message is None:
                message = self._new_message()
            message.text(event.text, event.logprobs)

    def _new_message(self) -> Message:
        self._close_shown()
        self._worded = True
        self._message = Message(self._log, *self._name("msg"))
        return self._message

    def _refusal(self, event: RefusalPiece) -> None:
        (self._message or self._new_message()).refusal(event.text)

    def _citation(self, event: CitationPiece) -> None:
        if self._message is not None:
            self._message.cite(event.value)

    def _thinking(self, event: ThinkingPiece) -> None:
        thoughts = self._thoughts
        if thoughts is None or (event.id is not None and event.id != thoughts.given) or thoughts.sealed:
            thoughts = self._new_thoughts(event.id)
        thoughts.text(event.text)

    def _new_thoughts(self, given: str | None) -> Thoughts:
        self._close_shown()
        name, index = self._name("rs")
        if given is not None and given.startswith("rs_") and given not in self._given:
            self._given.add(given)
            name = given
        self._thoughts = Thoughts(self._log, name, index, given)
        return self._thoughts

    def _seal(self, event: Seal) -> None:
        part = Thinking(
            seal=event.seal, seal_kind=event.kind, redacted=event.redacted, id=event.id, raw=event.raw
        )
        sealed = sealing.of_thinking(part)
        thoughts = self._thoughts
        if thoughts is None or event.redacted or thoughts.sealed:
            self._close_shown()
            self._sealed_alone(sealed, event.id)
        else:
            thoughts.sealed = sealed

    def _sealed_alone(self, sealed: str | None, given: str | None = None) -> None:
        """A reasoning item with nothing to see."""
        thoughts = self._new_thoughts(given)
        thoughts.sealed = sealed
        self._close_shown()

    def _call(self, event: CallBegin) -> None:
        self._close_shown()
        if event.position in self._calls:
            self._close(self._calls.pop(event.position), "completed")
        if event.seal:
            self._sealed_alone(sealing.on_call(event.id, event.seal))
        declared = event.name in self._custom
        custom = event.custom or declared
        name, index = self._name("ctc" if custom else "fc")
        call = OpenCall(
            self._log,
            name,
            index,
            call_id=event.id,
            name=event.name,
            custom=custom,
            held=declared and not event.custom,
        )
        self._calls[event.position] = call
        call.text(event.arguments)

    def _arguments(self, event: ArgumentsPiece) -> None:
        call = self._calls.get(event.position)
        if call is not None:
            call.text(event.text)

    def _image(self, event: ImagePiece) -> None:
        self._close_shown()
        image = event.image
        if image.data is None:
            return
        if image.seal:
            self._sealed_alone(sealing.on_part("image", image.seal))
        name, index = self._name("ig")
        item = items.image(name, image.data, image.media_type)
        begun = {**item, "status": "in_progress", "result": None}
        self._log.add("response.output_item.added", output_index=index, item=begun)
        self._finished[index] = item
        self._log.add("response.output_item.done", output_index=index, item=item)

    def _boundary(self, event: Boundary) -> None:
        if self._message is not None or self._thoughts is not None:
            self._close_shown()
        elif len(self._calls) == 1:
            self._close(self._calls.popitem()[1], "completed")

    def _close_shown(self, status: Status = "completed") -> None:
        """End the words or the thoughts that are open."""
        if (message := self._message) is not None:
            self._message = None
            self._close(message, status)
            if message.seal is not None:
                self._sealed_alone(sealing.on_part("text-before", message.seal))
        if (thoughts := self._thoughts) is not None:
            self._thoughts = None
            self._close(thoughts, status)

    def _close(self, item: OpenItem, status: Status) -> None:
        whole = item.close(status)
        self._finished[item.index] = whole
        self._log.add("response.output_item.done", output_index=item.index, item=whole)

    def _close_all(self) -> None:
        status: Status = "incomplete" if envelope.incomplete_reason(self._finish) else "completed"
        self._close_shown(status)
        calls = sorted(self._calls.values(), key=lambda call: call.index)
        self._calls.clear()
        for call in calls:
            self._close(call, status if call is calls[-1] else "completed")

    def _end(self, event: End) -> None:
        self._finish = event.finish
        self._close_all()

    def _counted(self, event: Counted) -> None:
        self._usage = event.usage

    def _done(self, _event: Done) -> None:
        self._close_all()
        assert self._head is not None
        self._over = True
        reason = envelope.incomplete_reason(self._finish)
        failed = self._finish == "error"
        status = "failed" if failed else "incomplete" if reason else "completed"
        response = envelope.response(
            self._head,
            status=status,
            request=self._request,
            output=[self._finished[index] for index in sorted(self._finished)],
            usage=self._usage,
            reason=reason,
            error=GAVE_UP if failed else None,
        )
        self._log.add(f"response.{status}", response=response)

    _HANDLERS: ClassVar[dict[type, Callable[..., None]]] = {
        Begin: _begin,
        TextPiece: _text,
        RefusalPiece: _refusal,
        ThinkingPiece: _thinking,
        Seal: _seal,
        CallBegin: _call,
        ArgumentsPiece: _arguments,
        ImagePiece: _image,
        CitationPiece: _citation,
        Boundary: _boundary,
        End: _end,
        Counted: _counted,
        Done: _done,
    }


def writer(
    facts: Facts, *, model: str, request: dict[str, Any] | None = None, created: int | None = None
) -> Writer:
    """What writes a stream. `request`: the client's body, whose settings the response repeats."""
    return Writer(model=model, request=request, created=created)
