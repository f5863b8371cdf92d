"""One contender of a race, as its frames tell of it. Pure.

Frames of an attempt are numbered from 0; where a provider key is refused its worker goes on with the next
hop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from keyrail.contracts.budgets import ZERO
from keyrail.contracts.failures import Failure
from keyrail.contracts.frames import End, Fail, Frame, Head, Kind, Passed, Taken
from keyrail.contracts.slips import RACE_HOPS, Role, Slip, Spent

_TAKEN, _PASSED, _HEAD, _DATA, _END, _FAIL = map(int, Kind)

ANSWER_LOST = Failure(
    kind="internal", message="A part of the answer was lost on the way.", status=502, code="answer_lost"
)
State = Literal["running", "whole", "failed"]


@dataclass(slots=True)
class Contender:
    """`slip` is what its worker was given; `place` is its target's in the plan.

    `held`: bytes of its answer that wait for the race to be decided. `settled`: no word will come any more,
    and `cost_usd` is what all its attempts did cost, None where nobody knows.
    """

    slip: Slip
    place: int
    take_by_ms: int
    state: State = "running"
    hop: int = 0
    expected: int = 0
    worker: str | None = None
    taken_at: float = 0.0
    attempt_id: str | None = None
    head: Head | None = None
    held: list[tuple[bytes, int]] = field(default_factory=list[tuple[bytes, int]])
    size: int = 0
    end: End | None = None
    failure: Failure | None = None
    spent: tuple[Spent, ...] = ()
    cost_usd: Decimal | None = None
    settled: bool = False
    told: bool = False  # its worker knows whether it won
    unheard: bool = False  # no worker was there for it: nobody tells what it did cost, which is nothing
    silent_beats: int = 0

    def __post_init__(self) -> None:
        self.hop = self.slip.hop

    @property
    def role(self) -> Role:
        """What it was started for."""
        return self.slip.role

    @property
    def live(self) -> bool:
        """Whether it may still win."""
        return self.state != "failed"

    @property
    def attempts(self) -> int:
        """Its attempts so far: one, and one more for each key that was refused."""
        return self.hop - self.slip.hop + 1

    def accept(self, frame: Frame, now: float) -> bool:
        """Whether this frame is the next one. A gap is a failure, and what comes late is nothing."""
        if self.settled or frame.epoch != self.slip.epoch:
            return False
        if frame.hop != self.hop:
            if not self.hop < frame.hop < self.slip.hop + RACE_HOPS:
                return False
            self._next(frame.hop)
        if frame.sequence != self.expected:
            self.failure = self.failure or ANSWER_LOST
            self.state = "failed"
            return False
        self.expected += 1
        if frame.kind == _TAKEN:
            taken = Taken.decode(frame.payload)
            self.worker, self.attempt_id, self.taken_at = taken.worker, taken.attempt_id, now
        elif frame.kind == _PASSED:
            passed = Passed.decode(frame.payload)
            if passed.spent is not None:  # else it only waited, for an answer out of the cache
                self.spent = (*self.spent, passed.spent)
            self.take_by_ms = passed.take_by_ms
            self._next(self.hop + 1)
        elif frame.kind == _HEAD:
            self.head = Head.decode(frame.payload)
        return True

    def hears_end(self, frame: Frame) -> bool:
        """Of a loser only the end is heard, whatever is missing before it: what it did cost."""
        if self.settled or frame.epoch != self.slip.epoch or frame.hop < self.hop:
            return False
        if frame.kind == _END:
            self.ended(End.decode(frame.payload))
        elif frame.kind == _FAIL:
            self.failed(Fail.decode(frame.payload))
        elif frame.kind == _TAKEN:
            self.worker = Taken.decode(frame.payload).worker
            self.hop = frame.hop
        return frame.kind in (_END, _FAIL)

    def hold(self, payload: bytes, flags: int) -> None:
        """Keep a part of the answer until the race is decided."""
        self.held.append((payload, flags))
        self.size += len(payload)

    def drop(self) -> int:
        """Let go of what is held: so many bytes."""
        size, self.size = self.size, 0
        self.held.clear()
        return size

    def ended(self, end: End) -> None:
        """The whole answer has come."""
        self.end, self.state, self.cost_usd, self.settled = end, "whole", end.cost_usd, True

    def failed(self, fail: Fail) -> None:
        """Its worker says why there is no answer, and what was spent."""
        self.failure, self.state, self.spent, self.settled = fail.failure, "failed", fail.spent, True
        costs = [spent.cost_usd for spent in fail.spent]
        known = [cost for cost in costs if cost is not None]
        self.cost_usd = sum(known, ZERO) if len(known) == len(costs) else None

    def give_up(self, failure: Failure, *, called: bool) -> None:
        """Nothing more will be heard of it. Not `called`: nobody took it, so it did cost nothing."""
        self.failure, self.state, self.settled = failure, "failed", True
        self.cost_usd = None if called else ZERO
        target = self.slip.target
        lost = Spent(
            attempt_id=self.attempt_id if called else None,
            provider=target.provider,
            model=target.model,
            failure=failure,
            cost_usd=self.cost_usd,
        )
        self.spent = (*self.spent, lost)

    def _next(self, hop: int) -> None:
        self.hop, self.expected, self.worker, self.attempt_id = hop, 0, None, None
        self.silent_beats = 0
