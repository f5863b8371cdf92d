"""What workers say of the health of targets and of providers' limits, for the decisions of this router."""

from __future__ import annotations

import logging
from collections.abc import Callable

from keyrail.contracts.base import now_ms
from keyrail.contracts.health import RateWindows, TargetHealth
from keyrail.contracts.slips import Facts, Target
from keyrail.keys import outage
from keyrail.keys.book import KeyBook
from keyrail.routing import breaker, windows
from keyrail.routing.windows import Need

log = logging.getLogger(__name__)

PRUNE_MS = 5_000
MOST = 8_192
"""Documents that are kept; clients may name any model."""


class Targets:
    """Documents of both buckets, in memory. No I/O: whoever watches the buckets feeds it."""

    def __init__(self, keys: KeyBook, clock_ms: Callable[[], int] = now_ms) -> None:
        self._keys = keys
        self._clock_ms = clock_ms
        self._healths: dict[tuple[str, str], TargetHealth] = {}
        self._windows: dict[tuple[str, str, str], dict[str | None, RateWindows]] = {}
        self._pruned_ms = 0
        self._names: dict[str, tuple[str, str] | RateWindows] = {}

    def put_health(self, name: str, document: bytes) -> None:
        """The bucket of breakers has this document."""
        try:
            health = TargetHealth.decode(document)
        except ValueError:
            log.error("the health of a target could not be read", extra={"target": name})
            return
        self._prune()
        key = health.provider, health.model
        self._names[name] = key
        self._healths[key] = health

    def drop_health(self, name: str) -> None:
        """The bucket of breakers has no such document any more."""
        key = self._names.pop(name, None)
        if isinstance(key, tuple):
            self._healths.pop(key, None)

    def put_windows(self, name: str, document: bytes) -> None:
        """The bucket of windows has this document."""
        try:
            told = RateWindows.decode(document)
        except ValueError:
            log.error("a rate window could not be read", extra={"window": name})
            return
        self.drop_windows(name)
        if windows.low(told.windows, self._clock_ms()):
            self._prune()
            self._names[name] = told
            self._windows.setdefault((told.tenant, told.provider, told.model), {})[told.key_id] = told

    def drop_windows(self, name: str) -> None:
        """The bucket of windows has no such document any more."""
        told = self._names.pop(name, None)
        if isinstance(told, RateWindows):
            key = told.tenant, told.provider, told.model
            pool = self._windows.get(key, {})
            pool.pop(told.key_id, None)
            if not pool:
                self._windows.pop(key, None)

    @property
    def any(self) -> bool:
        """Whether anything is known of any target: if not, nobody need ask."""
        if not self._names:
            return False
        at_ms = self._clock_ms()
        if at_ms - self._pruned_ms >= PRUNE_MS:
            self._prune()
        return bool(self._names)

    def share(self, target: Target) -> float:
        """How much of its traffic a target gets: 0 while its breaker is open, 1 when nothing is known."""
        health = self._healths.get((target.provider, target.model))
        return 1.0 if health is None else breaker.share(health, self._clock_ms())

    def until_ms(self, target: Target) -> int | None:
        """When an open breaker lets its target come back; None when it is not open."""
        health = self._healths.get((target.provider, target.model))
        return health.until_ms if health is not None and self._clock_ms() < health.until_ms else None

    def limited_until_ms(self, tenant: str, target: Target, facts: Facts) -> int | None:
        """When the provider has room again for a request of this size; None: it has, or nobody knows.

        Of a pool the key that has room first counts.
        """
        pool = self._windows.get((tenant, target.provider, target.model))
        if pool is None:
            return None
        at_ms, need = self._clock_ms(), Need.of(facts)
        ids = [
            record.id
            for name, record in self._keys.pool(tenant, target.provider).items()
            if record.weight > 0 and outage.share(self._keys.health(name), at_ms) > 0
        ]
        soonest: int | None = None
        for key_id in ids or list(pool):
            told = pool.get(key_id)
            until = None if told is None else windows.limited_until_ms(told.windows, need, at_ms)
            if until is None:
                return None
            soonest = until if soonest is None else min(soonest, until)
        return soonest

    def sent(self, tenant: str, target: Target, facts: Facts) -> None:
        """A request goes there: until the provider's next word this much less is left."""
        pool = self._windows.get((tenant, target.provider, target.model))
        if not pool:
            return
        need = Need.of(facts)
        key_id = max(pool, key=lambda each: min((w.remaining for w in pool[each].windows), default=0))
        told = pool[key_id]
        pool[key_id] = told.replace(windows=windows.taken(told.windows, need))

    def _prune(self) -> None:
        """Forget what is over, of which buckets tell nobody, and the oldest where there is too much."""
        at_ms = self._pruned_ms = self._clock_ms()
        for name, key in list(self._names.items()):
            if isinstance(key, RateWindows):
                if all(window.reset_ms <= at_ms for window in key.windows):
                    self.drop_windows(name)
            elif breaker.is_over(self._healths[key], at_ms):
                self.drop_health(name)
        while len(self._names) >= MOST:
            name = next(iter(self._names))
            self.drop_windows(name) if isinstance(self._names[name], RateWindows) else self.drop_health(name)
