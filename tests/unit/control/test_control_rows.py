"""What control makes of records and documents: pure functions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.budgets import Budget, Lease, SpendDocument
from keyrail.contracts.config import ConfigView, TeamConfig, TenantConfig, TokenRecord
from keyrail.contracts.keys import KeyHealth, KeyRecord
from keyrail_control import seeding, spending, texts
from keyrail_control.errors import Invalid
from keyrail_control.provider_keys import row
from keyrail_control.seeding import Counted

NOW = 1_780_000_000_000  # 2026-05-28T20:26:40Z
DAY, SOFT, MONTH = (
    Budget(usd=Decimal(10), per="day"),
    Budget(usd=Decimal(5), per="day", soft=True),
    Budget(usd=Decimal(100), per="month"),
)


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (None, ("ok", None, None)),
        (KeyHealth(reason="auth", since_ms=0), ("out", "auth", None)),
        (KeyHealth(reason="rate", since_ms=0, until_ms=NOW + 1), ("out", "rate", NOW + 1)),
        (KeyHealth(reason="rate", since_ms=0, until_ms=NOW), ("recovering", "rate", NOW)),
        (KeyHealth(reason="auth", since_ms=0, version=2), ("ok", None, None)),
        (KeyHealth(reason="auth", since_ms=0, version=3), ("out", "auth", None)),
    ],
)
def test_a_key_is_out_or_comes_back_as_its_health_says_of_this_version(
    health: KeyHealth | None, expected: tuple[str, str | None, int | None]
) -> None:
    record = KeyRecord(tenant="t", provider="p", id="i", version=3, changed_ms=1)
    found = row(record, health, NOW)
    assert (found.state, found.reason, found.until_ms) == expected


def test_only_what_nobody_counted_yet_is_to_be_seeded() -> None:
    before = ConfigView(tenants={"a": TenantConfig(budgets=(DAY,))})
    after = ConfigView(
        tenants={
            "a": TenantConfig(budgets=(DAY.replace(usd=Decimal(20)), SOFT, MONTH)),
            "b": TenantConfig(teams={"x": TeamConfig(budgets=(DAY, SOFT))}),
        }
    )
    assert seeding.added(before, after) == [Counted("a", None, "month"), Counted("b", "x", "day")]
    assert seeding.added(after, after) == []
    assert seeding.added(None, before) == [Counted("a", None, "day")]


def token(id: str, **more: Any) -> TokenRecord:
    return TokenRecord(id=id, sha256="", created_ms=0, **more)


def test_budgets_are_those_of_tenants_teams_and_keys_that_still_let_somebody_in() -> None:
    view = ConfigView(
        tenants={"acme": TenantConfig(budgets=(MONTH,), teams={"q a": TeamConfig(budgets=(DAY,))})}
    )
    tokens = [
        token("cccccccc", budgets=(DAY, SOFT)),
        token("aaaaaaaa", budgets=(DAY,), revoked=True),
        token("bbbbbbbb", budgets=(DAY,), expires_ms=NOW),
        token("dddddddd"),
    ]
    found = spending.counted(view, tokens, NOW)
    assert [(each.budget, each.document) for each in found] == [
        (MONTH, "tenant.acme.m202605"),
        (DAY, "team.acme.q=20a.d20260528"),
        (DAY, "key.cccccccc.d20260528"),
        (SOFT, "key.cccccccc.d20260528"),
    ]


def test_a_row_says_what_is_spent_what_may_be_and_what_is_left() -> None:
    counted = spending.Counted("key.x", SOFT, "key.x.d20260528")
    document = SpendDocument(closed_usd=Decimal("4.5"), leases={"r": Lease(granted=Decimal("1.25"))})
    found = spending.row(counted, document, NOW)
    assert (found.spent_usd, found.committed_usd, found.left_usd) == (
        Decimal("4.5"),
        Decimal("5.75"),
        Decimal("-0.75"),
    )
    assert found.until_ms - found.since_ms == 86_400_000
    assert found.since_ms <= NOW < found.until_ms


def test_spans_and_times_are_read_strictly() -> None:
    assert texts.span_ms("x", "0s") == 0
    assert texts.span_ms("x", "24h") == 86_400_000
    assert texts.after("x", "30d", NOW) == NOW + 30 * 86_400_000
    assert texts.after("x", "2030-01-01T00:00:00+01:00", NOW) == 1_893_452_400_000
    for text in ("", "1", "-1h", "1.5h", "1 h", "1y", "٣h", "2030-01-01", "now"):
        with pytest.raises(Invalid) as refused:
            texts.after("x", text, NOW)
        assert str(refused.value).startswith("x: ")
