"""Whether and how a slip goes on: to the same target with another key, or to the next one. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from keyrail.contracts.budgets import ZERO
from keyrail.contracts.failures import FailureKind
from keyrail.contracts.slips import TAKE_BY_MS, Hold, Slip, Spent, Target
from keyrail.keys.outage import KEY_REFUSED
from keyrail.keys.pool import KEYS_OUT

KEY_IS_OUT: Final[frozenset[FailureKind]] = frozenset({"auth", "money", "no_key"})
"""Failures of the only credentials that a provider can be asked with."""

KEY_CHANGED: Final = "provider_key_changed"
"""The code of a refusal of a value that is not the key's any more."""

MOST_KEYS: Final = 3
"""Attempts at one target, each with a key of its own."""


def tried(spent: Collection[Spent], target: Target) -> frozenset[str]:
    """The keys that this target's provider has refused for this request.

    Those that it refused for another model alone are not among them.
    """
    return frozenset(
        each.provider_key_id
        for each in spent
        if each.provider_key_id is not None
        and each.provider == target.provider
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
    if not spent.failure.falls_over or now_ms >= slip.deadline_ms:
        return None
    every = (*slip.spent, spent)
    hold = left(slip, spent)
    places = range(slip.position, len(slip.plan.targets))
    may = {place for place in places if place not in closed and pays(hold, place)}
    position: int | None = slip.position
    if not (_of_key(spent) and position in may and _keys_tried(every) < MOST_KEYS):
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
