"""Whether and how a slip goes on to the next target. Pure."""

from __future__ import annotations

from keyrail.contracts.slips import TAKE_BY_MS, Slip, Spent


def next_slip(slip: Slip, spent: Spent, now_ms: int, *, head_sent: bool) -> Slip | None:
    """The slip for the next target; None when the failure is final, no target is left or time is over."""
    assert slip.plan is not None
    position = slip.position + 1
    if not spent.failure.falls_over or position >= len(slip.plan.targets) or now_ms >= slip.deadline_ms:
        return None
    return slip.replace(
        position=position,
        hop=slip.hop + 1,
        take_by_ms=now_ms + TAKE_BY_MS,
        spent=(*slip.spent, spent),
        head_sent=head_sent,
    )
