"""Whether and how a slip goes on to the next target. Pure."""

from __future__ import annotations

from typing import Final

from keyrail.contracts.failures import FailureKind
from keyrail.contracts.slips import TAKE_BY_MS, Slip, Spent

KEY_IS_OUT: Final[frozenset[FailureKind]] = frozenset({"auth", "money", "no_key"})
"""Failures of the key. Its provider's other models would be asked with the same one."""


def next_slip(slip: Slip, spent: Spent, now_ms: int, *, head_sent: bool) -> Slip | None:
    """The slip for the next target; None when the failure is final, no target is left or time is over.

    Targets whose provider has refused its key for this request are passed over.
    """
    assert slip.plan is not None
    every = (*slip.spent, spent)
    out = {earlier.provider for earlier in every if earlier.failure.kind in KEY_IS_OUT}
    targets = slip.plan.targets
    position = slip.position + 1
    while position < len(targets) and targets[position].provider in out:
        position += 1
    if not spent.failure.falls_over or position >= len(targets) or now_ms >= slip.deadline_ms:
        return None
    return slip.replace(
        position=position,
        hop=slip.hop + 1,
        take_by_ms=now_ms + TAKE_BY_MS,
        spent=every,
        head_sent=head_sent,
    )
