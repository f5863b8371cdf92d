"""What one router may spend of one document, and how the document changes. Pure: no I/O, no clock.

A router's lease is what it may spend without asking. `total` is all that it surely ever got (granted and
folded); of it `spent` has been paid, `held` is reserved for requests under way, and the rest is free. A
change of the document is not a difference but says how the lease shall be, so that one whose answer got lost
can be made again. What a change gives away is no longer free before it is sent, and what it brings is free
only once it is known to have been made: so nobody counts on money that the document does not grant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Context, Decimal
from typing import NamedTuple

from keyrail.contracts.budgets import ZERO, Budget, Lease, SpendDocument

PART = 8
"""A router takes, and keeps, an eighth of what is left to all, at most."""
_STEP = Decimal("0.000000000001")
_DOWN = Context(prec=60, rounding=ROUND_DOWN)


@dataclass(slots=True)
class Account:
    """This router's part of a document, as far as it knows. Amounts are US dollars.

    `limit`: the least of the hard budgets that were asked about last, None where only soft ones apply.
    `unit`: what was granted last. `promised`: for requests whose change is under way.
    """

    limit: Decimal | None = None
    soft: tuple[Budget, ...] = ()
    unit: Decimal = ZERO
    met: bool = False  # the document was read
    loaded: bool = False  # it has a lease of this router
    unsure: bool = False  # the last change may have been made or not
    total: Decimal = ZERO
    spent: Decimal = ZERO
    folded: Decimal = ZERO
    held: Decimal = ZERO
    promised: Decimal = ZERO

    @property
    def free(self) -> Decimal:
        """What may be reserved at once. Negative when attempts did cost more than they could."""
        return self.total - self.spent - self.held - self.promised

    @property
    def at_rest(self) -> bool:
        """Whether the document says all that there is to say."""
        settled = self.spent == self.folded and self.total == self.spent + self.held
        return settled and not self.unsure

    def meet(self, before: Lease | None) -> None:
        """The document as it was read has this lease: go on from it where nothing is known of it here."""
        if not self.met:
            self.met = True
            if before is not None:
                self.loaded = True
                self.spent += before.folded
                self.total += before.folded
                self.folded += before.folded

    def settle(self, reserved: Decimal, cost: Decimal) -> None:
        """An attempt did cost so much, and so much of what is held was for it."""
        self.held -= reserved
        self.spent += cost


@dataclass(slots=True)
class Ask:
    """A request that waits. `options`: amounts of which the last that fits is wanted; they never fall.

    `budget`: the least hard budget that it counts towards, None where only soft ones apply.
    """

    options: Sequence[Decimal]
    budget: Budget | None


@dataclass(slots=True)
class Revision:
    """A document as it shall be. `amounts`: for each ask what it gets, None: refused."""

    document: SpendDocument
    changed: bool
    total: Decimal
    folded: Decimal
    promised: Decimal
    unit: Decimal
    amounts: list[Decimal | None] = field(default_factory=list[Decimal | None])
    alerts: list[Budget] = field(default_factory=list[Budget])


class _Others(NamedTuple):
    """What of the document is not this router's to change."""

    closed: Decimal
    granted: Decimal

    def room(self, limit: Decimal) -> Decimal:
        """What of a budget this router may have granted, together with what it has."""
        return limit - self.closed - self.granted


def revise(
    document: SpendDocument, router: str, account: Account, asks: Sequence[Ask], *, keep: bool
) -> Revision:
    """Fold what was spent, grant what is asked for, and give back what is free and not kept.

    Without `keep` all of it goes back, else what is more than an eighth of what is left.
    """
    before = document.leases.get(router)
    folded = _folded(account, before)
    spent = account.spent
    others = _Others(
        document.closed_usd + spent - folded,
        sum((lease.granted for name, lease in document.leases.items() if name != router), ZERO),
    )
    free = _free(account, before, folded)
    if not asks:
        free = _kept(free, account, others) if keep else ZERO
    amounts, mine = _granted(account, others, asks, account.held + free)
    lease = Lease(granted=mine, folded=spent)
    names, alerts = _alerts(document, account, others.closed, asks, amounts)
    changed = lease != before or bool(names) or account.unsure
    revised = document.replace(
        closed_usd=others.closed,
        leases={**document.leases, router: lease},
        alerted=(*document.alerted, *names),
    )
    return Revision(
        document=revised if changed else document,
        changed=changed,
        total=mine + spent,
        folded=spent,
        promised=sum((amount for amount in amounts if amount is not None), ZERO),
        unit=next((amount for amount in reversed(amounts) if amount), account.unit),
        amounts=amounts,
        alerts=alerts,
    )


