"""How many extra attempts a tenant's requests may cause: retries of a target, and hedges. Pure: no clock.

Each live request earns a fifth of an attempt, so that in all there are never more than a fifth of the live
requests and LEAST. Instances that each keep a budget of what they serve keep it together, with LEAST each.
Another target of the plan is not an extra attempt: it is what the plan is for.
"""

from __future__ import annotations

from typing import Final

EARNS_ONE: Final = 5
"""Live requests that earn one extra attempt."""
LEAST: Final = 3
"""Extra attempts that a tenant may have at once without any history."""
MOST: Final = 20
"""Extra attempts that can be saved up: a storm after a calm day finds no more than this."""


class ExtraBudget:
    """One bucket for each tenant, counted in parts of an attempt so that sums are exact."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[str, int] = {}

    def earn(self, tenant: str) -> None:
        """A live request began."""
        parts = self._parts.get(tenant, LEAST * EARNS_ONE)
        if parts < MOST * EARNS_ONE:
            self._parts[tenant] = parts + 1

    def take(self, tenant: str) -> bool:
        """Use up one extra attempt; False: there is none."""
        parts = self._parts.get(tenant, LEAST * EARNS_ONE)
        if parts < EARNS_ONE:
            return False
        self._parts[tenant] = parts - EARNS_ONE
        return True
