"""Which targets of a plan have a provider key that may be used. Pure: the time is an argument."""

from __future__ import annotations

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Plan, Target
from keyrail.keys import pool
from keyrail.keys.book import KeyBook
from keyrail.keys.pool import Member, Out
from keyrail_router import steering


def usable(plan: Plan, book: KeyBook, tenant: str, now_ms: int) -> Plan | Failure:
    """The plan without the targets whose keys are all out; those that come back by themselves go last.

    A Failure when no target is left whose keys are not out. Of a provider without recorded keys nothing is
    known here: the worker sees to it.
    """
    if not book.healths:
        return plan
    outs = [_out(book, tenant, target, now_ms) for target in plan.targets]
    if not any(outs):
        return plan
    good = [place for place, out in enumerate(outs) if out is None]
    if not good:
        return _refusal(plan, outs, now_ms)
    later = [place for place, out in enumerate(outs) if out is not None and out.until_ms is not None]
    names = ", ".join(sorted({t.provider for t, out in zip(plan.targets, outs, strict=True) if out}))
    reason = f"{plan.reason}; all keys are out at the provider {names}"
    return steering.permuted(plan, [*good, *later], reason)


def _out(book: KeyBook, tenant: str, target: Target, now_ms: int) -> Out | None:
    records = book.pool(tenant, target.provider)
    members = [Member(record.id, record.weight, book.health(name)) for name, record in records.items()]
    return pool.out(members, now_ms)


def _refusal(plan: Plan, outs: list[Out | None], now_ms: int) -> Failure:
    """Of the pool that is back first; of the first target's where nobody knows of any."""
    ends = [out.until_ms for out in outs if out is not None and out.until_ms is not None]
    soonest = min(ends, default=None)
    for target, out in zip(plan.targets, outs, strict=True):
        if out is not None and out.until_ms == soonest:
            return pool.refusal(target.provider, out, now_ms)
    raise AssertionError("a plan has targets")
