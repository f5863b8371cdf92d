"""Passes a stream on to a client of the same dialect, byte for byte, watching content, usage and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.openai_responses import answer, events
from keyrail.dialects.openai_responses.errors import classify_error, garbage, truncated
from keyrail.dialects.openai_responses.usage import usage_of
from keyrail.dialects.sse import MAX_EVENT
from keyrail.dialects.sse import read as read_block

_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_CR, _LF = b"\r\n"  # as numbers: looking for these in bytes is several times as fast
_BOM = b"\xef\xbb\xbf"
_SILENT = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
        "keepalive",
        "ping",
    }
)
"""Events that hold nothing of the answer yet."""

_HEADS = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDS = frozenset({"response.completed", "response.incomplete"})
_FAILED = frozenset({"response.failed", "response.cancelled"})
_CALLS = ("response.function_call_arguments.", "response.custom_tool_call_input.")
_CALL_ITEMS = ("function_call", "custom_tool_call")


class Passing:
    """Passes one stream. Whole events only; nothing follows the terminal event or a failure.

    The event of a failure is held back: whoever relays the stream writes one from `failure`.
    """

    __slots__ = (
        "_called",
        "_pieces",
        "_provider",
        "_read",
        "_size",
        "content",
        "done",
        "events",
        "failure",
        "finish",
        "model",
        "output_chars",
        "usage",
    )

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._pieces: list[bytes] = []  # the beginning of an event whose end has not come
        self._size = 0
        self._read = 0
        self._called = False
        self.content = False
        self.done = False
        self.failure: Failure | None = None
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.model: str | None = None
        self.output_chars = 0
        self.events = 0

    def feed(self, data: bytes) -> bytes:
        """Bytes for the client out of one upstream read: the events that it completes."""
        if self.done or self.failure is not None:
            return b""
        if self._size:
            self._pieces.append(data)
            self._size += len(data)
            # Joining again on each read of an endless event would cost the square of its length.
            if _LF not in data and _CR not in data:
                return self._bounded()
            data = b"".join(self._pieces)
            self._pieces.clear()
        start = 0
        for stop, end in _borders(data):
            if self._take(data[start:stop]):
                return data[: end if self.done else start]
            start = end
        self._size = len(data) - start
        if self._size:
            self._pieces.append(data[start:])
            self._bounded()
        return data[:start]

    def _bounded(self) -> bytes:
        if self._size > MAX_EVENT:
            self.failure = garbage(self._provider, "sent an event that is too long")
            self._pieces.clear()
        return b""

    def end(self) -> bytes:
        """The body has ended: the last bytes. Afterwards it is done, or there is a failure."""
        if self.done or self.failure is not None:
            return b""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        if rest.strip() and self._take(rest) and self.done:
            return rest.rstrip() + b"\n\n"
        if self.failure is None:
            if self._read:
                self.failure = truncated(self._provider)
            else:
                self.failure = garbage(self._provider, "answered with a body that is no event stream")
        return b""

    def _take(self, block: bytes) -> bool:
        """Watch one event. True: it is the last one."""
        found = read_block(block if self._read else block.removeprefix(_BOM))
        if found is None or found[1].startswith(b"[DONE]"):
            return False
        name, payload = found
        event = events.read(payload)
        if event is None:
            self.failure = garbage(self._provider, "sent an event that is not JSON in UTF-8")
            return True
        self._read += 1
        return self._watch(event, event.type or name.decode("utf-8", "replace"), payload)

    def _watch(self, event: events.Event, kind: str, payload: bytes) -> bool:
        if kind.endswith(".delta"):
            self.content = self.content or bool(event.delta)  # an empty one says nothing yet
            self.events += 1
            self.output_chars += len(event.delta or "")
            self._called = self._called or kind.startswith(_CALLS)
            return False
        if kind in _HEADS:
            if self.model is None:
                self.model = answer.text_or_none(events.opened(event.response).get("model"))
            return False
        if kind in _ENDS or kind in _FAILED:
            response = events.opened(event.response)
            self._settle(response)
            if kind in _FAILED or response.get("error"):
                self.failure = classify_error(self._provider, {"response": response})
                return True
            if kind == "response.incomplete":
                response["status"] = "incomplete"
            self.finish = answer.finish_of(response, called=self._called)
            self.done = self.content = True
            return True
        if kind == "error" or (event.error and not kind.startswith("response.")):
            self.failure = classify_error(self._provider, json_text.parse_or_none(payload))
            return True
        self.content = self.content or (kind not in _SILENT and kind != "")
        return False

    def _settle(self, response: dict[str, Any]) -> None:
        """Take over what the last event says of the whole response."""
        self.model = answer.text_or_none(response.get("model")) or self.model
        usage = response.get("usage")
        if type(usage) is dict:
            self.usage = usage_of(
                usage, served_tier=response.get("service_tier"), tools=response.get("tool_usage")
            )
        output = answer.dicts(response.get("output"))
        self._called = self._called or any(item.get("type") in _CALL_ITEMS for item in output)


def _borders(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the blank lines begin and end."""
    if _CR in data:
        for match in _BLANK.finditer(data):
            yield match.start(), match.end()
        return
    place = data.find(b"\n\n")
    while place >= 0:
        yield place, place + 2
        place = data.find(b"\n\n", place + 2)


def passing(provider: str, facts: Facts) -> Passing:
    """What passes a stream on to a client of the same dialect, watching it."""
    return Passing(provider)
