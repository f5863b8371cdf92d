"""The schema that this release needs: made at start, by one process at a time, or waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from keyrail_cost_accounting.layout import Layout
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable
from keyrail_cost_accounting.lock import Lock, Locked
from keyrail_cost_accounting.migrate import MigrationChanged, grant_access, migrate, state

log = logging.getLogger(__name__)

LOOK_S = 2.0
SAY_EVERY = 15
"""Of so many looks one is logged."""

Prepare = Callable[[], Coroutine[Any, Any, None]]
"""Returns once the tables are as this release needs them."""


class Place(Ledger, Protocol):
    """A ledger that says whether this process owns it."""

    @property
    def embedded(self) -> bool:
        """Whether it is a directory of this process."""
        ...


def migrate_alone(
    ledger: Place,
    layout: Layout,
    who: str,
    *,
    wait_s: float,
    take_over: bool = False,
    with_access: bool = False,
) -> list[str]:
    """Apply what is pending while nobody else does, and return its names. Blocks.

    An embedded ledger has one owner: no lock. `with_access`: the roles too. Raises Locked, MigrationChanged
    and LedgerUnavailable; after the last, the lock stays until it expires if it can't be released.
    """
    if ledger.embedded:
        return migrate(ledger)
    lock = Lock(ledger, layout, who)
    lock.acquire(wait_s, take_over=take_over)
    try:
        applied = migrate(ledger, layout, lock.renew)
        if with_access:
            grant_access(ledger, layout)
    finally:
        lock.release()
    return applied


def migrated(ledger: Place, layout: Layout, who: str) -> Prepare:
    """Migrates, and waits for who does so already."""

    async def prepare() -> None:
        while True:
            try:
                await asyncio.to_thread(migrate_alone, ledger, layout, who, wait_s=0)
                return
            except Locked as error:
                log.warning("waiting for another migration", extra={"holder": str(error)})
                await asyncio.sleep(LOOK_S)

    return prepare


def awaited(ledger: Ledger, look_s: float = LOOK_S) -> Prepare:
    """Changes nothing; waits until `keyrail migrate` has been run. Raises MigrationChanged."""

    async def prepare() -> None:
        looks = 0
        while (lack := await asyncio.to_thread(_lack, ledger)) is not None:
            if looks % SAY_EVERY == 0:
                log.warning("waiting for the ledger: run `keyrail migrate`", extra={"lack": lack})
            looks += 1
            await asyncio.sleep(look_s)

    return prepare


def _lack(ledger: Ledger) -> str | None:
    """Why not to start yet."""
    try:
        found = state(ledger)
    except LedgerUnavailable as error:
        return f"it does not answer: {str(error)[:300]}"
    if found.changed:
        raise MigrationChanged(f"{', '.join(found.changed)} was changed after it had been applied")
    return f"pending: {', '.join(found.pending)}" if found.pending else None
