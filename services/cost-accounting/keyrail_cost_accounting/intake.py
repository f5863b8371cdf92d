"""What the messages of a durable say, and how that gets into the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nats.aio.msg import Msg

from keyrail_cost_accounting.inserts import Inserts
from keyrail_cost_accounting.rows import Rejected

Poisoned = dict[int, list[Rejected]]
"""What cannot be in the ledger, by the place of its message in the batch."""


class Intake(Protocol):
    """One for each kind of message."""

    async def store(self, batch: Sequence[Msg], ledger: Inserts) -> Poisoned:
        """Return once everything but what is returned is in the ledger. Raises LedgerUnavailable when
        stopped."""
        ...