def begin(account: Account, revision: Revision) -> None:
    """The change is about to be sent, again perhaps: what it gives away is gone."""
    account.total = min(account.total, revision.total)
    account.promised = revision.promised


def commit(account: Account, revision: Revision) -> None:
    """The change was made. What it promised is free now: the caller holds it at once."""
    account.total, account.folded, account.unit = revision.total, revision.folded, revision.unit
    account.promised = ZERO
    account.loaded, account.unsure = True, False


def abandon(account: Account) -> None:
    """Nobody knows whether the change was made."""
    account.promised = ZERO
    account.unsure = True


def forgotten(document: SpendDocument, router: str) -> SpendDocument:
    """Without this router's lease, of which nothing is granted any more: all that it spent is closed."""
    return document.replace(leases={name: lease for name, lease in document.leases.items() if name != router})


def _free(account: Account, before: Lease | None, folded: Decimal) -> Decimal:
    """What is free, as far as the document grants it.

    It grants less than this router believes where cost-accounting has taken it for gone: it was paused, or
    cut off, for longer than the others wait.
    """
    granted = before.granted if before is not None else ZERO
    believed = account.total - account.spent - account.held
    return max(min(believed, granted - (account.spent - folded) - account.held), ZERO)


def _folded(account: Account, before: Lease | None) -> Decimal:
    """What of what was spent is in `closed_usd` already."""
    if before is not None:
        return before.folded
    # Whoever took a lease away that was there has closed all that was settled.
    return account.spent if account.loaded else ZERO


def _kept(free: Decimal, account: Account, others: _Others) -> Decimal:
    if account.limit is None:
        return ZERO
    part = (others.room(account.limit) - account.held) / PART
    if account.unit:
        part = part // account.unit * account.unit
    return max(min(free, part.quantize(_STEP, context=_DOWN)), ZERO)


def _granted(
    account: Account, others: _Others, asks: Sequence[Ask], mine: Decimal
) -> tuple[list[Decimal | None], Decimal]:
    """What each ask gets, in their order, and what the lease is then."""
    begun = mine
    taken = ZERO
    amounts: list[Decimal | None] = []
    limit: Decimal | None = None
    unit = ZERO
    for ask in asks:
        if ask.budget is None:
            amounts.append(ZERO)
            continue
        left = max(mine, others.room(ask.budget.usd)) - account.held - taken
        amount = next((option for option in reversed(ask.options) if option <= left or not option), None)
        amounts.append(amount)
        if amount:
            taken += amount
            mine = max(mine, account.held + taken)
            limit, unit = ask.budget.usd, amount
    if limit is not None:
        mine += _more(others.room(limit) - begun, mine - begun, unit)
    return amounts, mine


def _more(room: Decimal, needed: Decimal, unit: Decimal) -> Decimal:
    """What is taken beyond what is needed: multiples of it, up to an eighth of the room."""
    part = room / PART
    if part < 2 * unit or part <= needed:
        return ZERO
    return (part - needed) // unit * unit


def _alerts(
    document: SpendDocument,
    account: Account,
    closed: Decimal,
    asks: Sequence[Ask],
    amounts: Sequence[Decimal | None],
) -> tuple[list[str], list[Budget]]:
    """Names and budgets of those that an alert is due for: soft ones used up, hard ones that refuse."""
    due = [budget for budget in account.soft if closed > 0 and closed >= budget.usd]
    due += [
        ask.budget
        for ask, amount in zip(asks, amounts, strict=True)
        if amount is None and ask.budget is not None
    ]
    found = {name_of(budget): budget for budget in due}
    new = {name: budget for name, budget in found.items() if name not in document.alerted}
    return list(new), list(new.values())


def name_of(budget: Budget) -> str:
    """As `SpendDocument.alerted` has it."""
    return f"{budget.usd}/soft" if budget.soft else str(budget.usd)
