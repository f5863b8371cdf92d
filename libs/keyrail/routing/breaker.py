"""When a target (provider and model) counts as down, for how long, and how it comes back. Pure: no clock.

A breaker opens on failures that are the provider's own: ROW of them in a row, or HALF of at least LEAST
outcomes within WINDOW_MS. It is open for FIRST_MS, twice as long each further time, at most LONGEST_MS. After
that the target takes a tenth of its share, growing to all of it in twice the time that it was away. The first
outcome then is a probe: until one attempt has succeeded, a single failure opens the breaker again. What was
begun before the target was back says nothing.

Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Final

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.health import TargetHealth

ROW: Final = 5
ROW_GAP_MS: Final = 60_000
"""Failures further apart than this are not in a row."""
LEAST: Final = 10
HALF: Final = 0.5
SLOT_MS: Final = 5_000
SLOTS: Final = 6
WINDOW_MS: Final = SLOT_MS * SLOTS
FIRST_MS: Final = 5_000
LONGEST_MS: Final = 300_000
JITTER: Final = 0.2
"""The share of an outage that may be left out, so that several do not end together."""
SHORTEST_RAMP_MS: Final = 10_000
LONGEST_RAMP_MS: Final = 60_000
CALM_MS: Final = 60_000
LEAST_SHARE: Final = 0.1

COUNTED: Final[frozenset[FailureKind]] = frozenset(
    {"connection", "timeout", "server", "capacity", "truncated", "garbage"}
)
_OWN_TIME: Final = frozenset({"timeout_total", "timeout"})
_STALE: Final = "connection_stale"


def counts(failure: Failure) -> bool:
    """Whether a failed attempt says something against its target.

    A 429 is a clock of the key, auth and money are the key's, 400, 413, policy and context are the request's.
    The total timeout is the request's own, and a kept connection that closes is nobody's fault.
    """
    if failure.kind not in COUNTED:
        return False
    if failure.kind == "timeout":
        return failure.code not in _OWN_TIME
    if failure.kind == "server":  # a conflict, say, is of this kind too
        status = failure.upstream_status
        return status is None or status >= 500 or status < 400
    return failure.code != _STALE


class Tally:
    """Outcomes of one target's attempts, as one worker saw them. `good_ms`: when one last succeeded."""

    __slots__ = ("_bad", "_bad_ms", "_good", "_row", "_slot", "good_ms")

    def __init__(self) -> None:
        self.good_ms = 0
        self._row = 0
        self._bad_ms = 0
        self._slot = 0  # the number of the latest slot since the epoch
        self._good = [0] * SLOTS
        self._bad = [0] * SLOTS

    def succeeded(self, now_ms: int) -> None:
        """One more good outcome."""
        slot = now_ms // SLOT_MS
        if slot != self._slot:
            self._turn(slot)
        self._good[slot % SLOTS] += 1
        self._row = 0
        self.good_ms = now_ms

    def failed(self, now_ms: int) -> bool:
        """One more failure that counts. Returns whether there are enough of them to open."""
        slot = now_ms // SLOT_MS
        if slot != self._slot:
            self._turn(slot)
        self._bad[slot % SLOTS] += 1
        self._row = self._row + 1 if now_ms - self._bad_ms <= ROW_GAP_MS else 1
        self._bad_ms = now_ms
        bad = sum(self._bad)
        outcomes = bad + sum(self._good)
        return self._row >= ROW or (outcomes >= LEAST and bad >= HALF * outcomes)

    def clear(self) -> None:
        """Forget all but when the target was last good."""
        self._row = 0
        self._good = [0] * SLOTS
        self._bad = [0] * SLOTS

    def _turn(self, slot: int) -> None:
        """Empty the slots between the latest one and this one, which may lie before it: clocks are set."""
        passed = slot - self._slot
        for number in range(max(slot - SLOTS, self._slot) + 1, slot + 1) if passed > 0 else range(SLOTS):
            self._good[number % SLOTS] = self._bad[number % SLOTS] = 0
        self._slot = slot


def failed(tally: Tally, before: TargetHealth | None, failure: Failure, began_ms: int, now_ms: int) -> bool:
    """Take a failure that counts into the tally. Returns whether the breaker opens, again or for the first
    time.

    `before`: what is known against the target. `began_ms`: when the attempt began.
    """
    if before is not None and is_over(before, now_ms):
        before = None
    if before is not None and (now_ms < before.until_ms or began_ms < before.until_ms):
        return False  # of the same outage
    opens = tally.failed(now_ms)
    return opens or (before is not None and tally.good_ms < before.until_ms)


def opened(
    before: TargetHealth | None, provider: str, model: str, why: str, now_ms: int, draw: float
) -> TargetHealth:
    """A breaker that opens now. `draw` is uniform in [0, 1)."""
    if before is not None and is_over(before, now_ms):
        before = None
    times = 1 if before is None else before.times + 1
    longest = min(FIRST_MS << min(times - 1, 10), LONGEST_MS)
    return TargetHealth(
        provider=provider,
        model=model,
        since_ms=now_ms,
        until_ms=now_ms + round(longest * (1 - JITTER * draw)),
        times=times,
        why=why,
    )


def later(one: TargetHealth, other: TargetHealth) -> TargetHealth:
    """Of what two workers say of a target, what counts: the later end. An outage is never shortened."""
    first, last = (one, other) if one.until_ms <= other.until_ms else (other, one)
    return last if first.times <= last.times else last.replace(times=first.times)


def share(health: TargetHealth | None, now_ms: int) -> float:
    """How much of its traffic a target gets: 0 when open, 1 when nothing is known against it."""
    if health is None:
        return 1.0
    passed = now_ms - health.until_ms
    if passed < 0:
        return 0.0
    return min(1.0, LEAST_SHARE + (1 - LEAST_SHARE) * passed / ramp_ms(health))


def ramp_ms(health: TargetHealth) -> int:
    """How long the target takes until it has all of its share again."""
    return min(max(2 * (health.until_ms - health.since_ms), SHORTEST_RAMP_MS), LONGEST_RAMP_MS)


def is_over(health: TargetHealth, now_ms: int) -> bool:
    """Whether the outage is forgotten: the target came back and was calm since."""
    return now_ms >= health.until_ms + ramp_ms(health) + CALM_MS
