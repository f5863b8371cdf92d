"""Whether and how a slip goes on: to the same target with another key, or to the next one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from keyrail.contracts.budgets import ZERO
from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.slips import TAKE_BY_MS, Hold, Slip, Spent, Target
from keyrail.keys.outage import KEY_REFUSED
from keyrail.keys.pool import KEYS_OUT

KEY_IS_OUT: Final[frozenset[FailureKind]] = frozenset({"auth", "money", "no_key"})
"""Failures of the only credentials that a provider can be asked with."""

PASSING: Final[frozenset[FailureKind]] = frozenset({"connection", "server", "capacity", "truncated"})
"""Failures that may be gone in a moment, whatever the provider says."""

KEY_CHANGED: Final = "provider_key_changed"
"""The code of a refusal of a value that is not the key's any more."""

MOST_KEYS: Final = 3
"""Attempts at one target, each with a key of its own."""


def tried(spent: Sequence[Spent], target: Target, rounds: Sequence[int] = ()) -> frozenset[str]:
    """The keys that this target's provider has refused for this request.

    Those that it refused for another model alone are not among them, nor those that were only limited before
    the plan was begun again (`rounds`, see Slip): that was waited for.
    """
    began = rounds[-1] if rounds else 0
    return frozenset(
        each.provider_key_id
        for number, each in enumerate(spent)
        if each.provider_key_id is not None
        and each.provider == target.provider
        and (number >= began or each.failure.kind != "rate")
        and each.failure.kind in KEY_REFUSED
        and each.failure.code != KEY_CHANGED
        and (not each.failure.only_here or each.model == target.model)
    )


def in_question(slip: Slip, spent: Spent) -> list[int]:
    """From this target on, those where keys were refused to this request: is another one left for them?"""
    assert slip.plan is not None
    refused = {each.provider for each in (*slip.spent, spent) if _of_key(each) or _of_pool(each)}
    places = range(slip.position, len(slip.plan.targets))
    return [place for place in places if slip.plan.targets[place].provider in refused]


def next_slip(
    slip: Slip, spent: Spent, now_ms: int, *, head_sent: bool, closed: Collection[int] = ()
) -> Slip | None:
    """The slip for the next attempt; None when the failure is final, no target is left or time is over.

    `closed`: positions whose provider has no key left for this request. They are passed over, and so are
    those whose provider refused what it was asked with where it has no keys to choose from, and those that
    what is left of the hold does not pay for.
    """
    assert slip.plan is not None
    overflowed = spent.failure.kind == "context"
    if not (spent.failure.falls_over or overflowed) or now_ms >= slip.deadline_ms:
        return None
    every = (*slip.spent, spent)
    hold = left(slip, spent)
    places = range(slip.position, len(slip.plan.targets))
    may = {place for place in places if place not in closed and pays(hold, place)}
    if overflowed or any(each.failure.kind == "context" for each in slip.spent):
        may &= _larger(slip, every)
    if slip.rounds:
        may &= _once_more(slip, every)
    position: int | None = slip.position
    began = slip.rounds[-1] if slip.rounds else 0
    if not (_of_key(spent) and position in may and _keys_tried(every[began:]) < MOST_KEYS):
        position = _next_target(slip, every, may)
    if position is None:
        return None
    return slip.replace(
        position=position,
        hop=slip.hop + 1,
        take_by_ms=now_ms + TAKE_BY_MS,
        spent=every,
        head_sent=head_sent,
        hold=hold,
    )


def _next_target(slip: Slip, every: tuple[Spent, ...], may: Collection[int]) -> int | None:
    assert slip.plan is not None
    out = {
        each.provider
        for each in every
        if each.failure.kind in KEY_IS_OUT and not _of_key(each) and not _of_pool(each)
    }
    targets = slip.plan.targets
    for position in range(slip.position + 1, len(targets)):
        if targets[position].provider not in out and position in may:
            return position
    return None


def _larger(slip: Slip, every: Iterable[Spent]) -> set[int]:
    """The positions whose window is known to be larger than each that this request did not fit into.

    Where nobody knows how large such a one is: larger than what the request seems to need.
    """
    assert slip.plan is not None
    windows = slip.plan.windows
    if len(windows) != len(slip.plan.targets):
        return set()
    full = {(each.provider, each.model) for each in every if each.failure.kind == "context"}
    needed = slip.facts.input_tokens_estimate + (slip.facts.max_output_tokens or 0)
    least = max(
        window if window is not None else needed
        for target, window in zip(slip.plan.targets, windows, strict=True)
        if (target.provider, target.model) in full
    )
    return {place for place, window in enumerate(windows) if window is not None and window > least}


def _once_more(slip: Slip, every: Iterable[Spent]) -> set[int]:
    """The positions that may be asked in another round at once: their last failure passes without a wait."""
    assert slip.plan is not None
    lately = lasts(every)
    return {
        place
        for place, target in enumerate(slip.plan.targets)
        if (failure := lately.get((target.provider, target.model))) is not None
        and (place == slip.position or (failure.retry_after_s is None and failure.kind in PASSING))
    }


def lasts(every: Iterable[Spent]) -> dict[tuple[str, str], Failure]:
    """How each target that was tried failed last, by provider and model."""
    return {(each.provider, each.model): each.failure for each in every}


def _of_key(spent: Spent) -> bool:
    """Whether this was a refusal of one key out of a pool."""
    return spent.provider_key_id is not None and spent.failure.kind in KEY_REFUSED


def _of_pool(spent: Spent) -> bool:
    """Whether nobody was asked, because the pool was out."""
    return spent.failure.code == KEYS_OUT


def _keys_tried(every: tuple[Spent, ...]) -> int:
    """How many of the last attempts were refusals of keys at the last one's target."""
    last, count = every[-1], 0
    for each in reversed(every):
        if not _of_key(each) or (each.provider, each.model) != (last.provider, last.model):
            break
        count += 1
    return count


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
