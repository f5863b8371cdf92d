"""What a router that is gone leaves in the documents of budgets, settled from the ledger. Pure.

A document's `closed_usd` and its leases' `folded` change together, so that closing a lease twice, or by two
who do it at once, changes nothing: what counts is what the ledger says beyond `folded`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from keyrail.contracts.budgets import ZERO, Account, Lease, SpendDocument


@dataclass(frozen=True, slots=True)
class Closed:
    """A lease as it was, and what its router spent in all."""

    router: str
    lease: Lease
    spent_usd: Decimal


def gone(
    routers: Iterable[str],
    last_heard: Mapping[str, int],
    now_ms: int,
    listening_since_ms: int,
    silence_ms: int,
) -> frozenset[str]:
    """Those that were silent for longer than `silence_ms`, counting only time in which we listened."""
    return frozenset(
        router
        for router in routers
        if now_ms - max(last_heard.get(router, 0), listening_since_ms) > silence_ms
    )


def counted(account: Account, document: SpendDocument) -> Account:
    """The part of its period that the document's leases stand for."""
    if document.seeded_ms is None:
        return account
    return account.replace(since_ms=max(account.since_ms, document.seeded_ms))


def close(data: bytes | None, spent: Mapping[str, Decimal]) -> tuple[bytes | None, list[Closed]]:
    """The document with the leases of these routers closed; None when there is nothing to change.

    An empty lease stays: should its router come back, after a pause, it goes on from what is folded.
    """
    if data is None:
        return None, []
    document = SpendDocument.decode(data)
    closed = [
        Closed(router, lease, spent[router]) for router, lease in document.leases.items() if router in spent
    ]
    leases = {each.router: Lease(folded=each.spent_usd) for each in closed}
    changed = [each for each in closed if leases[each.router] != each.lease]
    if not changed:
        return None, []
    more = sum((each.spent_usd - each.lease.folded for each in changed), ZERO)
    revised = document.replace(closed_usd=document.closed_usd + more, leases={**document.leases, **leases})
    return revised.encode(), changed


def forget(data: bytes | None, routers: Iterable[str]) -> tuple[bytes | None, None]:
    """The document without the empty leases of these routers."""
    if data is None:
        return None, None
    document = SpendDocument.decode(data)
    names = {
        router for router in routers if router in document.leases and not document.leases[router].granted
    }
    if not names:
        return None, None
    leases = {router: lease for router, lease in document.leases.items() if router not in names}
    return document.replace(leases=leases).encode(), None
