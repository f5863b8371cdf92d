"""For how long a provider key is out after a refusal, and how it comes back. Pure: no clock, no I/O.

Times are milliseconds since the epoch. A key is out until `KeyHealth.until_ms`. Then it takes a tenth of its
share, growing to all of it in RAMP_MS. A refusal before it was calm for CALM_MS after that puts it out for
longer than the last one did, where the provider does not say for how long. What money or a bad value has put
out stays out until the key is tested or rotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from keyrail.contracts.budgets import period_bounds
from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.keys import LASTING, KeyHealth, OutReason
from keyrail.dialects.taxonomy import DAILY_QUOTA

FIRST_MS = 5_000
LONGEST_MS = 600_000
RAMP_MS = 60_000
CALM_MS = 60_000
LEAST_SHARE = 0.1

KEY_REFUSED: frozenset[FailureKind] = frozenset({"auth", "money", "rate"})
"""Kinds by which a provider refuses a key. Another key of the same provider may do."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a provider said of a key.

    `wait_s`: how long it asks to wait, None where it does not say. `asked_ms`: when the key was chosen for
    the attempt; so a refusal can be told from others of the same outage that were under way together.
    """

    reason: OutReason
    wait_s: float | None
    version: int | None
    mark: str | None
    asked_ms: int


def reason_of(failure: Failure) -> OutReason | None:
    """Why a key is out after this failure of an attempt; None: the failure says nothing against the key."""
    if failure.only_here:
        return None
    if failure.kind == "rate":
        return "quota" if failure.code == DAILY_QUOTA else "rate"
    if failure.kind == "money":
        return "money"
    return "auth" if failure.kind == "auth" else None


def current(health: KeyHealth | None, version: int | None) -> KeyHealth | None:
    """The health, unless it is about another version of the key than the current one."""
    return health if health is not None and health.version == version else None


def refused(before: KeyHealth | None, refusal: Refusal, now_ms: int) -> KeyHealth:
    """The health after a refusal. A later word never shortens an outage: the later end of both counts."""
    before = current(before, refusal.version)
    if before is not None and is_over(before, now_ms):
        before = None
    if before is None:
        return _outage(refusal, 1, now_ms, _until(refusal, 1, now_ms))
    if before.until_ms is None:
        return before
    same = refusal.asked_ms < before.until_ms
    times = before.times if same else before.times + 1
    until_ms = _until(refusal, times, now_ms)
    if until_ms is not None and until_ms <= before.until_ms:
        return before
    return _outage(refusal, times, before.since_ms if same else now_ms, until_ms)


def later(one: KeyHealth, other: KeyHealth) -> KeyHealth:
    """Of what two workers saw of a key, what counts: the newer version, then the later end."""
    if one.version != other.version:
        return other if (other.version or 0) > (one.version or 0) else one
    if one.until_ms is None or (other.until_ms is not None and one.until_ms >= other.until_ms):
        return one
    return other.replace(times=max(one.times, other.times))


def share(health: KeyHealth | None, now_ms: int) -> float:
    """How much of its weight a key has: 0 when it is out, 1 when nothing is known against it."""
    if health is None:
        return 1.0
    if health.until_ms is None or now_ms < health.until_ms:
        return 0.0
    passed = (now_ms - health.until_ms) / RAMP_MS
    return min(1.0, LEAST_SHARE + (1 - LEAST_SHARE) * passed)


def is_over(health: KeyHealth, now_ms: int) -> bool:
    """Whether the outage is forgotten: the key came back and was calm since."""
    return health.until_ms is not None and now_ms >= health.until_ms + RAMP_MS + CALM_MS


def mark(name: str, value: str) -> str:
    """As in KeyHealth. `name` goes into it, so that one value under two names has two."""
    return blake2b(value.encode(), digest_size=2, key=blake2b(name.encode()).digest()).hexdigest()


def _outage(refusal: Refusal, times: int, since_ms: int, until_ms: int | None) -> KeyHealth:
    return KeyHealth(
        reason=refusal.reason,
        since_ms=since_ms,
        until_ms=until_ms,
        times=times,
        version=refusal.version,
        mark=refusal.mark,
    )


def _until(refusal: Refusal, times: int, now_ms: int) -> int | None:
    if refusal.wait_s is not None:
        return now_ms + max(round(refusal.wait_s * 1000), 0)
    if refusal.reason in LASTING:
        return None
    if refusal.reason == "quota":
        return period_bounds("day", now_ms)[1]
    return now_ms + min(FIRST_MS << min(times - 1, 10), LONGEST_MS)
