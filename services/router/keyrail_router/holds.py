"""What is reserved for the requests under way, and what their attempts did cost. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from keyrail.contracts.budgets import ZERO
from keyrail.contracts.signals import HoldSettled
from keyrail_router.lease import Account

GRACE_MS = 30_000
"""After the deadline of a request nobody tells any more what it did cost: then the ledger is asked."""


@dataclass(slots=True)
class _Held:
    """One dispatch of a request. `left` of what was reserved is not paid yet.

    `hard`: accounts that reserve it, `soft`: those that only count.
    """

    left: Decimal
    deadline_ms: int
    hard: tuple[Account, ...]
    soft: tuple[Account, ...]
    hops: set[int] = field(default_factory=set[int])
    messages: int | None = None  # how many there are in all, once that is known


@dataclass(slots=True)
class _Request:
    """`paid`: by all attempts that this router was told of. `held` by epoch."""

    paid: Decimal = ZERO
    held: dict[int, _Held] = field(default_factory=dict[int, _Held])


class Holds:
    """Every message counts once, in whatever order they come. `overruns`: attempts above their hold."""

    def __init__(self) -> None:
        self._requests: dict[str, _Request] = {}
        self.overruns = 0

    def __len__(self) -> int:
        """Requests that something is held for."""
        return len(self._requests)

    def add(
        self,
        request_id: str,
        epoch: int,
        deadline_ms: int,
        usd: Decimal,
        hard: tuple[Account, ...],
        soft: tuple[Account, ...],
    ) -> None:
        """The accounts in `hard` hold `usd` already."""
        request = self._requests.get(request_id)
        if request is None:
            request = self._requests[request_id] = _Request()
        elif (twice := request.held.get(epoch)) is not None:  # a dispatch that came twice
            self._end(request, twice)
        request.held[epoch] = _Held(usd, deadline_ms, hard, soft)

    def settle(self, told: HoldSettled) -> bool:
        """An attempt has ended. False: nothing is held for it, or this was known."""
        request = self._requests.get(told.request_id)
        held = request.held.get(told.epoch) if request is not None else None
        if request is None or held is None or told.hop in held.hops:
            return False
        held.hops.add(told.hop)
        cost = told.cost_usd if told.cost_usd is not None else told.held_usd
        if cost:
            self._pay(request, held, cost)
            if told.held_usd is not None and cost > told.held_usd:
                self.overruns += 1
        if told.final:
            held.messages = told.attempts if told.attempts is not None else told.hop + 1
        if held.messages is not None and len(held.hops) >= held.messages:
            self._close(told.request_id, request, told.epoch)
        return True

    def release(self, request_id: str, epoch: int) -> None:
        """No attempt was made and none will be."""
        request = self._requests.get(request_id)
        if request is not None and epoch in request.held:
            self._close(request_id, request, epoch)

    def overdue(self, now_ms: int) -> list[str]:
        """Requests that the ledger is to be asked about."""
        return [
            request_id
            for request_id, request in self._requests.items()
            if all(held.deadline_ms + GRACE_MS < now_ms for held in request.held.values())
        ]

    def close(self, request_id: str, paid: Decimal) -> None:
        """None of its attempts runs any more, and all that this router held money for did cost `paid`."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return
        rest = paid - request.paid
        for held in request.held.values():
            if rest > 0:
                self._pay(request, held, rest)
                rest = ZERO
            self._end(request, held)

    def _pay(self, request: _Request, held: _Held, cost: Decimal) -> None:
        reserved = min(cost, held.left)
        held.left -= reserved
        request.paid += cost
        for account in held.hard:
            account.settle(reserved, cost)
        for account in held.soft:
            account.settle(ZERO, cost)

    def _close(self, request_id: str, request: _Request, epoch: int) -> None:
        self._end(request, request.held.pop(epoch))
        if not request.held:
            del self._requests[request_id]

    def _end(self, request: _Request, held: _Held) -> None:
        for account in held.hard:
            account.settle(held.left, ZERO)
        held.left = ZERO
