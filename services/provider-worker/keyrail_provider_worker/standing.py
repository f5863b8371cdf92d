"""What a racer says of the attempts of a race: which one won, and what becomes of the others."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from keyrail.contracts.base import now_ms
from keyrail.contracts.events import Standing
from keyrail.contracts.failures import Failure
from keyrail.contracts.signals import Cancel
from keyrail.contracts.slips import RACE_HOPS, RACING, Slip

if TYPE_CHECKING:
    from keyrail_provider_worker.attempt import Attempt

LOST_RACE: Final = Failure(
    kind="cancelled", message="Another target won the race.", status=499, code="race_lost"
)
LONGEST_WAIT_S: Final = 120.0
SOON_S: Final = 2.0
"""Once content was sent the racer has decided, where the first content does."""
REMEMBER_S: Final = 10.0
"""How long a verdict is remembered, for an attempt of the same contender that begins after it."""

_Key = tuple[str, int, int]


class Place:
    """Where one attempt stands. `standing` None: nobody has said so yet."""

    __slots__ = ("_said", "standing")

    def __init__(self) -> None:
        self.standing: Standing | None = None
        self._said: asyncio.Event | None = None

    def say(self, standing: Standing) -> None:
        """The first word counts."""
        self.standing = self.standing or standing
        if self._said is not None:
            self._said.set()

    @property
    def waiting(self) -> bool:
        """Whether the answer has ended and only the standing is missing."""
        return self._said is not None

    async def settle(self, slip: Slip, failure: Failure | None, *, content_sent: bool) -> None:
        """Return once it is said, or nobody is expected to say it any more. A cancel ends the waiting too.

        Of an attempt that failed nobody says anything, unless it may have won before that.
        """
        longest = min(max((slip.deadline_ms - now_ms()) / 1000, 0.0), LONGEST_WAIT_S)
        if failure is not None:
            race = slip.plan.race if slip.plan is not None else None
            decided = race is not None and race.mode in ("first", "hedge")
            longest = SOON_S if content_sent and decided and failure.kind != "cancelled" else 0.0
        if self.standing is not None or not longest:
            return
        self._said = asyncio.Event()
        try:
            async with asyncio.timeout(longest):
                await self._said.wait()
        except TimeoutError:
            return
        except asyncio.CancelledError:  # the answer is whole all the same
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()


class Verdicts:
    """Passes a racer's words on, and remembers who lost."""

    def __init__(self) -> None:
        self._lost: OrderedDict[_Key, float] = OrderedDict()

    def tell(self, cancel: Cancel, running: Iterable[tuple[Attempt, asyncio.Task[None]]]) -> None:
        """Stop a loser, or let it run with nobody to send it to."""
        assert cancel.standing is not None
        key = _key(cancel.request_id, cancel.epoch, cancel.hop)
        if cancel.standing == "lost":
            self._remember(key)
        for attempt, task in list(running):
            slip = attempt.slip
            if attempt.place is None or _key(slip.request_id, slip.epoch, slip.hop) != key:
                continue
            answered = attempt.place.waiting
            attempt.place.say(cancel.standing)
            if cancel.standing == "won" or answered:
                continue
            if cancel.drain:
                attempt.reply.muted = True
            else:
                task.cancel()

    def lost(self, slip: Slip) -> bool:
        """Whether the contender of this slip has lost already."""
        if slip.role not in RACING or not self._lost:
            return False
        return _key(slip.request_id, slip.epoch, slip.hop) in self._lost

    def _remember(self, key: _Key) -> None:
        now = time.monotonic()
        while self._lost and next(iter(self._lost.values())) < now - REMEMBER_S:
            self._lost.popitem(last=False)
        self._lost[key] = now


def _key(request_id: str, epoch: int, hop: int) -> _Key:
    return request_id, epoch, hop // RACE_HOPS
