"""Who starts next in a race, and when. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from keyrail.contracts.slips import Plan, Race, Role
from keyrail_racer.contender import Contender


class Entrants:
    """The targets that have not been started, in the plan's order."""

    __slots__ = ("_again", "_failed", "_next_at", "_plan", "_refused", "_rule", "_started", "_waiting")

    def __init__(self, plan: Plan, rule: Race) -> None:
        self._plan = plan
        self._rule = rule
        self._waiting = list(range(len(plan.targets)))
        self._again: set[int] = set()
        self._started = 0
        self._failed = 0  # contenders that had failed when the last one started, or was refused
        self._refused = False
        self._next_at: float | None = None

    @property
    def role(self) -> Role:
        """What the next one is started for."""
        return "hedge" if self._rule.mode == "hedge" and self._started else "race"

    @property
    def next_at(self) -> float | None:
        """When the next one is due by time alone, monotonic; None: never."""
        return self._next_at if self._waiting and not self._refused else None

    def due(self, live: Sequence[Contender], every: Sequence[Contender], now: float) -> int | None:
        """The place of the target that is to start now; None: none is."""
        if not self._waiting or len(live) >= self._rule.most:
            return None
        places = self._open(every)
        if not places:
            return None
        if not live:
            return places[0]
        failed = len(every) - len(live)
        if failed > self._failed:  # somebody's place is free
            self._refused = False
            return places[0]
        if self._refused:
            return None
        if self._rule.mode == "hedge" and (self._next_at is None or now < self._next_at):
            return None
        return places[0]

    def started(self, place: int, every: Sequence[Contender], live: Sequence[Contender], now: float) -> None:
        """It was."""
        self._waiting.remove(place)
        self._started += 1
        self._failed = len(every) - len(live)
        self._refused = False
        delays = self._rule.delays_s
        wait = delays[min(self._started, len(delays)) - 1] if delays else None
        self._next_at = now + wait if self._rule.mode == "hedge" and wait is not None else None

    def refused(self, place: int, every: Sequence[Contender], live: Sequence[Contender]) -> None:
        """Nobody pays for it: never, where nobody else runs; else not before somebody has failed."""
        if live:
            self._refused = True
            self._failed = len(every) - len(live)
        else:
            self._waiting.remove(place)

    def again(self, place: int) -> None:
        """Its worker was lost, which is not the target's fault: it may start once more, after the others."""
        if place not in self._again:
            self._again.add(place)
            self._waiting.append(place)

    def _open(self, every: Sequence[Contender]) -> list[int]:
        """Those that may still be tried after what went wrong so far."""
        places = self._waiting
        for one in every:
            failure = one.failure
            if failure is None or failure.falls_over or failure.kind not in _FINAL:
                continue
            if failure.kind != "context":
                return []  # what the caller did wrong goes wrong everywhere
            least = self._window(one.place)
            places = [place for place in places if least is not None and (self._window(place) or 0) > least]
        return places

    def _window(self, place: int) -> int | None:
        return self._plan.windows[place] if place < len(self._plan.windows) else None


_FINAL = frozenset({"bad_request", "context", "policy", "denied", "limit", "budget", "cancelled", "other"})
