"""Whether another target goes on with a stream that broke off after its first content. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from keyrail.contracts.failures import FailureKind
from keyrail.contracts.slips import Slip, Spent
from keyrail_provider_worker import fallback

BREAKS_OFF: Final[frozenset[FailureKind]] = frozenset(
    {"truncated", "server", "capacity", "timeout", "connection", "garbage"}
)
"""Failures of a provider that leave its answer unfinished, and nothing else wrong with it."""


def wanted(slip: Slip) -> bool:
    """Whether the route says so, the request may be split between two models, and there is a target for
    it."""
    plan, facts = slip.plan, slip.facts
    return (
        plan is not None
        and plan.mid_stream == "continue"
        and any(plan.prefills[slip.position + 1 :])
        and facts.stream
        and facts.operation == "generate"
        and facts.choices == 1
        and not (facts.json_mode or facts.json_schema)
    )


def following(slip: Slip, spent: Spent, now_ms: int, *, closed: Collection[int]) -> Slip | None:
    """The slip for the target that goes on; None when there is none, or the failure is no breaking off.

    `closed`: positions without a key.
    """
    assert slip.plan is not None
    if slip.role != "continue" and spent.failure.kind not in BREAKS_OFF:
        return None
    cannot = {place for place in range(len(slip.plan.targets)) if not _prefills(slip, place)}
    next_slip = fallback.next_slip(
        slip, spent, now_ms, head_sent=True, closed={*closed, *cannot, slip.position}
    )
    return None if next_slip is None else next_slip.replace(role="continue")


def _prefills(slip: Slip, place: int) -> bool:
    assert slip.plan is not None
    return place < len(slip.plan.prefills) and slip.plan.prefills[place]
