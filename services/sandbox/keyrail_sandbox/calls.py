"""What the sandbox saw: the last calls, for tests that ask what reached the provider."""

from __future__ import annotations

import os
from collections import Counter, deque
from typing import Literal

import msgspec

from keyrail.contracts.base import now_ms

KEPT = 1000

State = Literal["running", "done", "closed_by_client", "cut"]


class Call(msgspec.Struct):
    """One request to a model path. `chunks`: pieces of reasoning and content sent; `extra`: unknown keys."""

    request_id: str
    path: str
    started_ms: int
    client_request_id: str | None = None
    authorization_present: bool = False
    model: str | None = None
    stream: bool = False
    ended_ms: int | None = None
    state: State = "running"
    chunks: int = 0
    extra: tuple[str, ...] = ()


class CallLog:
    """The calls of one app instance and how often each counting model was asked."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._prefix = os.urandom(6).hex()
        self._number = 0
        self._turns: Counter[str] = Counter()
        self._first_ms: dict[str, int] = {}

    def begin(self, path: str) -> Call:
        """A new running call with a request id of its own."""
        self._number += 1
        call = Call(f"req_{self._prefix}{self._number:08x}", path, now_ms())
        self._calls.append(call)
        return call

    def end(self, call: Call, state: State) -> None:
        """The call is over."""
        call.state = state
        call.ended_ms = now_ms()

    def turn(self, model: str) -> int:
        """How many calls of this model there were, this one included."""
        self._turns[model] += 1
        return self._turns[model]

    def age_s(self, model: str) -> float:
        """Seconds since the first call of this model."""
        now = now_ms()
        return (now - self._first_ms.setdefault(model, now)) / 1000

    def as_json(self, client_request_id: str | None) -> bytes:
        """A JSON list, oldest first; all calls, or those of one client request id."""
        return msgspec.json.encode(
            [c for c in self._calls if client_request_id is None or c.client_request_id == client_request_id]
        )

    def clear(self) -> None:
        """Forget the calls; counters go on."""
        self._calls.clear()
