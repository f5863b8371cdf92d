"""cost-accounting as a process of its own, for tests that kill it: `URL DIRECTORY serve|hang|hang-closing`.

With `hang` it stops for good after its first insert, before anything is acknowledged; with `hang-closing`
after it has changed the first document of a budget, before it knows.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from keyrail.bus.connection import BusSettings, connect
from keyrail.bus.documents import Change, Documents
from keyrail_cost_accounting import closer
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.consumer import Pace
from keyrail_cost_accounting.ledger import ClickHouse, open_ledger
from keyrail_cost_accounting.metrics import Metrics


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def hang_after_insert(ledger: ClickHouse) -> None:
    insert = ledger.insert

    def once(table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        insert(table, columns, block, token)
        say("inserted")
        threading.Event().wait()

    ledger.insert = once


class HangingDocuments(Documents):
    """Stops for good after its first change, before the caller knows of it."""

    async def change(self, key: str, change: Change[Any]) -> Any:
        await super().change(key, change)
        say("changed")
        await asyncio.Event().wait()


async def main(url: str, directory: str, mode: str) -> None:
    ledger = open_ledger(directory)
    if mode == "hang":
        hang_after_insert(ledger)
    elif mode == "hang-closing":
        closer.Documents = HangingDocuments
    service = CostAccounting(
        await connect(BusSettings(url, "cost-accounting", "cost-accounting", "cost-accounting")),
        ledger,
        Metrics(CollectorRegistry()),
        pace=Pace(every_s=0.05, settle_s=0.02),
        sweep_after_s=1.0,
    )
    await service.start()
    say("ready")
    await service.wait()


asyncio.run(main(*sys.argv[1:]))
