"""Deleting the contents of a tenant: what is in the ledger, and what is still on its way there."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from nats.js import JetStreamContext

from keyrail.contracts import streams
from keyrail.contracts.contents import DeleteContents
from keyrail.contracts.ledger import LedgerPage
from keyrail_cost_accounting import content_queries
from keyrail_cost_accounting.ledger import Ledger
from keyrail_cost_accounting.queries import BadCursor
from keyrail_cost_accounting.statement import Statement

log = logging.getLogger(__name__)

WAIT_S: Final = 6.0
"""How long one answer may wait for rows to be removed; who asks again waits on."""
POLL_S: Final = 0.1
POLLS: Final = 20


class Deletions:
    """Answers DeleteContents. The order is what makes it final: see ContentIntake."""

    def __init__(self, ledger: Ledger, js: JetStreamContext) -> None:
        self._ledger = ledger
        self._js = js
        self._running: dict[tuple[str, int], asyncio.Task[int]] = {}

    async def answer(self, query: DeleteContents) -> LedgerPage:
        """One step. Raises BadCursor, LedgerUnavailable and what nats-py raises."""
        if query.mark is None:
            await self._command(content_queries.mark_deleted(query.tenant, query.before_ms))
            # read after that: a message that comes later than this one is refused by the mark
            upto = (await self._js.stream_info(streams.CONTENTS.name)).state.last_seq
        else:
            upto = _upto(query.mark)
        waiting = await self._waiting(upto)
        deleted = await self._delete(query.tenant, query.before_ms)
        left = await self._count(query.tenant, query.before_ms)
        done = deleted is not None and left == 0 and waiting == 0
        return LedgerPage(
            rows=[{"deleted": deleted or 0, "left": left, "waiting": waiting, "done": done}],
            cursor=None if done else str(upto),
        )

    async def _delete(self, tenant: str, before_ms: int) -> int | None:
        """How many rows were removed; None: it is not finished yet."""
        key = (tenant, before_ms)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._remove(tenant, before_ms))
        done, _ = await asyncio.wait([task], timeout=WAIT_S)
        if not done:
            return None
        self._running.pop(key, None)
        return task.result()

    async def _remove(self, tenant: str, before_ms: int) -> int:
        found = await self._count(tenant, before_ms)
        if found:
            await self._command(content_queries.delete(tenant, before_ms))
        return found - (await self._count(tenant, before_ms)) if found else 0

    async def _waiting(self, upto: int) -> int:
        """How many messages up to this one are not dealt with yet, after a moment's wait for them."""
        durable = streams.COST_ACCOUNTING_CONTENTS
        waiting = 0
        for poll in range(POLLS):
            await asyncio.sleep(POLL_S if poll else 0)
            info = await self._js.consumer_info(durable.stream, durable.name)
            open = (info.num_pending or 0) + (info.num_ack_pending or 0)
            behind = upto - (info.ack_floor.stream_seq if info.ack_floor else 0)
            if (waiting := max(0, min(open, behind))) == 0:
                return 0
        return waiting

    async def _count(self, tenant: str, before_ms: int) -> int:
        statement = content_queries.count(tenant, before_ms)
        (row,) = await asyncio.to_thread(self._ledger.ask, statement.sql, statement.parameters)
        return int(str(row["contents"]))

    async def _command(self, statement: Statement) -> None:
        await asyncio.to_thread(self._ledger.command, statement.sql, statement.parameters)


def _upto(mark: str) -> int:
    if not (mark.isascii() and mark.isdecimal()):
        raise BadCursor("the mark is not one that an earlier answer gave")
    return int(mark)
