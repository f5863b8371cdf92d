"""Whether and how a slip goes on to the next target. Pure."""

from __future__ import annotations

from typing import Final

from keyrail.contracts.budgets import ZERO
from keyrail.contracts.failures import FailureKind
from keyrail.contracts.slips import TAKE_BY_MS, Hold, Slip, Spent

KEY_IS_OUT: Final[frozenset[FailureKind]] = frozenset({"auth", "money", "no_key"})
"""Failures of the key. Its provider's other models would be asked with the same one."""


def next_slip(slip: Slip, spent: Spent, now_ms: int, *, head_sent: bool) -> Slip | None:
    """The slip for the next target; None when the failure is final, no target is left or time is over.

    Targets whose provider has refused its key for this request are passed over, and those that what is left
    of the hold does not pay for.
    """
    assert slip.plan is not None
    every = (*slip.spent, spent)
    out = {earlier.provider for earlier in every if earlier.failure.kind in KEY_IS_OUT}
    targets = slip.plan.targets
    hold = left(slip, spent)
    position = slip.position + 1
    while position < len(targets) and (targets[position].provider in out or not pays(hold, position)):
        position += 1
    if not spent.failure.falls_over or position >= len(targets) or now_ms >= slip.deadline_ms:
        return None
    return slip.replace(
        position=position,
        hop=slip.hop + 1,
        take_by_ms=now_ms + TAKE_BY_MS,
        spent=every,
        head_sent=head_sent,
        hold=hold,
    )


def left(slip: Slip, spent: Spent) -> Hold | None:
    """The hold without what this attempt did cost, or could have where nobody knows."""
    hold = slip.hold
    if hold is None:
        return None
    cost = spent.cost_usd if spent.cost_usd is not None else hold.most[slip.position] or ZERO
    return hold.replace(usd=hold.usd - cost) if cost else hold


def pays(hold: Hold | None, position: int) -> bool:
    """Whether an attempt at this target can cost no more than is held; always, where nothing has to be."""
    if hold is None:
        return True
    most = hold.most[position]
    return most is None or most <= hold.usd
