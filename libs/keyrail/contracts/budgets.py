"""Limits and budgets; what was spent of a budget, and who may spend more, as one document for each scope and
period.

What may still be granted of a budget of `usd` is `usd - closed_usd - sum(granted)`. A router takes grants by
compare-and-set, spends them without asking anybody, and gives back what it does not need. Money moves from
`granted` to `closed_usd` in one change, so it is never in neither and never in both.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from keyrail.contracts.base import Contract

ZERO = Decimal(0)
Period = Literal["day", "month"]
_ESCAPED = re.compile(rb"=([0-9a-f]{2})")
_STAMP = re.compile(r"d[0-9]{8}|m[0-9]{6}")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Limits(Contract, frozen=True, kw_only=True):
    """What may be asked for. None: no limit.

    `rpm` requests and `tpm` tokens (prompt and answer) in a window of 60 s, `concurrent` requests at once.
    """

    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None


class Budget(Contract, frozen=True, kw_only=True):
    """US dollars in each day or calendar month (UTC). Above a soft one requests pass and an alert is
    raised."""

    usd: Decimal
    per: Period
    soft: bool = False


class Lease(Contract, frozen=True, kw_only=True):
    """One router's part. `granted`: may be spent or is, and is not in `closed_usd`. `folded`: what of it went
    there; so when the router is gone, what it spent in all (the ledger knows) less `folded` is still to
    add."""

    granted: Decimal = ZERO
    folded: Decimal = ZERO


class SpendDocument(Contract, frozen=True, kw_only=True):
    """`leases` by router instance. `alerted`: budgets (`str(usd)`, for soft ones with `/soft`) that an alert
    was raised for.

    `seeded_ms`: when the document was made in the middle of its period. What requests that came in before did
    cost is in `closed_usd` from the beginning, and in no lease. An empty lease whose router is silent was
    closed for it; should the router come back, it goes on from what is `folded`.
    """

    closed_usd: Decimal = ZERO
    leases: dict[str, Lease] = {}
    alerted: tuple[str, ...] = ()
    seeded_ms: int | None = None

    @property
    def committed_usd(self) -> Decimal:
        """Spent, or granted to somebody who may spend it."""
        return self.closed_usd + sum((lease.granted for lease in self.leases.values()), ZERO)


def key_scope(id: str) -> str:
    """The scope of one virtual key."""
    return f"key.{id}"


def tenant_scope(tenant: str) -> str:
    """The scope of a tenant."""
    return f"tenant.{escaped(tenant)}"


def team_scope(tenant: str, team: str) -> str:
    """The scope of a tenant's team."""
    return f"team.{escaped(tenant)}.{escaped(team)}"


def escaped(name: str) -> str:
    """With `=` and the bytes in hexadecimal for what a bucket's keys can't have, or what separates them."""
    return "".join(c if c in _PLAIN else "".join(f"={b:02x}" for b in c.encode()) for c in name)


def unescaped(text: str) -> str:
    """The inverse of `escaped`. Raises ValueError."""
    raw = _ESCAPED.sub(lambda found: bytes((int(found[1], 16),)), text.encode())
    return raw.decode()


def document_key(scope: str, per: Period, at_ms: int) -> str:
    """Where the document of the day or month (UTC) of `at_ms` is: `key.1a2b3c4d.d20261123`,
    `tenant.acme.m202611`."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{scope}.{at:d%Y%m%d}" if per == "day" else f"{scope}.{at:m%Y%m}"


class Account(Contract, frozen=True, kw_only=True):
    """What a document is about, by the names in the ledger: a key (`key_id` alone), a team (`tenant` and
    `team`) or a tenant, and the begin and end (exclusive) of its period in milliseconds."""

    key_id: str | None = None
    tenant: str | None = None
    team: str | None = None
    since_ms: int
    until_ms: int


def account(key: str) -> Account | None:
    """The inverse of `document_key`; None for what it never gives."""
    *names, stamp = key.split(".")
    if not _STAMP.fullmatch(stamp):
        return None
    per: Period = "day" if stamp.startswith("d") else "month"
    try:
        at = datetime.strptime(stamp, "d%Y%m%d" if per == "day" else "m%Y%m").replace(tzinfo=UTC)
        since_ms, until_ms = period_bounds(per, int(at.timestamp()) * 1000)
        match [unescaped(name) for name in names]:
            case ["key", id]:
                return Account(key_id=id, since_ms=since_ms, until_ms=until_ms)
            case ["tenant", tenant]:
                return Account(tenant=tenant, since_ms=since_ms, until_ms=until_ms)
            case ["team", tenant, team]:
                return Account(tenant=tenant, team=team, since_ms=since_ms, until_ms=until_ms)
            case _:
                return None
    except ValueError:  # no date, or no UTF-8
        return None


def period_bounds(per: Period, at_ms: int) -> tuple[int, int]:
    """Begin and end (exclusive) of the day or month (UTC) of `at_ms`, in milliseconds."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    begin = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        start = int(begin.timestamp()) * 1000
        return start, start + 86_400_000
    begin = begin.replace(day=1)
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return int(begin.timestamp()) * 1000, int(end.timestamp()) * 1000
