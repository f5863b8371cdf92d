"""Every alert on money, on the real engine: silent on an ordinary ledger, and loud about what it is for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import yaml
from support import ledger_facts
from support.grafana import FOLDER
from support.ledger_facts import Facts

from keyrail.contracts.events import AlertRaised, AttemptSettled, AttemptStarted
from keyrail.contracts.usage import Price
from keyrail_cost_accounting.ledger import ClickHouse

RULES = {
    rule["uid"]: rule
    for group in yaml.safe_load((FOLDER / "provisioning/alerting/keyrail.yaml").read_text())["groups"]
    for rule in group["rules"]
}
TABLES = ("attempts", "requests", "alerts", "decisions", "costs_minute", "costs_hour", "costs_day", "rollups")
HOUR = 3_600_000
DAY = 24 * HOUR
Firing = dict[tuple[str, ...], float]


@pytest.fixture
def empty(engine: ClickHouse) -> Iterator[ClickHouse]:
    for table in TABLES:
        engine.command(f"TRUNCATE TABLE {table}")
    yield engine
    for table in TABLES:
        engine.command(f"TRUNCATE TABLE {table}")


def firing(ledger: ClickHouse, uid: str) -> Firing:
    """The labels of what is above the threshold, and by what it is measured."""
    query, threshold = (each["model"] for each in RULES[uid]["data"])
    (limit,) = threshold["conditions"][0]["evaluator"]["params"]
    assert threshold["conditions"][0]["evaluator"]["type"] == "gt"
    found: Firing = {}
    for row in ledger.ask(query["rawSql"], {}):
        *labels, measured = row.values()
        assert all(isinstance(label, str) for label in labels)
        assert isinstance(measured, int | float)
        if measured > limit:
            found[tuple(map(str, labels))] = measured
    return found


def attempt(number: int, at_ms: int, cost: str | None, **more: Any) -> AttemptSettled:
    status = more.pop("status", "ok")
    started = AttemptStarted(
        attempt_id=str(UUID(int=number)), request_id=str(UUID(int=number)), epoch=1, hop=0, tenant="default",
        key_id="k1", team="search", feature=more.pop("feature", "summaries"), strategy="direct", revision=1,
        provider="openai", model="gpt-5.4-mini", worker="w1", started_ms=at_ms,
    )  # fmt: skip
    price = Price(cost_usd=None if cost is None else Decimal(cost), source="catalogue" if cost else None)
    return AttemptSettled(started=started, status=status, price=price, duration_ms=5, settled_ms=at_ms + 5)


def alert(kind: Any, at_ms: int) -> AlertRaised:
    return AlertRaised(
        alert_id=f"{kind}-{at_ms}", kind=kind, tenant="default", subject="team.search", detail="used up",
        raised_by="router", raised_ms=at_ms,
    )  # fmt: skip


def steady(now: int) -> Facts:
    """A dollar and a half each hour for eight days, all of it known and well spent."""
    hours = range(1, 8 * 24)
    return Facts(settled=[attempt(n, now - now % HOUR - n * HOUR, "1.5") for n in hours])


def spike(facts: Facts, now: int) -> None:
    facts.settled.append(attempt(1000, now - now % HOUR - HOUR + 1, "6"))


def day(facts: Facts, now: int) -> None:
    facts.settled.append(attempt(1000, now - 1, "60"))


def unknown(facts: Facts, now: int) -> None:
    facts.settled.extend(attempt(1000 + n, now - 60_000, "0.1" if n % 2 else None) for n in range(40))


def failed(facts: Facts, now: int) -> None:
    facts.settled.append(attempt(1000, now - 60_000, "2", status="failed", feature=None))


def budget(facts: Facts, now: int) -> None:
    facts.alerts.append(alert("budget-hard", now - 60_000))


def key(facts: Facts, now: int) -> None:
    facts.alerts.append(alert("key-auth", now - 60_000))


TAGS = ("default", "search", "summaries")
CASES: dict[str, tuple[Callable[[Facts, int], None], set[tuple[str, ...]]]] = {
    "keyrail-hourly-spend": (spike, {("default",)}),
    "keyrail-feature-spend": (day, {TAGS}),
    "keyrail-unknown-cost": (unknown, {("default", "openai")}),
    "keyrail-failed-cost": (failed, {("default", "search", "(untagged)")}),
    "keyrail-budgets": (budget, {("default", "budget-hard", "team.search")}),
    "keyrail-provider-keys": (key, {("default", "key-auth", "team.search")}),
}


def test_every_rule_has_a_case() -> None:
    assert CASES.keys() == RULES.keys()


def test_an_ordinary_ledger_raises_nothing(empty: ClickHouse) -> None:
    now = int(time.time() * 1000)
    facts = steady(now)
    facts.alerts.append(alert("budget-hard", now - HOUR))
    ledger_facts.write(empty, facts)
    ledger_facts.roll_up(empty)
    assert [uid for uid in RULES if firing(empty, uid)] == []


@pytest.mark.parametrize("uid", CASES)
def test_an_alert_fires_for_what_it_is_about(empty: ClickHouse, uid: str) -> None:
    happen, whom = CASES[uid]
    now = int(time.time() * 1000)
    facts = steady(now)
    happen(facts, now)
    ledger_facts.write(empty, facts)
    ledger_facts.roll_up(empty)
    assert set(firing(empty, uid)) == whom
    if uid == "keyrail-hourly-spend":
        assert firing(empty, uid) == {("default",): 5.0}
