"""Rows into a table until they are in it, whatever happens to the ledger meanwhile.

A block that the ledger refuses for what is in it is cut in halves until the rows that it does not take are
found.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from keyrail_cost_accounting import blocks
from keyrail_cost_accounting.ledger import Ledger, LedgerRefused, LedgerUnavailable, RowsRefused
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.rows import Row

T = TypeVar("T")
log = logging.getLogger(__name__)

BLOCK = 4_000
"""Most rows of one insert: a deduplication token holds for one block."""
ALL_OF_THEM = 20
"""When so many rows are refused before one is accepted it is not the rows: nothing is put aside then."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that the ledger does not take, and why."""

    row: Row
    reason: str


class Inserts:
    """Inserts on a thread of its own: questions that hang can't keep it from one.

    `stopping` ends retries. `retry_s` doubles with each try up to `retry_most_s`.
    """

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        stopping: asyncio.Event,
        *,
        retry_s: float,
        retry_most_s: float,
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._stopping = stopping
        self._retry_s = retry_s
        self._retry_most_s = retry_most_s
        self._thread = ThreadPoolExecutor(1, "insert")
        self.failed = False
        """Whether a try has failed since the caller last took this back."""

    async def insert(self, table: str, rows: Sequence[Row], token: str) -> list[RefusedRow]:
        """Return once all are in the table but those returned. Raises LedgerUnavailable when stopped."""
        refused: list[RefusedRow] = []
        for start in range(0, len(rows), BLOCK):
            refused += await self._block(table, rows[start : start + BLOCK], f"{token}-{start}")
        return refused

    async def _block(self, table: str, rows: Sequence[Row], token: str) -> list[RefusedRow]:
        return await self._until_done(table, lambda: self._search(table, rows, token))

    async def patiently(self, what: str, work: Callable[[], T]) -> T:
        """Do what blocks, on the thread of inserts, until done. Raises LedgerUnavailable once stopped."""
        loop = asyncio.get_running_loop()
        return await self._until_done(what, lambda: loop.run_in_executor(self._thread, work))

    async def _until_done(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        delay = self._retry_s
        while True:
            try:
                return await attempt()
            except LedgerUnavailable as error:
                self._failed(what, error)
                if self._stopping.is_set():
                    raise
            await self._pause(delay)
            delay = min(delay * 2, self._retry_most_s)

    async def _search(self, table: str, rows: Sequence[Row], token: str) -> list[RefusedRow]:
        """Raises LedgerUnavailable. Tried again it inserts the same parts with the same tokens."""
        refused: list[RefusedRow] = []
        accepted = False
        todo = [(rows, token)]
        while todo:
            part, name = todo.pop()
            try:
                await self._try(table, part, name)
                accepted = True
            except RowsRefused as error:
                middle = len(part) // 2
                if middle:
                    todo += [(part[middle:], f"{name}b"), (part[:middle], f"{name}a")]
                else:
                    refused.append(RefusedRow(part[0], str(error)))
                if len(refused) == ALL_OF_THEM and not accepted:
                    raise LedgerUnavailable(f"no row is taken: {error}") from error
        return refused

    async def _try(self, table: str, rows: Sequence[Row], token: str) -> None:
        block = blocks.encode(table, rows)
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        columns = blocks.COLUMNS[table]
        await loop.run_in_executor(self._thread, self._ledger.insert, table, columns, block, token)
        self._metrics.insert_seconds.observe(time.monotonic() - began)
        self._metrics.rows.labels(table).inc(len(rows))

    def _failed(self, table: str, error: LedgerUnavailable) -> None:
        self.failed = True
        self._metrics.insert_failures.inc()
        level = logging.ERROR if isinstance(error, LedgerRefused) else logging.WARNING
        log.log(level, "insert failed", extra={"table": table, "error": str(error)})

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False)
