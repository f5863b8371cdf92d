"""A pool: the keys of one tenant at one provider, and which of them serves. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from keyrail.contracts.failures import Failure
from keyrail.contracts.keys import KeyHealth, OutReason
from keyrail.keys.outage import share

KEYS_OUT = "provider_keys_out"
"""The code of a request that nobody was asked for, because all keys of its provider are out."""


class Member(NamedTuple):
    """A key of a pool. `health` is about its current version, None when nothing is known against it."""

    id: str
    weight: int
    health: KeyHealth | None


class Out(NamedTuple):
    """No key of the pool may be used. `until_ms`: when the first one comes back, None when nobody knows."""

    reason: OutReason
    until_ms: int | None


def choose(members: Sequence[Member], now_ms: int, draw: float, tried: Collection[str] = ()) -> Member | None:
    """The key to use, by weight; None when none is left.

    `draw` is uniform in [0, 1). Keys that are out, that have no weight and that were `tried` are never drawn.
    Keys that come back have a part of their weight, which is all the same to the last one that is left.
    """
    if len(members) == 1:  # as in most installations
        only = members[0]
        usable = only.weight > 0 and only.id not in tried and share(only.health, now_ms) > 0
        return only if usable else None
    drawn = [
        (member, member.weight * share(member.health, now_ms)) for member in members if member.id not in tried
    ]
    left = draw * sum(weight for _, weight in drawn)
    last: Member | None = None
    for member, weight in drawn:
        if weight > 0:
            last = member
            left -= weight
            if left < 0:
                break
    return last


def out(members: Sequence[Member], now_ms: int) -> Out | None:
    """Why nobody serves; None when some key does, or when the pool has none that ever would."""
    soonest: Out | None = None
    for member in members:
        if member.weight <= 0:
            continue
        health = member.health
        if health is None or share(health, now_ms) > 0:
            return None
        if soonest is None or _before(health.until_ms, soonest.until_ms):
            soonest = Out(health.reason, health.until_ms)
    return soonest


def refusal(provider: str, what: Out, now_ms: int) -> Failure:
    """The failure of a request whose pool is out."""
    if what.until_ms is not None:
        return Failure(
            kind="rate",
            message=f"All keys of this gateway for the provider {provider!r} are out ({what.reason}).",
            status=429,
            provider=provider,
            code=KEYS_OUT,
            retry_after_s=max(what.until_ms - now_ms, 0) / 1000,
        )
    kind, why = ("money", "have no credit left") if what.reason == "money" else ("auth", "were refused")
    return Failure(
        kind=kind,
        message=f"All keys of this gateway for the provider {provider!r} {why}.",
        status=503,
        provider=provider,
        code=KEYS_OUT,
    )


def _before(one: int | None, other: int | None) -> bool:
    """Whether an outage ends sooner than another one; None is never."""
    return one is not None and (other is None or one < other)
