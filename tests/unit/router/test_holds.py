from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.budgets import ZERO
from keyrail.contracts.signals import HoldSettled
from keyrail_router.holds import GRACE_MS, Holds
from keyrail_router.lease import Account

ONE = Decimal(1)


def held(usd: Decimal = 3 * ONE, *, epochs: int = 1) -> tuple[Holds, Account, Account]:
    """Of one request, with an account that reserves and one that only counts."""
    holds, hard, soft = Holds(), Account(), Account()
    for epoch in range(epochs):
        hard.held += usd
        holds.add("r", epoch, 1_000, usd, (hard,), (soft,))
    return holds, hard, soft


def settled(
    cost: Decimal | None, *, hop: int = 0, final: bool = True, epoch: int = 0, most: Decimal = ONE
) -> HoldSettled:
    return HoldSettled(request_id="r", epoch=epoch, hop=hop, cost_usd=cost, held_usd=most, final=final)


def test_what_an_attempt_did_not_cost_is_free_again() -> None:
    holds, hard, soft = held()
    assert holds.settle(settled(ONE / 4))
    assert (hard.held, hard.spent, soft.held, soft.spent) == (0, ONE / 4, 0, ONE / 4)
    assert len(holds) == 0


def test_what_nobody_knows_the_cost_of_stays_spent_as_the_most_it_could_be() -> None:
    holds, hard, _ = held()
    holds.settle(settled(None))
    assert (hard.held, hard.spent) == (0, ONE)


@given(st.permutations([(0, False), (0, False), (1, False), (2, True), (2, True)]))
def test_messages_count_once_in_whatever_order_they_come(order: list[tuple[int, bool]]) -> None:
    holds, hard, _ = held()
    for hop, final in order:
        holds.settle(settled(ONE / 2, hop=hop, final=final))
    assert (hard.held, hard.spent, len(holds)) == (0, ONE * 3 / 2, 0)


def test_the_last_message_alone_does_not_end_it() -> None:
    holds, hard, _ = held()
    holds.settle(settled(ONE, hop=1))
    assert (hard.held, hard.spent, len(holds)) == (2, ONE, 1)


def test_a_cost_above_what_was_held_is_counted_as_it_is() -> None:
    holds, hard, _ = held()
    holds.settle(settled(5 * ONE))
    assert (hard.held, hard.spent, holds.overruns) == (0, 5, 1)


def test_without_a_worker_nothing_was_spent() -> None:
    holds, hard, _ = held()
    holds.release("r", 0)
    assert (hard.held, hard.spent, len(holds)) == (0, 0, 0)
    holds.release("r", 0)
    assert not holds.settle(settled(ONE))


def test_a_dispatch_holds_until_its_own_end_whatever_becomes_of_the_next() -> None:
    holds, hard, _ = held(epochs=2)
    holds.settle(settled(ONE, epoch=1))
    assert (hard.held, hard.spent) == (3, ONE)
    assert holds.overdue(1_000 + GRACE_MS) == []
    assert holds.overdue(1_001 + GRACE_MS) == ["r"]


@pytest.mark.parametrize("in_ledger", [ONE, ONE * 3 / 2])
def test_what_the_ledger_says_of_all_dispatches_is_counted_beyond_what_was_told(in_ledger: Decimal) -> None:
    holds, hard, soft = held(epochs=2)
    holds.settle(settled(ONE, epoch=1))
    holds.close("r", in_ledger)
    assert (hard.held, hard.spent, soft.spent, len(holds)) == (0, in_ledger, in_ledger, 0)


def test_a_request_that_nobody_knows_any_more_is_closed_in_vain() -> None:
    holds, hard, _ = held()
    holds.close("other", ONE)
    assert (hard.held, hard.spent) == (3, ZERO)


def test_a_race_is_over_once_as_many_have_been_told_as_its_racer_says() -> None:
    holds, hard, _ = held()
    assert holds.settle(settled(ONE, hop=0, final=False))
    assert holds.settle(settled(ZERO, hop=32).replace(attempts=3))
    assert len(holds) == 1, "one contender is still to be heard of"
    assert holds.settle(settled(ONE / 2, hop=16, final=False))
    assert len(holds) == 0
    assert (hard.held, hard.spent) == (0, ONE + ONE / 2)
