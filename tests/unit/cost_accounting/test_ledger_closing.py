"""Leases of routers that are gone: closed by what the ledger says, once, whoever does it."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.budgets import Account, Lease, SpendDocument
from keyrail_cost_accounting.closing import close, counted, forget, gone

DOCUMENT = SpendDocument(
    closed_usd=Decimal("1.5"),
    leases={
        "dead": Lease(granted=Decimal(3), folded=Decimal("0.5")),
        "alive": Lease(granted=Decimal(2), folded=Decimal(1)),
    },
    alerted=("5/soft",),
)


def decoded(data: bytes | None) -> SpendDocument:
    assert data is not None
    return SpendDocument.decode(data)


def test_a_closed_lease_adds_what_was_not_folded_and_grants_nothing_more() -> None:
    data, closed = close(DOCUMENT.encode(), {"dead": Decimal("0.75")})

    after = decoded(data)
    assert after == DOCUMENT.replace(
        closed_usd=Decimal("1.75"),
        leases={"dead": Lease(folded=Decimal("0.75")), "alive": DOCUMENT.leases["alive"]},
    )
    assert [(each.router, each.lease.granted) for each in closed] == [("dead", Decimal(3))]


def test_closing_twice_changes_nothing() -> None:
    data, _ = close(DOCUMENT.encode(), {"dead": Decimal("0.75")})
    assert close(data, {"dead": Decimal("0.75")}) == (None, [])


def test_a_settlement_that_came_late_corrects_what_was_closed() -> None:
    data, _ = close(DOCUMENT.encode(), {"dead": Decimal("0.75")})
    data, _ = close(data, {"dead": Decimal("0.6")})
    assert decoded(data).closed_usd == Decimal("1.6")


def test_a_router_without_a_lease_has_nothing_to_close() -> None:
    assert close(DOCUMENT.encode(), {"stranger": Decimal(5)}) == (None, [])
    assert close(None, {"dead": Decimal(5)}) == (None, [])


def test_a_lease_is_forgotten_only_when_nothing_is_granted_on_it() -> None:
    assert forget(DOCUMENT.encode(), ["dead", "stranger"]) == (None, None)
    assert forget(None, ["dead"]) == (None, None)
    data, _ = close(DOCUMENT.encode(), {"dead": Decimal("0.75")})
    after = decoded(forget(data, ["dead"])[0])
    assert after.leases.keys() == {"alive"}
    assert after.closed_usd == Decimal("1.75")


def test_a_router_is_gone_when_it_was_silent_while_we_listened() -> None:
    routers = ["dead", "alive", "never-heard"]
    heard = {"dead": 4_999, "alive": 19_000}
    assert gone(routers, heard, 20_000, 0, 15_000) == {"dead", "never-heard"}
    assert gone(routers, heard, 20_000, 10_000, 15_000) == set()


def test_what_came_in_before_a_document_was_made_is_in_no_lease() -> None:
    about = Account(key_id="k", since_ms=1_000, until_ms=2_000)
    assert counted(about, DOCUMENT) == about
    assert counted(about, DOCUMENT.replace(seeded_ms=1_500)).since_ms == 1_500
    assert counted(about, DOCUMENT.replace(seeded_ms=500)).since_ms == 1_000


CENTS = st.integers(0, 10**6).map(lambda n: Decimal(n).scaleb(-12))
ROUTERS = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.dictionaries(ROUTERS, st.tuples(CENTS, CENTS)),
    st.dictionaries(ROUTERS, CENTS),
    st.lists(st.sets(ROUTERS), max_size=5),
)
def test_in_whatever_portions_leases_are_closed_what_is_closed_is_the_ledgers_sum(
    leases: dict[str, tuple[Decimal, Decimal]], ledger: dict[str, Decimal], portions: list[set[str]]
) -> None:
    folded = sum((each for _, each in leases.values()), Decimal(0))
    data = SpendDocument(
        closed_usd=folded, leases={name: Lease(granted=g, folded=f) for name, (g, f) in leases.items()}
    ).encode()
    for portion in (*portions, set(leases)):
        spent = {router: ledger.get(router, Decimal(0)) for router in portion}
        data = close(data, spent)[0] or data

    after = SpendDocument.decode(data)
    assert after.closed_usd == sum((ledger.get(name, Decimal(0)) for name in leases), Decimal(0))
    assert after.committed_usd == after.closed_usd
