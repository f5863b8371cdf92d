"""The events of a streamed response: each item is added, filled and done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keyrail_sandbox import openai_errors
from keyrail_sandbox.answer import Answer, interleaved
from keyrail_sandbox.ask import Ask, Refusal
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.openai_logprobs import logprobs_of
from keyrail_sandbox.openai_responses.answer import (
    call_item,
    encode,
    envelope,
    finished,
    message_item,
    reasoning_item,
    text_part,
)


class ResponseEvents:
    """Parallel calls are open at the same time, their pieces come by turns."""

    keepalive = b": keepalive\n\n"

    def __init__(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> None:
        self._ask, self._answer, self._behaviour = ask, answer, behaviour
        self._sequence = 0
        self._held = b""  # what closes the open item, to be sent with whatever comes next
        self._null = behaviour.fault == "null-choices"
        self._first = 1 if answer.reasoning else 0  # output_index of what follows the reasoning
        begun = envelope(ask, "in_progress")
        self.opening = self._event("response.created", response=begun)
        self.opening += self._event("response.in_progress", response=begun)

    def _event(self, kind: str, **fields: Any) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        data = encode({"type": kind, "sequence_number": number, **fields})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def chunks(self) -> Iterator[bytes]:
        """Deltas; what opens an item comes with its first."""
        if self._null:
            return
        yield from self._reasoning()
        if self._answer.calls:
            yield from self._calls()
        else:
            yield from self._text()

    def _reasoning(self) -> Iterator[bytes]:
        answer, item = self._answer, reasoning_item(self._ask, self._answer)
        if not answer.reasoning:
            return
        empty = {"id": item["id"], "type": "reasoning", "summary": []}
        before = self._event("response.output_item.added", output_index=0, item=empty)
        if not self._ask.thoughts:
            yield before + self._event("response.output_item.done", output_index=0, item=item)
            return
        place = {"item_id": item["id"], "output_index": 0, "summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        before += self._event("response.reasoning_summary_part.added", **place, part=part)
        for piece in answer.reasoning:
            yield before + self._event("response.reasoning_summary_text.delta", **place, delta=piece)
            before = b""
        self._held = b"".join(
            (
                self._event("response.reasoning_summary_text.done", **place, text=answer.thoughts),
                self._event("response.reasoning_summary_part.done", **place, part=item["summary"][0]),
                self._event("response.output_item.done", output_index=0, item=item),
            )
        )

    def _release(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _text(self) -> Iterator[bytes]:
        refused = self._answer.finish == "refusal"
        kind = "response.refusal.delta" if refused else "response.output_text.delta"
        place = self._text_place()
        before = self._release() + self._text_opening()
        for piece in self._answer.pieces:
            more: dict[str, Any] = {} if refused else {"logprobs": self._probable(piece)}
            yield before + self._event(kind, **place, delta=piece, **more)
            before = b""
        self._held = before

    def _probable(self, piece: str) -> list[Any]:
        return logprobs_of([piece], self._ask.alternatives) if self._behaviour.logprobs else []

    def _text_place(self) -> dict[str, Any]:
        return {"item_id": f"msg_{self._ask.fingerprint}", "output_index": self._first, "content_index": 0}

    def _text_opening(self) -> bytes:
        part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        if self._answer.finish == "refusal":
            part = {"type": "refusal", "refusal": ""}
        item = message_item(self._ask, [], "in_progress")
        added = self._event("response.output_item.added", output_index=self._first, item=item)
        return added + self._event("response.content_part.added", **self._text_place(), part=part)

    def _text_closing(self, status: str) -> bytes:
        part, place = text_part(self._ask, self._answer, self._behaviour), self._text_place()
        if self._answer.finish == "refusal":
            done = self._event("response.refusal.done", **place, refusal=part["refusal"])
        else:
            done = self._event(
                "response.output_text.done", **place, text=part["text"], logprobs=part["logprobs"]
            )
        item = message_item(self._ask, [part], status)
        return b"".join(
            (
                done,
                self._event("response.content_part.done", **place, part=part),
                self._event("response.output_item.done", output_index=self._first, item=item),
            )
        )

    def _calls(self) -> Iterator[bytes]:
        before = self._release()
        for position, piece, first in interleaved(self._answer.calls):
            place = self._call_place(position)
            if first:
                item = call_item(self._ask, position, self._answer.calls[position], "", "in_progress")
                index = place["output_index"]
                before += self._event("response.output_item.added", output_index=index, item=item)
            if piece:
                before += self._event("response.function_call_arguments.delta", **place, delta=piece)
            yield before
            before = b""

    def _call_place(self, position: int) -> dict[str, Any]:
        item = f"fc_{self._ask.fingerprint}{position}"
        return {"item_id": item, "output_index": self._first + position}

    def _calls_closing(self, status: str) -> bytes:
        events: list[bytes] = []
        for position, call in enumerate(self._answer.calls):
            place = self._call_place(position)
            item = call_item(self._ask, position, call, call.text, status)
            done = {"name": call.name, "arguments": call.text}
            index = place["output_index"]
            events.append(self._event("response.function_call_arguments.done", **place, **done))
            events.append(self._event("response.output_item.done", output_index=index, item=item))
        return b"".join(events)

    def closing(self) -> list[bytes]:
        """What closes the items, then the complete response."""
        response = finished(self._ask, self._answer, self._behaviour)
        status = str(response["status"])
        ends = self._release()
        if not self._null:
            ends += self._calls_closing(status) if self._answer.calls else self._text_closing(status)
        events = [ends]
        if not self._behaviour.no_done:
            events.append(self._event(f"response.{status}", response=response))
        return events if self._behaviour.late_usage else [b"".join(events)]

    def failure(self, refusal: Refusal, *, begun: bool) -> bytes:
        """`response.failed`; an `error` event when there is no response yet."""
        fields = openai_errors.fields(refusal)
        code, message = fields["code"] or "server_error", fields["message"]
        if not begun:
            self._sequence = 0
            return self._event("error", code=code, message=message, param=fields["param"])
        response = {**envelope(self._ask, "failed"), "error": {"code": code, "message": message}}
        return self._event("response.failed", response=response)


def events(ask: Ask, answer: Answer, behaviour: Behaviour) -> ResponseEvents:
    """The events of a streamed answer."""
    return ResponseEvents(ask, answer, behaviour)
