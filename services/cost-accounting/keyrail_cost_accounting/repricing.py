"""What attempts cost at the prices in force, and which rows that changes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from keyrail.contracts.base import Json
from keyrail.contracts.config import ConfigView
from keyrail.contracts.usage import Price
from keyrail.pricing import cost
from keyrail_cost_accounting.rows import MOST
from keyrail_cost_accounting.vectors import Attempt

HIGHEST_RANK = 255
"""What the column holds: a row can be priced again some 250 times."""
_ZERO = Decimal(0)


@dataclass(slots=True)
class Sums:
    """Of one model: what was looked at, and what changes. Sums are of costs that are known."""

    attempts: int = 0
    changed: int = 0
    newly_known: int = 0
    newly_unknown: int = 0
    stuck: int = 0
    old_usd: Decimal = _ZERO
    new_usd: Decimal = _ZERO

    def add(self, old: Price, new: Price, *, changed: bool) -> None:
        """Count an attempt."""
        self.attempts += 1
        self.changed += changed
        self.newly_known += old.cost_usd is None and new.cost_usd is not None
        self.newly_unknown += old.cost_usd is not None and new.cost_usd is None
        self.old_usd += old.cost_usd or _ZERO
        self.new_usd += new.cost_usd or _ZERO


@dataclass(slots=True)
class Plan:
    """What re-pricing a slice does: new prices of attempts that change, and sums by provider and model."""

    changes: list[tuple[Attempt, Price]] = field(default_factory=list[tuple[Attempt, Price]])
    models: dict[tuple[str, str], Sums] = field(default_factory=dict[tuple[str, str], Sums])

    @property
    def digest(self) -> str:
        """Which rows become what: equal for two plans that change the same. Empty when nothing changes.

        Versions are left out: a revision that changes no price changes no plan.
        """
        if not self.changes:
            return ""
        hashed = hashlib.sha256()
        for attempt, price in self.changes:
            amounts = (_plain(each) for each in (price.cost_usd, price.uncached_usd, price.reference_usd))
            hashed.update(repr((attempt.attempt_id, attempt.rank, price.source, *amounts)).encode())
        return hashed.hexdigest()

    def rows(self) -> list[dict[str, Json]]:
        """The sums, as RepriceQuery says."""
        return [
            {
                "provider": provider,
                "model": model,
                "attempts": sums.attempts,
                "changed": sums.changed,
                "newly_known": sums.newly_known,
                "newly_unknown": sums.newly_unknown,
                "stuck": sums.stuck,
                "old_usd": format(sums.old_usd, "f"),
                "new_usd": format(sums.new_usd, "f"),
            }
            for (provider, model), sums in self.models.items()
        ]


def plan(attempts: Iterable[Attempt], view: ConfigView) -> Plan:
    """What these attempts cost under `view`, each at its own time."""
    found = Plan()
    for attempt in attempts:
        old, new = attempt.price, price(attempt, view)
        sums = found.models.setdefault((attempt.provider, attempt.model), Sums())
        changed = _differs(old, new)
        if changed and (attempt.rank >= HIGHEST_RANK or not _holds(new)):
            sums.stuck += 1
            changed, new = False, old
        sums.add(old, new, changed=changed)
        if changed:
            found.changes.append((attempt, new))
    return found


def price(attempt: Attempt, view: ConfigView) -> Price:
    """What a worker would say if the attempt ended now, at the prices of when it began."""
    return cost.compared(
        attempt.provider, attempt.model, attempt.usage, attempt.started_ms, view, attempt.reference
    )


def _differs(old: Price, new: Price) -> bool:
    """A version alone changes nothing: the row says by which one its price was made."""
    return (
        old.cost_usd != new.cost_usd
        or old.source != new.source
        or old.uncached_usd != new.uncached_usd
        or old.reference_usd != new.reference_usd
    )


def _holds(price: Price) -> bool:
    """Whether the columns hold these amounts."""
    amounts = (price.cost_usd, price.uncached_usd, price.reference_usd)
    return all(each is None or -MOST < each < MOST for each in amounts)


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount.normalize(), "f")
