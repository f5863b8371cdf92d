"""Whether a tenant has a key left at a provider. Pure: the time is an argument."""

from __future__ import annotations

from keyrail.keys import pool
from keyrail.keys.book import KeyBook
from keyrail.keys.pool import Member
from keyrail.routing.world import KeysOut


def keys_out(book: KeyBook, tenant: str, provider: str, now_ms: int) -> KeysOut | None:
    """What is said where all keys are out; None where one is not.

    Of a provider without recorded keys nothing is known here: the worker sees to it.
    """
    if not book.healths:
        return None
    records = book.pool(tenant, provider)
    members = [Member(record.id, record.weight, book.health(name)) for name, record in records.items()]
    out = pool.out(members, now_ms)
    return None if out is None else KeysOut(out.until_ms, pool.refusal(provider, out, now_ms))
