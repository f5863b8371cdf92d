"""Contents from the stream to the ledger, without those that were deleted before they came."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from nats.aio.msg import Msg

from keyrail.contracts.base import new_id, now_ms
from keyrail_cost_accounting import content_queries, content_rows
from keyrail_cost_accounting.content_rows import Content
from keyrail_cost_accounting.inserts import Inserts
from keyrail_cost_accounting.intake import Poisoned
from keyrail_cost_accounting.ledger import Ledger
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.rows import Rejected

log = logging.getLogger(__name__)

TABLE = "contents"
REFUSED = "the ledger does not take this content"
"""Without its own words: they may repeat what is in it."""
Deleted = Mapping[str, int]
"""Up to when the contents of a tenant were deleted, in milliseconds."""


class ContentIntake:
    """What was deleted is looked at before an insert and after it.

    A deletion is written down before its rows are removed. So an insert that did not see it, even after,
    was there before the rows were removed; one that does see it removes what it brought itself.
    """

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics

    async def store(self, batch: Sequence[Msg], ledger: Inserts) -> Poisoned:
        """Insert what may still be kept."""
        poisoned: Poisoned = {}
        contents: dict[int, Content] = {}
        for index, msg in enumerate(batch):
            read = content_rows.read(msg.data)
            if isinstance(read, Rejected):
                poisoned[index] = [read]
            else:
                contents[index] = read
        kept = self._wanted(list(contents.values()), await self._deleted(ledger))
        if kept:
            refused = await ledger.insert(TABLE, [content.row for content in kept], new_id())
            rows = {each.row for each in refused}
            for index, content in contents.items():
                if content.row in rows:
                    poisoned[index] = [Rejected(REFUSED, b"", size=len(batch[index].data))]
            for tenant, before in (await self._deleted(ledger)).items():
                if any(each.tenant == tenant and each.started_ms < before for each in kept):
                    await ledger.patiently(TABLE, partial(self._remove, tenant, before))
        return poisoned

    def _wanted(self, contents: list[Content], deleted: Deleted) -> list[Content]:
        """Those that were neither deleted nor have expired."""
        now = now_ms()
        fresh = [each for each in contents if each.expires_ms > now]
        kept = [each for each in fresh if each.started_ms >= deleted.get(each.tenant, 0)]
        self._metrics.contents_dropped.labels("expired").inc(len(contents) - len(fresh))
        self._metrics.contents_dropped.labels("deleted").inc(len(fresh) - len(kept))
        return kept

    async def _deleted(self, ledger: Inserts) -> Deleted:
        statement = content_queries.DELETED
        rows = await ledger.patiently(TABLE, partial(self._ledger.ask, statement.sql, statement.parameters))
        return {str(row["tenant"]): int(str(row["before"])) for row in rows}

    def _remove(self, tenant: str, before_ms: int) -> None:
        statement = content_queries.delete(tenant, before_ms)
        self._ledger.command(statement.sql, statement.parameters)
