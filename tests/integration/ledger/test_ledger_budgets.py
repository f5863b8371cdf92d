"""What counts towards budgets, and alerts, asked over the bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec
import pytest
from nats.js import JetStreamContext

from keyrail.contracts import budgets, subjects
from keyrail.contracts.base import Json, encode_all, new_id
from keyrail.contracts.events import AlertRaised, AttemptSettled, AttemptStarted
from keyrail.contracts.ledger import PAGE, AlertsQuery, HoldQuery, LedgerPage, Question, SpendQuery
from keyrail.contracts.usage import Price
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.ledger import ClickHouse, Ledger

Ask = Callable[[Question], Awaitable[LedgerPage]]
Start = Callable[[Ledger], Awaitable[CostAccounting]]
Settled = Callable[[], Awaitable[None]]

NOON = 1_795_435_200_000  # 2026-11-23T12:00Z
MIDNIGHT = NOON + 12 * 3_600_000


def started(**changes: object) -> AttemptStarted:
    values: dict[str, object] = {
        "attempt_id": new_id(),
        "request_id": new_id(),
        "epoch": 1,
        "hop": 0,
        "tenant": "acme",
        "key_id": "k1",
        "team": "search",
        "strategy": "direct",
        "revision": 1,
        "provider": "openai",
        "model": "gpt-5.4-mini",
        "worker": "w1",
        "router": "r1",
        "held_usd": "0.25",
        "received_ms": NOON,
        "started_ms": NOON + 5,
    }
    return msgspec.convert(values | changes, AttemptStarted)


def ended(start: AttemptStarted, cost: str | None, **changes: object) -> AttemptSettled:
    values: dict[str, object] = {
        "started": start,
        "status": "ok",
        "price": Price(cost_usd=None if cost is None else Decimal(cost)),
        "duration_ms": 1200,
        "settled_ms": start.started_ms + 1200,
    }
    return msgspec.convert(values | changes, AttemptSettled)


async def publish(js: JetStreamContext, *events: AttemptStarted | AttemptSettled) -> None:
    await js.publish(subjects.EVENT_ATTEMPT, encode_all(list(events)))


async def row(ask: Ask, query: Question) -> dict[str, Json]:
    page = await ask(query)
    assert page.error is None
    (only,) = page.rows
    return only


async def test_what_was_spent_is_what_is_known_and_what_was_held_for_the_rest(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    await publish(
        js,
        ended(started(), "0.1"),
        ended(started(key_id="k2"), "0.000000000001"),
        ended(started(team=None), None, status="lost"),  # 0.25
        started(team="other", held_usd="1"),  # runs
        ended(started(held_usd=None, router=None, team=None), None),  # nothing is known of it at all
        ended(started(tenant="other"), "7"),
    )
    await settled()

    async def spent(team: str | None = None, key_id: str | None = None) -> object:
        query = SpendQuery(tenant="acme", team=team, key_id=key_id, since_ms=NOON)
        return (await row(ask, query))["cost_usd"]

    assert await spent() == "1.350000000001"
    assert await spent(team="search") == "0.100000000001"
    assert await spent(key_id="k2") == "0.000000000001"
    assert await spent(key_id="k1", team="search") == "0.1"
    assert await spent(team="nobody") == "0"


async def test_an_attempt_counts_in_the_period_in_which_its_request_came_in(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    late = started(received_ms=MIDNIGHT - 1, started_ms=MIDNIGHT + 3_600_000)
    early = started(received_ms=MIDNIGHT, started_ms=MIDNIGHT)
    old = started(received_ms=None, router=None, held_usd=None, started_ms=MIDNIGHT + 10)
    await publish(js, ended(late, "1"), ended(early, "2"), ended(old, "4"))
    await settled()

    async def spent(at_ms: int) -> object:
        since_ms, until_ms = budgets.period_bounds("day", at_ms)
        return (await row(ask, SpendQuery(tenant="acme", since_ms=since_ms, until_ms=until_ms)))["cost_usd"]

    assert await spent(NOON) == "1"
    assert await spent(MIDNIGHT) == "6"
    assert await spent(MIDNIGHT + 86_400_000) == "0"


async def test_a_million_attempts_at_the_highest_price_still_have_a_sum(ledger: ClickHouse) -> None:
    (found,) = ledger.ask(
        "SELECT toString(sum(ifNull(c, h))) AS s FROM"
        " (SELECT CAST('999999.999999999999' AS Nullable(Decimal(18, 12))) AS c,"
        " CAST(NULL AS Nullable(Decimal(18, 12))) AS h FROM numbers(1000000))",
        {},
    )
    assert found["s"] == "999999999999.999999"


async def test_a_started_event_that_comes_again_erases_neither_cost_nor_what_was_held(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    attempt = started()
    await publish(js, ended(attempt, None))
    await settled()
    await publish(js, attempt.replace(held_usd=None, router=None, received_ms=None))
    await settled()

    query = HoldQuery(request_id=attempt.request_id, router="r1")
    assert await row(ask, query) == {"attempts": 1, "running": 0, "cost_usd": "0", "unknown": ["0.25"]}


async def test_a_routers_hold_is_told_attempt_by_attempt(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    one = started()
    again = {"request_id": one.request_id}
    await publish(
        js,
        ended(one, "0.1", status="failed"),
        ended(started(**again, hop=1), "0.000000000001"),
        ended(started(**again, hop=2), None),
        ended(started(**again, hop=3, held_usd=None), None),
        started(**again, hop=4),
        ended(started(**again, epoch=2, router="r2"), "5"),
    )
    await settled()

    first = await row(ask, HoldQuery(request_id=one.request_id, router="r1"))
    assert first.pop("unknown") in (["0.25", None], [None, "0.25"])
    assert first == {"attempts": 5, "running": 1, "cost_usd": "0.100000000001"}
    assert (await row(ask, HoldQuery(request_id=one.request_id, router="r2")))["cost_usd"] == "5"
    nothing = {"attempts": 0, "running": 0, "cost_usd": "0", "unknown": []}
    assert await row(ask, HoldQuery(request_id=new_id(), router="r1")) == nothing
    assert (await ask(HoldQuery(request_id="' OR 1=1", router="r1"))).error is not None


def alert(**changes: object) -> AlertRaised:
    values: dict[str, object] = {
        "alert_id": new_id(),
        "kind": "budget-soft",
        "tenant": "acme",
        "subject": "key.k1.d20261123",
        "detail": "above 5 US dollars",
        "raised_by": "r1",
        "raised_ms": NOON,
    }
    return msgspec.convert(values | changes, AlertRaised)


async def test_an_alert_that_is_raised_again_is_the_same_one(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    first = alert(alert_id="a", raised_ms=NOON + 1)
    other = alert(alert_id="b", tenant="other", kind="key-auth")
    again = first.replace(raised_ms=NOON + 2, raised_by="r2")
    await js.publish(subjects.EVENT_ALERT, encode_all([first, other]))
    await settled()
    await js.publish(subjects.EVENT_ALERT, encode_all([again]))
    await settled()

    rows = (await ask(AlertsQuery())).rows
    assert [each["alert_id"] for each in rows] == ["b", "a"]
    assert rows[1] == {
        "alert_id": "a",
        "kind": "budget-soft",
        "tenant": "acme",
        "subject": "key.k1.d20261123",
        "detail": "above 5 US dollars",
        "raised_by": "r1",
        "raised_at": "2026-11-23T12:00:00.001Z",
    }
    assert [each["alert_id"] for each in (await ask(AlertsQuery(tenant="other"))).rows] == ["b"]
    assert [each["alert_id"] for each in (await ask(AlertsQuery(since_ms=NOON + 1))).rows] == ["a"]
    assert (await ask(AlertsQuery(since_ms=NOON + 2))).rows == []


async def test_more_alerts_than_a_page_are_all_listed(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    names = [f"{number} '; a b" for number in range(PAGE + 10)]
    await js.publish(
        subjects.EVENT_ALERT,
        encode_all([alert(alert_id=name, raised_ms=NOON + index // 7) for index, name in enumerate(names)]),
    )
    await settled()

    first = await ask(AlertsQuery())
    second = await ask(AlertsQuery(cursor=first.cursor))
    assert second.cursor is None
    assert {str(each["alert_id"]) for each in (*first.rows, *second.rows)} == set(names)
    assert len(first.rows) + len(second.rows) == len(names)


@pytest.mark.parametrize("cursor", ["", "x", "yesterday a"])
async def test_a_cursor_that_no_page_gave_is_refused(
    ledger: ClickHouse, start: Start, ask: Ask, cursor: str
) -> None:
    await start(ledger)
    assert "cursor" in ((await ask(AlertsQuery(cursor=cursor))).error or "")
