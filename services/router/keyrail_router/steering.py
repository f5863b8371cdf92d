"""The order of a plan's targets, given how they are. Pure: what is known and the draws are arguments.

Nothing is ever left out here: a target that is out may still be the one that answers when all others fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from keyrail.contracts.slips import Plan, Target

Why = Literal["ramp", "limits", "breaker"]


class Known(Protocol):
    """What is known of targets. Times are milliseconds since the epoch."""

    def share(self, target: Target) -> float:
        """Of its traffic: 0 while its breaker is open, 1 when nothing is known against it."""
        ...

    def until_ms(self, target: Target) -> int | None:
        """When its open breaker lets it come back."""
        ...

    def limited_until_ms(self, target: Target) -> int | None:
        """When its provider has room for this request; None: now, or nobody knows."""
        ...


class Steered(NamedTuple):
    """A plan in its new order. `why` its first target is no longer the first; None: it still is."""

    plan: Plan
    why: Why | None


_RANKS: dict[Why | None, int] = {None: 0, "ramp": 1, "limits": 2, "breaker": 3}
_WORDS: dict[Why, str] = {
    "ramp": "is coming back from an outage",
    "limits": "has nothing left of its rate limit",
    "breaker": "is down",
}


def steered(plan: Plan, known: Known, draw: Callable[[], float]) -> Steered:
    """Targets that are well first, then those that come back and were not drawn, then those whose limits have
    no room, then those whose breaker is open, in the order in which they are back. `draw`: in [0, 1)."""
    if len(plan.targets) < 2:
        return Steered(plan, None)
    states = [_state(target, known, draw) for target in plan.targets]
    places = sorted(range(len(states)), key=lambda place: (_RANKS[states[place][0]], states[place][1], place))
    if places == list(range(len(states))):
        return Steered(plan, None)
    why = states[0][0] if places[0] != 0 else None
    reason = plan.reason
    if why is not None:
        first = plan.targets[0]
        reason = f"{reason}; {first.provider}/{first.model} {_WORDS[why]}"
    return Steered(permuted(plan, places, reason), why)


def permuted(plan: Plan, places: Sequence[int], reason: str) -> Plan:
    """The plan with the targets of these places, in this order, and all that is told of each of them."""
    changes: dict[str, object] = {"targets": tuple(plan.targets[place] for place in places)}
    if len(plan.windows) == len(plan.targets):
        changes["windows"] = tuple(plan.windows[place] for place in places)
    if len(plan.prefills) == len(plan.targets):
        changes["prefills"] = tuple(plan.prefills[place] for place in places)
    race = plan.race
    if race is not None and len(race.most_usd) == len(plan.targets):
        changes["race"] = race.replace(most_usd=tuple(race.most_usd[place] for place in places))
    return plan.replace(reason=reason, **changes)


def _state(target: Target, known: Known, draw: Callable[[], float]) -> tuple[Why | None, int]:
    until_ms = known.until_ms(target)
    if until_ms is not None:
        return "breaker", until_ms
    limited_ms = known.limited_until_ms(target)
    if limited_ms is not None:
        return "limits", limited_ms
    share = known.share(target)
    return ("ramp" if share < 1 and draw() >= share else None), 0
