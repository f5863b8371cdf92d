"""Events from the stream to the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.msg import Msg

from keyrail.contracts import subjects
from keyrail.contracts.base import new_id, now_ms
from keyrail_cost_accounting.inserts import Inserts, RefusedRow
from keyrail_cost_accounting.intake import Poisoned
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.rows import Rejected, Rows, events_of

KNOWN = frozenset(
    {
        subjects.EVENT_ATTEMPT,
        subjects.EVENT_REQUEST,
        subjects.EVENT_ALERT,
        subjects.EVENT_ROUTED,
        subjects.EVENT_VERDICT,
    }
)


class EventIntake:
    """Attempts, requests, alerts, decisions and verdicts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def store(self, batch: Sequence[Msg], ledger: Inserts) -> Poisoned:
        """As Intake's."""
        rows = Rows()
        poisoned: Poisoned = {}
        for index, msg in enumerate(batch):
            if rejected := _read(rows, msg):
                poisoned[index] = rejected
        token = new_id()  # of this batch in this process: retries of an insert that did arrive
        refused = await ledger.insert("attempts", rows.attempts, token)
        refused += await ledger.insert("requests", rows.requests, token)
        refused += await ledger.insert("alerts", rows.alerts, token)
        refused += await ledger.insert("decisions", rows.decisions, token)
        refused += await ledger.insert("verdicts", rows.verdicts, token)
        if refused:
            _find(refused, batch, poisoned)
        if rows.newest_ms:
            self._metrics.lag.set(max(0, now_ms() - rows.newest_ms) / 1000)
        return poisoned


def _find(refused: list[RefusedRow], batch: Sequence[Msg], poisoned: Poisoned) -> None:
    """Add the events of refused rows to `poisoned`."""
    reasons = {each.row: each.reason for each in refused}
    for index, msg in enumerate(batch):
        for row, event in events_of(msg.data, reasons):
            poisoned.setdefault(index, []).append(Rejected(reasons[row], event))


def _read(rows: Rows, msg: Msg) -> list[Rejected]:
    """Add the message's events to `rows`; returns what is no event."""
    if msg.subject not in KNOWN:
        return [Rejected("events on this subject are not known to this version", msg.data)]
    rows.read(msg.data)
    rejected, rows.rejected = rows.rejected, []
    return rejected
