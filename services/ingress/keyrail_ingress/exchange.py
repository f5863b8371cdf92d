"""One request between client and bus, as a state machine. Pure: time and I/O are the callers'.

Frames of an attempt carry (epoch, hop) and are numbered from 0. A later (epoch, hop) replaces the current
attempt; frames of an earlier one are stale; a gap ends the request with an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from keyrail.contracts.failures import Failure
from keyrail.contracts.frames import CONTENT, End, Fail, Frame, Head, Kind, Passed, Taken
from keyrail.contracts.slips import Slip, Spent

MAX_QUEUED = 4 << 20
"""Bytes of a stream that may wait for a client that does not read."""

Item = bytes | End | Failure

# Plain numbers: looking a member of an enumeration up for each frame costs more than comparing.
_TAKEN, _PASSED, _HEAD, _DATA, _END, _FAIL = map(int, Kind)


class Exchange:
    """`on_change` is called when there is something new for the relay: by `tell` and by `fail`."""

    __slots__ = (
        "_on_change",
        "attempt",
        "body",
        "content",
        "expected",
        "finished",
        "head",
        "items",
        "missing_beats",
        "order",
        "overflowed",
        "queued",
        "slip",
        "spent",
        "stale_workers",
        "take_by_ms",
        "taken_at",
        "worker",
    )

    def __init__(self, slip: Slip, body: bytes, on_change: Callable[[], None]) -> None:
        self.slip = slip
        self.body = body
        self.order = (slip.epoch, 0)
        self.expected = 0
        self.take_by_ms = slip.take_by_ms
        self.worker: str | None = None
        self.attempt: Taken | None = None
        self.taken_at = 0.0
        self.spent: tuple[Spent, ...] = slip.spent
        self.head: Head | None = None
        self.content = False
        self.items: deque[Item] = deque()
        self.queued = 0
        self.overflowed = False  # the client does not read: waiting for it would be for ever
        self.finished = False
        self.stale_workers: tuple[str, ...] = ()
        self.missing_beats = 0
        self._on_change = on_change

    def receive(self, frame: Frame, now: float) -> None:
        """Take one frame; `tell` after the last one. `now` is a monotonic time in seconds."""
        order = (frame.epoch, frame.hop)
        if order != self.order or self.finished:
            if self.finished or order < self.order:
                if frame.kind == _TAKEN and order < self.order:
                    self.stale_workers += (Taken.decode(frame.payload).worker,)
                return
            if frame.epoch != self.slip.epoch:
                return
            self._next_attempt(order)
        if frame.sequence != self.expected:
            self._finish(_lost("A part of the answer was lost on the way."))
            return
        self.expected += 1
        try:
            self._apply(frame, now)
        except ValueError:
            self._finish(_lost("A part of the answer could not be read."))

    def tell(self) -> None:
        """All frames that came together are taken: the relay may look."""
        if self.items:
            self._on_change()

    def _next_attempt(self, order: tuple[int, int]) -> None:
        self.order = order
        self.expected = 0
        self.worker = None
        self.attempt = None
        self.missing_beats = 0

    def _apply(self, frame: Frame, now: float) -> None:
        kind = frame.kind
        if kind == _DATA:
            self._queue(frame)
        elif kind == _TAKEN:
            self.attempt = Taken.decode(frame.payload)
            self.worker = self.attempt.worker
            self.taken_at = now
        elif kind == _HEAD:
            head = Head.decode(frame.payload)
            self.head = self.head or head  # only the first reaches the client
        elif kind == _END:
            self._finish(End.decode(frame.payload))
        elif kind == _PASSED:
            passed = Passed.decode(frame.payload)
            if passed.spent is not None:
                self.spent = (*self.spent, passed.spent)
            self.take_by_ms = passed.take_by_ms
            self.worker = None
            self._next_attempt((frame.epoch, frame.hop + 1))
        elif kind == _FAIL:
            fail = Fail.decode(frame.payload)
            self.spent = fail.spent or self.spent
            self._finish(fail.failure)
        # any other kind: a newer worker knows it

    def _queue(self, frame: Frame) -> None:
        if frame.flags & CONTENT:
            self.content = True
        self.queued += len(frame.payload)
        if self.queued > MAX_QUEUED and self.queued > self._announced():
            self.overflowed = True
            self._finish(
                Failure(kind="cancelled", message="The client does not read its answer.", status=499)
            )
            return
        self.items.append(frame.payload)

    def _announced(self) -> int:
        """The length of a whole answer, which its worker sends as fast as it can; 0 for a stream."""
        headers = dict(self.head.headers) if self.head else {}
        return int(headers.get("content-length", 0))

    def fail(self, failure: Failure) -> None:
        """End the request with this failure."""
        if not self.finished:
            self._finish(failure)
            self._on_change()

    def _finish(self, end: End | Failure) -> None:
        self.finished = True
        self.items.append(end)

    def take(self) -> Item | None:
        """The next thing for the client, if there is one."""
        if not self.items:
            return None
        item = self.items.popleft()
        if isinstance(item, bytes):
            self.queued -= len(item)
        return item

    def close(self) -> None:
        """Let go of whoever listens and of the body: no cycle is left for the garbage collector."""
        self.finished = True
        self.body = b""
        self._on_change = _nobody

    def redispatch(self, take_by_ms: int, lost: Failure) -> Slip:
        """Give the current attempt up: the slip for the next epoch. Its cost is unknown."""
        if self.attempt is not None:
            gone = Spent(
                attempt_id=self.attempt.attempt_id,
                provider=self.attempt.provider,
                model=self.attempt.model,
                failure=lost,
            )
            self.spent = (*self.spent, gone)
        self.slip = self.slip.replace(
            epoch=self.slip.epoch + 1,
            take_by_ms=take_by_ms,
            spent=self.spent,
            head_sent=self.head is not None,
        )
        self.take_by_ms = take_by_ms
        self._next_attempt((self.slip.epoch, 0))
        return self.slip


def _nobody() -> None:
    pass


def _lost(message: str) -> Failure:
    return Failure(kind="internal", message=message, status=502, code="answer_lost")
