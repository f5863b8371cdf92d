import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts import budgets
from keyrail.contracts.budgets import Lease, Period, SpendDocument


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("per", "at", "begin", "end"),
    [
        ("day", "2026-11-23T23:59:59", "2026-11-23", "2026-11-24"),
        ("month", "2026-11-23T12:00:00", "2026-11-01", "2026-12-01"),
        ("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("month", "2024-02-29T00:00:00", "2024-02-01", "2024-03-01"),
    ],
)
def test_a_period_is_a_day_or_calendar_month_of_utc(per: Period, at: str, begin: str, end: str) -> None:
    assert budgets.period_bounds(per, _ms(at)) == (_ms(begin), _ms(end))


def test_documents_of_one_period_have_one_key_and_of_two_periods_two() -> None:
    late, next_day = _ms("2026-11-30T23:59:59"), _ms("2026-12-01T00:00:00")
    assert budgets.document_key("key.a", "day", late) == "key.a.d20261130"
    assert budgets.document_key("key.a", "month", late) == "key.a.m202611"
    assert budgets.document_key("key.a", "month", next_day) == "key.a.m202612"


def test_any_name_makes_a_scope_that_a_bucket_takes_and_no_two_make_the_same() -> None:
    names = ["a", "a.b", "a b", "a=20b", "ä", "a/b:c@d", "A", "*", ">"]
    scopes = [budgets.team_scope("t", name) for name in names]
    assert len(set(scopes)) == len(names)
    assert all(re.fullmatch(r"[-/_=.a-zA-Z0-9]+", scope) for scope in scopes)
    assert budgets.team_scope("a.b", "c") != budgets.team_scope("a", "b.c")


def test_what_is_committed_is_what_is_closed_and_all_that_is_granted() -> None:
    leases = {"r1": Lease(granted=Decimal("0.5")), "r2": Lease(granted=Decimal("0.25"), folded=Decimal(9))}
    assert SpendDocument(closed_usd=Decimal(1), leases=leases).committed_usd == Decimal("1.75")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
TIMES = st.integers(0, 4 * 10**12)


@given(NAMES, NAMES, st.sampled_from(["key", "team", "tenant"]), st.sampled_from(["day", "month"]), TIMES)
def test_a_documents_key_says_what_it_is_about(
    tenant: str, team: str, kind: str, per: Period, at_ms: int
) -> None:
    since_ms, until_ms = budgets.period_bounds(per, at_ms)
    scope, names = {
        "key": (budgets.key_scope("1a2b3c4d"), {"key_id": "1a2b3c4d"}),
        "team": (budgets.team_scope(tenant, team), {"tenant": tenant, "team": team}),
        "tenant": (budgets.tenant_scope(tenant), {"tenant": tenant}),
    }[kind]
    expected = budgets.Account(since_ms=since_ms, until_ms=until_ms, **names)
    assert budgets.account(budgets.document_key(scope, per, at_ms)) == expected


@pytest.mark.parametrize(
    "key",
    ["", "key.a", "key.d20261123", "key.a.b.d20261123", "team.a.m202611", "user.a.m202611", "key.a.d20261340",
     "key.a.m2026111", "tenant.=ff.m202611", "key.a.x20261123"],
)  # fmt: skip
def test_a_key_that_no_document_has_is_about_nothing(key: str) -> None:
    assert budgets.account(key) is None
