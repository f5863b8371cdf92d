"""Whether a plan is begun again after its last target failed, and what the client hears if not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import TAKE_BY_MS, Slip, Spent, Target
from keyrail_provider_worker import fallback

FIRST_BACKOFF_S: Final = 0.25
LONGEST_BACKOFF_S: Final = 8.0
"""Also the longest word of a provider that is waited for: a later one is the client's to wait for."""
TARGETS_DOWN: Final = "targets_down"


class Again(NamedTuple):
    """The slip of the next attempt, which begins in `wait_s` seconds."""

    slip: Slip
    wait_s: float


def passes(failure: Failure) -> bool:
    """Whether a failure may be gone in a moment: then its target may be asked again for the same request."""
    if failure.retry_after_s is not None and failure.retry_after_s > LONGEST_BACKOFF_S:
        return False
    if failure.kind == "rate":
        return failure.retry_after_s is not None
    return failure.kind in fallback.PASSING or failure.code == "timeout_connect"


def again(
    slip: Slip, spent: Spent, now_ms: int, *, head_sent: bool, down: Collection[Target], draw: float
) -> Again | None:
    """The plan from its beginning, without the targets whose failure does not pass or that are `down`.

    Begins with the target that is back first, after a wait with full jitter (`draw` is uniform in [0, 1)) or
    the provider's own where that is longer. None: no retry is left, nobody may be asked again, or the
    deadline comes before the wait is over.
    """
    plan = slip.plan
    assert plan is not None
    if slip.role != "serve" or len(slip.rounds) >= plan.retries:
        return None
    every = (*slip.spent, spent)
    hold = fallback.left(slip, spent)
    hints: dict[int, float] = {}
    for position, failure in passing(slip, every).items():
        if plan.targets[position] not in down and fallback.pays(hold, position):
            hints[position] = failure.retry_after_s or 0.0
    if not passes(spent.failure) or not hints:
        return None
    position = min(hints, key=lambda each: (hints[each], each))
    backoff_s = draw * min(FIRST_BACKOFF_S * 2 ** len(slip.rounds), LONGEST_BACKOFF_S)
    wait_ms = round(max(backoff_s, hints[position]) * 1000)
    if now_ms + wait_ms >= slip.deadline_ms:
        return None
    following = slip.replace(
        position=position,
        hop=slip.hop + 1,
        take_by_ms=now_ms + wait_ms + TAKE_BY_MS,
        spent=every,
        head_sent=head_sent,
        hold=hold,
        rounds=(*slip.rounds, len(every)),
    )
    return Again(following, wait_ms / 1000)


def passing(slip: Slip, every: Collection[Spent]) -> dict[int, Failure]:
    """The positions whose last attempt failed with something that passes, and that failure."""
    assert slip.plan is not None
    lasts = fallback.lasts(every)
    return {
        position: failure
        for position, target in enumerate(slip.plan.targets)
        if (failure := lasts.get((target.provider, target.model))) is not None and passes(failure)
    }


def final(slip: Slip, spent: Spent, now_ms: int, until_ms: Callable[[Target], int | None]) -> Failure:
    """What the client hears of a request that nobody served: how it failed, and when to come again.

    Where several targets failed, or the only one's breaker is open (`until_ms`), that is a 503; a 429 where
    all of them limit us, a 504 where all took too long. Retry-After is the soonest of all targets, and of one
    target the latest of what is known of it. Failures of the request's own making stay as they are.
    """
    assert slip.plan is not None
    last = spent.failure
    if not last.falls_over:
        return last
    lasts = fallback.lasts((*slip.spent, spent))
    waits: list[float] = []
    opens = False
    for target in slip.plan.targets:
        failure = lasts.get((target.provider, target.model))
        back_ms = until_ms(target)
        opens = opens or back_ms is not None
        known = [failure.retry_after_s] if failure is not None and failure.retry_after_s is not None else []
        if back_ms is not None:
            known.append(max(back_ms - now_ms, 0) / 1000)
        if known:
            waits.append(max(known))
    soonest = min(waits, default=None)
    if len(lasts) == 1 and not opens:
        return last
    kinds = {failure.kind for failure in lasts.values()}
    if kinds in ({"rate"}, {"timeout"}):
        return last.replace(retry_after_s=soonest)
    told = ", ".join(f"{provider}/{model} ({failure.kind})" for (provider, model), failure in lasts.items())
    return Failure(
        kind="capacity",
        message=f"No target could answer: {told}.",
        status=503,
        upstream_status=last.upstream_status,
        provider=last.provider,
        code=TARGETS_DOWN,
        retry_after_s=soonest,
    )
