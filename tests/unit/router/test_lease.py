"""Leases of several routers on one document, however their changes interleave."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keyrail.contracts.budgets import ZERO, Budget, Lease, SpendDocument
from keyrail_router import lease
from keyrail_router.lease import Account, Ask, Revision

TEN = Budget(usd=Decimal(10), per="day")
EMPTY = SpendDocument()
SOFT = Budget(usd=Decimal(3), per="day", soft=True)


def ask(*options: int | str, budget: Budget | None = TEN) -> Ask:
    return Ask([Decimal(option) for option in options], budget)


def revise(account: Account, *asks: Ask, document: SpendDocument = EMPTY, keep: bool = True) -> Revision:
    account.meet(document.leases.get("me"))
    return lease.revise(document, "me", account, asks, keep=keep)


def test_far_from_the_limit_an_eighth_of_the_room_is_taken_in_multiples_of_what_is_needed() -> None:
    revision = revise(Account(), ask("0.3"))
    assert revision.amounts == [Decimal("0.3")]
    assert revision.document.leases["me"].granted == Decimal("1.2")


def test_near_the_limit_exactly_what_is_needed_is_taken() -> None:
    revision = revise(Account(), ask(1))
    assert revision.document.leases["me"] == Lease(granted=Decimal(1))


def test_of_several_who_wait_each_gets_what_is_left_in_order() -> None:
    revision = revise(Account(), ask(6), ask(5), ask(4), ask(1))
    assert revision.amounts == [6, None, 4, None]
    assert revision.document.committed_usd == 10
    assert revision.document.alerted == ("10",)
    assert revision.alerts == [TEN]


def test_all_targets_are_paid_for_where_there_is_room_and_else_as_many_as_fit() -> None:
    assert revise(Account(), ask(2, 5, 9)).amounts == [9]
    assert revise(Account(), ask(2, 5, 11)).amounts == [5]
    assert revise(Account(), ask(2, 11)).amounts == [2]
    assert revise(Account(), ask(11, 12)).amounts == [None]


def test_what_costs_nothing_passes_where_nothing_is_left() -> None:
    spent = SpendDocument(closed_usd=Decimal(12))
    assert revise(Account(), ask(0, 1), document=spent).amounts == [0]


def test_what_others_were_granted_is_not_there() -> None:
    others = SpendDocument(closed_usd=Decimal(3), leases={"you": Lease(granted=Decimal(5))})
    assert revise(Account(), ask(3), document=others).amounts == [None]
    assert revise(Account(), ask(2), document=others).amounts == [2]


def test_what_is_spent_moves_from_granted_to_closed_in_one_change() -> None:
    account = Account(limit=Decimal(10), loaded=True, met=True, total=Decimal(4), held=Decimal(1))
    account.spent = Decimal(2)
    before = SpendDocument(closed_usd=Decimal(1), leases={"me": Lease(granted=Decimal(4))})
    after = revise(account, document=before, keep=False).document
    assert (after.closed_usd, after.leases["me"]) == (3, Lease(granted=Decimal(1), folded=Decimal(2)))


def test_the_same_change_again_changes_nothing() -> None:
    account = Account(limit=Decimal(10))
    first = revise(account, ask(1))
    lease.begin(account, first)
    lease.abandon(account)  # no answer, but it was made
    account.settle(ZERO, ZERO)
    again = revise(account, ask(1), document=first.document)
    assert again.document.committed_usd == 1


def test_what_was_promised_to_those_who_wait_is_not_free_meanwhile() -> None:
    account = Account(limit=Decimal(10), loaded=True, met=True, total=Decimal(2))
    document = SpendDocument(leases={"me": Lease(granted=Decimal(2))})
    revision = revise(account, ask(3), document=document)
    lease.begin(account, revision)
    assert account.free <= 0
    lease.commit(account, revision)
    assert account.free == 3


def test_what_goes_back_is_not_free_from_the_moment_it_is_sent() -> None:
    account = Account(limit=Decimal(10), loaded=True, met=True, total=Decimal(2))
    document = SpendDocument(leases={"me": Lease(granted=Decimal(2))})
    lease.begin(account, revise(account, document=document, keep=False))
    assert account.free == 0


def test_after_a_change_without_an_answer_the_next_one_is_written_in_any_case() -> None:
    account = Account(limit=Decimal(10), loaded=True, met=True)
    document = SpendDocument(leases={"me": Lease()})
    assert not revise(account, document=document).changed
    lease.abandon(account)
    assert revise(account, document=document).changed, "or one that comes late would be made after it"
    assert not account.at_rest


def test_an_overrun_is_told_truthfully() -> None:
    account = Account(limit=Decimal(10), loaded=True, met=True, total=Decimal(1))
    account.spent = Decimal(12)
    before = SpendDocument(leases={"me": Lease(granted=Decimal(1))})
    after = revise(account, ask(1), document=before)
    assert after.document.closed_usd == 12
    assert after.amounts == [None]


def test_a_soft_budget_that_is_used_up_is_named_once_and_stops_nobody() -> None:
    account = Account(soft=(SOFT,))
    first = revise(account, ask(0, budget=None))
    lease.begin(account, first)
    lease.commit(account, first)
    assert (first.amounts, first.alerts) == ([0], [])
    account.settle(ZERO, Decimal(3))
    second = revise(account, document=first.document)
    assert (second.alerts, second.document.alerted, second.document.closed_usd) == ([SOFT], ("3/soft",), 3)
    lease.commit(account, second)
    account.settle(ZERO, Decimal(3))
    assert revise(account, document=second.document).alerts == []


def test_who_was_thought_gone_and_closed_goes_on_without_counting_twice() -> None:
    account = Account(limit=Decimal(10), loaded=True, met=True, total=Decimal(5), folded=Decimal(2))
    account.spent, account.held = Decimal(4), Decimal(1)
    closed = SpendDocument(closed_usd=Decimal(4))  # all 4 that the ledger knew
    after = revise(account, document=closed, keep=False).document
    assert (after.closed_usd, after.leases["me"]) == (4, Lease(granted=Decimal(1), folded=Decimal(4)))


@pytest.mark.parametrize("left", [None, Lease(granted=ZERO, folded=Decimal(1))])
def test_who_was_thought_gone_spends_nothing_that_others_were_granted_since(left: Lease | None) -> None:
    """What it had free is not its own any more, and what it holds for requests under way still is."""
    account = Account(
        limit=Decimal(10),
        met=True,
        loaded=True,
        total=Decimal(9),
        spent=Decimal(1),
        folded=Decimal(1),
        held=Decimal(2),
    )
    others = SpendDocument(
        closed_usd=Decimal(1),
        leases={"other": Lease(granted=Decimal(6)), **({"me": left} if left is not None else {})},
    )
    revision = revise(account, document=others)
    assert revision.document.leases["me"] == Lease(granted=Decimal(2), folded=Decimal(1))
    lease.begin(account, revision)
    lease.commit(account, revision)
    assert account.free == 0
    assert revise(account, ask(2), document=revision.document).amounts == [None]
    assert revise(account, ask(1), document=revision.document).amounts == [1]


def test_an_account_that_was_forgotten_goes_on_from_the_document() -> None:
    account = Account()
    before = SpendDocument(closed_usd=Decimal(4), leases={"me": Lease(folded=Decimal(4))})
    revision = revise(account, ask(2), document=before)
    lease.commit(account, revision)
    account.held += 2
    account.settle(Decimal(2), Decimal(2))
    after = revise(account, document=revision.document).document
    assert (after.closed_usd, after.leases["me"].folded) == (6, 6)


@pytest.mark.parametrize("left", ["0", "0.5", "1"])
def test_what_is_kept_shrinks_with_what_is_left(left: str) -> None:
    account = Account(limit=Decimal(100), loaded=True, met=True, total=Decimal(12), unit=Decimal("0.05"))
    others = Decimal(100) - 12 - Decimal(left)
    document = SpendDocument(leases={"me": Lease(granted=Decimal(12)), "you": Lease(granted=others)})
    kept = revise(account, document=document).document.leases["me"].granted
    assert kept <= (12 + Decimal(left)) / 8
    assert kept % Decimal("0.05") == 0
    assert kept > 1


@dataclass
class Router:
    """A router with a change that may be under way: the revision it sent, and the document it was made of."""

    name: str
    account: Account = field(default_factory=lambda: Account(limit=Decimal(20)))
    sent: Revision | None = None
    based_on: int = 0
    asks: list[Ask] = field(default_factory=list[Ask])
    holds: list[Decimal] = field(default_factory=list[Decimal])
    late: list[tuple[Revision, int]] = field(default_factory=list[tuple[Revision, int]])
    paid: Decimal = ZERO


BUDGET = Budget(usd=Decimal(20), per="day")
AMOUNTS = st.sampled_from([Decimal(text) for text in ("0", "0.3", "1", "1.2", "4", "9")])
ROUTERS = st.integers(0, 1)


class Leases(RuleBasedStateMachine):
    """Two routers, one document that is changed by compare-and-set, and answers that get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.document = SpendDocument()
        self.revision = 0
        self.routers = [Router(f"r{number}") for number in range(2)]

    @rule(number=ROUTERS, part=st.sampled_from([1, 2]))
    def take(self, number: int, part: int) -> None:
        router = self.routers[number]
        amount = router.account.free / part
        if router.account.loaded and amount > 0:
            router.account.held += amount
            router.holds.append(amount)

    @rule(number=ROUTERS, keep=st.booleans())
    def tend(self, number: int, keep: bool) -> None:
        self.send(number, [], keep)

    @rule(number=ROUTERS, amounts=st.lists(AMOUNTS, min_size=1, max_size=3))
    def wait(self, number: int, amounts: list[Decimal]) -> None:
        self.send(number, amounts, True)

    def send(self, number: int, amounts: list[Decimal], keep: bool) -> None:
        router = self.routers[number]
        if router.sent is not None:
            return
        router.asks = [Ask((amount, amount * 2), BUDGET) for amount in amounts]
        self._make(router, keep)

    def _make(self, router: Router, keep: bool) -> None:
        router.account.meet(self.document.leases.get(router.name))
        router.sent = lease.revise(self.document, router.name, router.account, router.asks, keep=keep)
        router.based_on = self.revision
        lease.begin(router.account, router.sent)

    @rule(number=ROUTERS, keep=st.booleans())
    def arrive(self, number: int, keep: bool) -> None:
        """The server takes it, and says so; or it was made of a document that is no more."""
        router = self.routers[number]
        if router.sent is None:
            return
        if router.sent.changed and not self._write(router.sent, router.based_on):
            self._make(router, keep)
            return
        revision, router.sent = router.sent, None
        lease.commit(router.account, revision)
        for amount in revision.amounts:
            if amount is not None:
                router.account.held += amount
                router.holds.append(amount)

    @rule(number=ROUTERS, arrives=st.booleans())
    def lose_the_answer(self, number: int, arrives: bool) -> None:
        """It is written now, later or never, and nobody says so."""
        router = self.routers[number]
        if router.sent is None:
            return
        if router.sent.changed:
            if arrives:
                self._write(router.sent, router.based_on)
            else:
                router.late.append((router.sent, router.based_on))
        router.sent = None
        lease.abandon(router.account)

    @rule(number=ROUTERS)
    def arrive_late(self, number: int) -> None:
        router = self.routers[number]
        if router.late:
            self._write(*router.late.pop())

    @rule(number=ROUTERS, part=st.integers(0, 4))
    def settle(self, number: int, part: int) -> None:
        router = self.routers[number]
        if router.holds:
            held = router.holds.pop(0)
            cost = held * part / 4
            router.account.settle(held, cost)
            router.paid += cost

    def _write(self, revision: Revision, based_on: int) -> bool:
        if based_on != self.revision:
            return False
        self.document, self.revision = revision.document, self.revision + 1
        return True

    @invariant()
    def no_more_is_spent_or_reserved_than_there_is(self) -> None:
        spent = sum((router.paid + sum(router.holds, ZERO) for router in self.routers), ZERO)
        assert spent <= BUDGET.usd
        assert self.document.committed_usd <= BUDGET.usd

    @invariant()
    def what_is_held_and_not_folded_is_granted(self) -> None:
        for router in self.routers:
            mine = self.document.leases.get(router.name, Lease())
            assert mine.granted >= sum(router.holds, ZERO) + router.paid - mine.folded

    @invariant()
    def what_is_closed_is_what_was_folded(self) -> None:
        assert self.document.closed_usd == sum((mine.folded for mine in self.document.leases.values()), ZERO)

    @precondition(lambda self: all(router.sent is None for router in self.routers))
    @rule()
    def in_the_end_the_document_says_what_was_paid(self) -> None:
        for router in self.routers:
            for held in router.holds:
                router.account.settle(held, held)
                router.paid += held
            router.holds.clear()
            router.late.clear()
            router.asks = []
            self._make(router, keep=False)
            self.arrive(int(router.name[1]), keep=False)
            assert router.account.at_rest
        assert self.document.closed_usd == sum((router.paid for router in self.routers), ZERO)
        assert all(mine.granted == 0 for mine in self.document.leases.values())


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
