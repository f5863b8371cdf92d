"""Decisions and verdicts in the ledger: however they come, and what questions about them answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from nats.js import JetStreamContext

from keyrail.contracts import subjects
from keyrail.contracts.base import Json, encode_all, new_id
from keyrail.contracts.decisions import DecisionsQuery, VerdictsQuery
from keyrail.contracts.events import RequestRouted, VerdictGiven
from keyrail.contracts.ledger import PAGE, LedgerPage, Question
from keyrail.contracts.routing import Candidate
from keyrail.contracts.slips import Facts
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.ledger import ClickHouse, Ledger

Ask = Callable[[Question], Awaitable[LedgerPage]]
Start = Callable[[Ledger], Awaitable[CostAccounting]]
Settled = Callable[[], Awaitable[None]]

NOON = 1_795_435_200_000  # 2026-11-23T12:00Z
REQUEST = str(UUID(int=1))
ROUTED = RequestRouted(
    request_id=REQUEST,
    epoch=0,
    tenant="acme",
    key_id="k1",
    team="search",
    route="chat",
    strategy="smart",
    revision=7,
    task="sums",
    targets=("openai/gpt-5.4-mini", "openai/gpt-5.4"),
    candidates=(
        Candidate(
            target="openai/gpt-5.4-mini", quality=0.9, probability=0.97, cost_usd=Decimal("0.000000000123")
        ),
        Candidate(target="openai/gpt-5.4", gate="breaker", share=0.0),
    ),
    code="clears_bar",
    reason="the cheapest that clears the bar; it's 'quoted' and ümläuted",
    propensity=0.25,
    draw=0.125,
    worth=0.002,
    facts=Facts(model="chat", input_tokens_estimate=12, tools=True),
    router="r1",
    routed_ms=NOON,
)
VERDICT = VerdictGiven(
    verdict_id="v1",
    request_id=REQUEST,
    tenant="acme",
    route="chat",
    task="sums",
    target="openai/gpt-5.4-mini",
    score=0.5,
    source="judge",
    given_by="judge-1",
    given_ms=NOON,
)


async def all_rows(ask: Ask, query: DecisionsQuery | VerdictsQuery) -> list[dict[str, Json]]:
    rows: list[dict[str, Json]] = []
    while True:
        page = await ask(query)
        assert page.error is None
        rows += page.rows
        if page.cursor is None:
            return rows
        query = query.replace(cursor=page.cursor)


async def test_a_decision_is_told_as_it_was_made(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    await js.publish(subjects.EVENT_ROUTED, encode_all([ROUTED]))
    await settled()

    (row,) = (await ask(DecisionsQuery(request_id=REQUEST))).rows
    assert row.pop("routed_at") == "2026-11-23T12:00:00.000Z"
    event = json.loads(ROUTED.encode())
    assert event.pop("event") == "request.routed"
    assert event.pop("routed_ms") == NOON
    assert row == {"feature": None, "failure": None} | event
    told = msgspec.convert(row | {"routed_ms": NOON, "event": "request.routed"}, RequestRouted, strict=False)
    assert told == ROUTED
    assert (await ask(DecisionsQuery(request_id="no id"))).rows == []
    assert (await ask(DecisionsQuery(tenant="other", request_id=REQUEST))).rows == []


async def test_redelivered_and_reordered_decisions_and_verdicts_change_nothing(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    again = ROUTED.replace(epoch=1, routed_ms=NOON + 3_000, targets=(), failure="unavailable")
    later = VERDICT.replace(given_ms=NOON + 86_400_000 * 40, score=0.75, given_by="somebody")
    for decided, said in (([again, ROUTED], [later]), ([ROUTED], [VERDICT]), ([again], [later, VERDICT])):
        await js.publish(subjects.EVENT_ROUTED, encode_all(decided))
        await js.publish(subjects.EVENT_VERDICT, encode_all(said))
        await settled()

    rows = (await ask(DecisionsQuery())).rows
    assert [(row["epoch"], row["failure"]) for row in rows] == [(0, None), (1, "unavailable")]
    assert (await ask(VerdictsQuery())).rows == [
        {
            "verdict_id": "v1",
            "request_id": REQUEST,
            "tenant": "acme",
            "route": "chat",
            "task": "sums",
            "target": "openai/gpt-5.4-mini",
            "score": 0.5,
            "weight": 1.0,
            "source": "judge",
            "given_by": "judge-1",
            "given_at": "2026-11-23T12:00:00.000Z",
        }
    ]


async def test_what_is_no_decision_or_verdict_goes_to_the_dead_letters_alone(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    decision, verdict = json.loads(ROUTED.encode()), json.loads(VERDICT.encode())
    bad = [
        decision | {"candidates": [{"quality": 1}]},
        decision | {"facts": 5},
        decision | {"propensity": 1.5},
        verdict | {"score": -0.1},
        verdict | {"verdict_id": None},
    ]
    await js.publish(subjects.EVENT_ROUTED, json.dumps([*bad[:3], decision]).encode())
    await js.publish(subjects.EVENT_VERDICT, json.dumps([verdict, *bad[3:]]).encode())
    await settled()

    assert len((await ask(DecisionsQuery())).rows) == len((await ask(VerdictsQuery())).rows) == 1
    letters = await js.stream_info("KEYRAIL_DLQ")
    found = [json.loads((await js.get_msg("KEYRAIL_DLQ", n + 1)).data or b"") for n in range(len(bad))]
    assert letters.state.messages == len(bad)
    assert sorted(map(str, found)) == sorted(map(str, bad))


async def test_more_decisions_than_a_page_are_all_listed_in_order(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    ids = [new_id() for _ in range(PAGE + 50)]
    for part in range(0, len(ids), 500):
        made = [
            ROUTED.replace(
                request_id=id,
                routed_ms=NOON + number // 7,
                tenant=("a b", "acme")[number % 2],
                route=("chat", "code")[number % 3 == 0],
            )
            for number, id in enumerate(ids[part : part + 500], part)
        ]
        await js.publish(subjects.EVENT_ROUTED, encode_all(made))
    await settled()

    rows = await all_rows(ask, DecisionsQuery())
    assert sorted(str(row["request_id"]) for row in rows) == sorted(ids)
    keys = [(str(row["tenant"]), str(row["routed_at"])) for row in rows]
    assert keys == sorted(keys)
    of_route = await all_rows(
        ask, DecisionsQuery(route="code", most=97, since_ms=NOON + 5, until_ms=NOON + 9)
    )
    assert sorted(str(row["request_id"]) for row in of_route) == sorted(
        id for number, id in enumerate(ids) if number % 3 == 0 and 5 <= number // 7 < 9
    )


async def test_verdicts_are_listed_by_time_and_route(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    made = [
        VERDICT.replace(verdict_id=f"{number} '; x", given_ms=NOON + number // 3, request_id=None)
        for number in range(PAGE + 10)
    ]
    await js.publish(
        subjects.EVENT_VERDICT, encode_all([*made, VERDICT.replace(verdict_id="r", route="code")])
    )
    await settled()

    rows = await all_rows(ask, VerdictsQuery(route="chat", task="sums"))
    assert sorted(str(row["verdict_id"]) for row in rows) == sorted(each.verdict_id for each in made)
    assert all(row["request_id"] is None for row in rows)
    assert [row["verdict_id"] for row in await all_rows(ask, VerdictsQuery(route="code"))] == ["r"]
    assert await all_rows(ask, VerdictsQuery(task="other")) == []


@pytest.mark.parametrize(
    "cursor", ["", "x", "2026-11-23T12:00:00.000Z a 0 acme", "2026-11-23T12:00:00.000Z b"]
)
async def test_a_decisions_cursor_that_no_page_gave_is_refused(
    ledger: ClickHouse, start: Start, ask: Ask, cursor: str
) -> None:
    await start(ledger)
    assert "cursor" in ((await ask(DecisionsQuery(cursor=cursor))).error or "")
