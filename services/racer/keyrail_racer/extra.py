"""What losers of races may cost: for each route a share of what its served answers cost. Pure.

A bucket begins empty, is filled by answers that were served, and is emptied before a contender starts by the
most that the losers could cost: so it can't be overrun, whatever the contenders do. What they did not need
goes back. What was earned longer than a window ago and not used is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

from keyrail.contracts.budgets import ZERO

WINDOW_S = 3_600.0
_PARTS = 12


class Bucket:
    """Of one route of one tenant. `overruns`: losers that did cost more than the most they could."""

    __slots__ = ("_earned", "balance", "overruns")

    def __init__(self) -> None:
        self.balance = ZERO
        self.overruns = 0
        self._earned: deque[tuple[float, Decimal]] = deque()

    def earn(self, usd: Decimal, now: float) -> None:
        """An answer was served: its cost times the share. `now` is monotonic, seconds."""
        if usd <= 0:
            return
        part = now // (WINDOW_S / _PARTS)
        if self._earned and self._earned[-1][0] == part:
            self._earned[-1] = (part, self._earned[-1][1] + usd)
        else:
            self._earned.append((part, usd))
        self.balance += usd
        self._expire(part)

    def reserve(self, usd: Decimal, now: float) -> bool:
        """Set it aside. False: there is not so much left."""
        if not usd:
            return True  # what costs nothing needs no budget
        self._expire(now // (WINDOW_S / _PARTS))
        if usd > self.balance:
            return False
        self.balance -= usd
        return True

    def give_back(self, usd: Decimal) -> None:
        """What was reserved and not needed."""
        self.balance += usd

    def _expire(self, part: float) -> None:
        while self._earned and self._earned[0][0] <= part - _PARTS:
            self._earned.popleft()
        self.balance = min(self.balance, sum((usd for _, usd in self._earned), ZERO))


class Stake:
    """What one race has reserved of its bucket. `most`: a limit of its own; None: none."""

    __slots__ = ("_bucket", "_most", "_reserved", "spent")

    def __init__(self, bucket: Bucket, most: Decimal | None = None) -> None:
        self._bucket = bucket
        self._most = most
        self._reserved = ZERO
        self.spent = ZERO

    def to(self, usd: Decimal | None, now: float) -> bool:
        """Reserve this much for what runs. False: no room, and nothing has changed. None is unknown."""
        if usd is None or (self._most is not None and usd > self._most - self.spent):
            return False
        if usd > self._reserved:
            if not self._bucket.reserve(usd - self._reserved, now):
                return False
        else:
            self._bucket.give_back(self._reserved - usd)
        self._reserved = usd
        return True

    def lose(self, most: Decimal | None, cost_usd: Decimal | None) -> None:
        """A loser has ended. `most`: what is reserved for it; of unknown cost all of that is spent."""
        reserved = min(most or ZERO, self._reserved)
        cost = reserved if cost_usd is None else cost_usd
        self._reserved -= reserved
        self._bucket.give_back(reserved - cost)
        self.spent += cost
        if cost > reserved:
            self._bucket.overruns += 1


def exposure(most: Sequence[Decimal | None]) -> Decimal | None:
    """What losers can cost when one of these wins: all but the cheapest. None: nobody knows."""
    if len(most) < 2:
        return ZERO
    known = [usd for usd in most if usd is not None]
    return sum(known, ZERO) - min(known) if len(known) == len(most) else None


class Buckets:
    """All of this racer's, by tenant and route."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], Bucket] = {}

    def of(self, tenant: str, route: str) -> Bucket:
        """The bucket, made where it is missing."""
        key = (tenant, route)
        bucket = self._all.get(key)
        if bucket is None:
            bucket = self._all[key] = Bucket()
        return bucket
