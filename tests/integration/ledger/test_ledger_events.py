"""From published events to answered questions, on a real nats-server and a real engine."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import pytest
from nats.js import JetStreamContext
from support.attempts import ended, started

from keyrail.contracts import streams, subjects
from keyrail.contracts.base import Json, encode_all, now_ms
from keyrail.contracts.events import (
    AttemptSettled,
    AttemptStarted,
    RequestFinished,
)
from keyrail.contracts.ledger import PAGE, AttemptsQuery, CostsQuery, LedgerPage, RequestQuery
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.ledger import ClickHouse, Ledger, LedgerUnavailable, Parameter
from keyrail_cost_accounting.metrics import Metrics

Ask = Callable[[CostsQuery | AttemptsQuery | RequestQuery], Awaitable[LedgerPage]]
Start = Callable[[Ledger], Awaitable[CostAccounting]]
Settled = Callable[[], Awaitable[None]]


def finished(start: AttemptStarted, **changes: object) -> RequestFinished:
    values: dict[str, object] = {
        "request_id": start.request_id,
        "tenant": start.tenant,
        "key_id": start.key_id,
        "team": start.team,
        "model": f"{start.provider}/{start.model}",
        "dialect": "openai-chat",
        "stream": False,
        "status": "ok",
        "http_status": 200,
        "dispatches": 1,
        "ingress": "ingress-1",
        "received_ms": start.started_ms - 2,
        "duration_ms": 1210,
    }
    return msgspec.convert(values | changes, RequestFinished)


async def attempts(js: JetStreamContext, *events: AttemptStarted | AttemptSettled) -> None:
    await js.publish(subjects.EVENT_ATTEMPT, encode_all(list(events)))


async def requests(js: JetStreamContext, *events: RequestFinished) -> None:
    await js.publish(subjects.EVENT_REQUEST, encode_all(list(events)))


async def total(ask: Ask) -> Mapping[str, Json]:
    page = await ask(CostsQuery())
    assert page.error is None
    return page.rows[0]


async def test_events_become_rows_that_answer_questions(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    first = started()
    second = started(request_id=first.request_id, hop=1, provider="anthropic", model="claude")
    await attempts(js, first, ended(first, cost="0.1", status="failed", failure="rate", http_status=429))
    await attempts(js, second, ended(second, cost="0.000000000001"))
    await requests(js, finished(first))
    await settled()

    page = await ask(RequestQuery(request_id=first.request_id))

    (row,) = page.rows
    assert row["status"] == "ok"
    assert row["cost_usd"] == "0.100000000001"
    assert row["model"] == "openai/gpt-5.4-mini"
    its_attempts = row["attempts"]
    assert isinstance(its_attempts, list)
    one, two = its_attempts
    assert isinstance(one, dict)
    assert isinstance(two, dict)
    assert (one["status"], one["failure"], one["http_status"]) == ("failed", "rate", 429)
    assert (two["provider"], two["input_tokens"], two["cached_input_tokens"]) == ("anthropic", 100, 40)
    assert two["estimated"] is False
    assert str(one["started_at"]).endswith("Z")


async def test_costs_are_grouped_and_exact(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    known, unknown, other = started(), started(), started(team=None, model="gpt-5.4", tenant="other")
    await attempts(js, known, ended(known, cost="0.3"), unknown, ended(unknown, cost=None))
    await attempts(js, other, ended(other, cost=None))
    await settled()

    by_model = (await ask(CostsQuery(by="model"))).rows
    by_team = (await ask(CostsQuery(by="team"))).rows
    one_tenant = (await ask(CostsQuery(tenant="other"))).rows
    later = (await ask(CostsQuery(since_ms=now_ms() + 60_000))).rows

    assert [(row["provider"], row["model"], row["cost_usd"]) for row in by_model] == [
        ("openai", "gpt-5.4", None),
        ("openai", "gpt-5.4-mini", "0.3"),
    ]
    assert by_model[1]["unknown_cost_attempts"] == 1
    assert by_model[1]["input_tokens"] == 200
    assert [(row["team"], row["attempts"]) for row in by_team] == [(None, 1), ("search", 2)]
    assert one_tenant[0]["requests"] == 1
    assert (later[0]["attempts"], later[0]["cost_usd"]) == (0, "0")
    assert len((await ask(CostsQuery(by="day"))).rows) == 1


async def test_redelivered_reordered_and_duplicated_events_change_nothing(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    starts = [started() for _ in range(30)]
    events = [*starts, *(ended(each) for each in starts)]
    await attempts(js, *events)
    await settled()
    expected = await total(ask)
    assert expected["cost_usd"] == "0.00003703701"

    chaos = random.Random(7)
    for _ in range(4):
        chaos.shuffle(events)
        for part in range(0, len(events), 7):
            await attempts(js, *events[part : part + 7])
        await settled()

    assert await total(ask) == expected
    ledger.command("OPTIMIZE TABLE attempts FINAL")
    assert await total(ask) == expected
    assert {str(row["status"]) for row in (await ask(AttemptsQuery())).rows} == {"ok"}


async def test_a_started_event_never_erases_a_cost(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    attempt = started()
    await attempts(js, ended(attempt, cost="0.5"))
    await settled()
    await attempts(js, attempt)
    await settled()

    (row,) = (await ask(AttemptsQuery())).rows

    assert (row["status"], row["cost_usd"]) == ("ok", "0.5")


async def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled, metrics: Metrics
) -> None:
    good, mixed = started(), started()
    bad = json.loads(mixed.encode()) | {"epoch": -1}
    await js.publish(subjects.EVENT_ATTEMPT, b"no json")
    await js.publish(subjects.EVENT_ATTEMPT, json.dumps([bad, json.loads(ended(mixed).encode())]).encode())
    await js.publish("kr.v1.evt.unheard-of", b"[]")
    await attempts(js, ended(good))

    await start(ledger)
    await settled()

    letters = await js.pull_subscribe(subjects.DEAD_LETTERS, stream=streams.DEAD_LETTERS.name)
    messages = await letters.fetch(3, timeout=5)
    by_sequence = {(each.headers or {})["Keyrail-Sequence"]: each for each in messages}
    assert by_sequence["1"].data == b"no json"
    assert json.loads(by_sequence["2"].data) == bad
    headers = by_sequence["2"].headers or {}
    assert headers["Keyrail-Subject"] == subjects.EVENT_ATTEMPT
    assert "epoch" in headers["Keyrail-Reason"]
    assert "not known" in (by_sequence["3"].headers or {})["Keyrail-Reason"]
    assert (await total(ask))["attempts"] == 2
    assert metrics.dead_letters._value.get() == 3  # pyright: ignore[reportPrivateUsage]


async def test_a_long_message_that_is_no_event_is_put_aside_whole(
    js: JetStreamContext, ledger: ClickHouse, start: Start, settled: Settled
) -> None:
    long = b"x" * 900_000
    await js.publish(subjects.EVENT_ATTEMPT, long)
    await start(ledger)
    await settled()

    letters = await js.pull_subscribe(subjects.DEAD_LETTERS, stream=streams.DEAD_LETTERS.name)
    (message,) = await letters.fetch(1, timeout=5)
    assert message.data == long
    assert (await js.stream_info(streams.EVENTS.name)).state.messages == 0, "nowhere else is it kept"


async def test_a_column_that_a_later_release_adds_stops_no_insert(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled, metrics: Metrics
) -> None:
    await start(ledger)
    first, second = started(), started()
    await attempts(js, ended(first))
    await settled()
    ledger.command("ALTER TABLE attempts ADD COLUMN later String DEFAULT 'x' AFTER rank")
    try:
        await attempts(js, ended(second))
        await settled()
        assert metrics.insert_failures._value.get() == 1, "found out by failing once"  # pyright: ignore[reportPrivateUsage]
        assert (await total(ask))["attempts"] == 2
        rows = ledger.ask("SELECT later FROM attempts FINAL", {})
        assert rows == [{"later": "x"}] * 2
    finally:
        ledger.command("ALTER TABLE attempts DROP COLUMN later")


class Faulty:
    """A ledger that fails for a while, half of the time after it had inserted."""

    def __init__(self, inner: ClickHouse, failures: int) -> None:
        self.inner = inner
        self.failures = failures

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        self.failures -= 1
        if self.failures >= 0:
            if self.failures % 2:
                self.inner.insert(table, columns, block, token)
            raise LedgerUnavailable("injected")
        self.inner.insert(table, columns, block, token)

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        return self.inner.ask(sql, parameters)

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        self.inner.command(sql, parameters)


async def test_a_ledger_that_fails_for_a_while_loses_nothing_and_counts_nothing_twice(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    faulty = Faulty(ledger, failures=9)
    await start(faulty)
    for _ in range(20):
        attempt = started()
        await attempts(js, attempt, ended(attempt, cost="0.01"))
        await requests(js, finished(attempt))
    await settled()

    assert faulty.failures < 0
    sums = await total(ask)
    assert (sums["requests"], sums["attempts"], sums["cost_usd"]) == (20, 20, "0.2")
    raw = ledger.ask("SELECT count() AS n FROM attempts WHERE rank = 2", {})
    assert raw == [{"n": 20}], "the insert's token kept the repeated batches out"


async def test_a_service_stopped_while_the_ledger_fails_hands_its_batch_back(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled, metrics: Metrics
) -> None:
    dead = Faulty(ledger, failures=10_000)
    service = await start(dead)
    attempt = started()
    await attempts(js, ended(attempt))
    while metrics.insert_failures._value.get() == 0:  # pyright: ignore[reportPrivateUsage]
        await js.account_info()
    await service.drain()
    info = await js.consumer_info(streams.EVENTS.name, streams.COST_ACCOUNTING.name)
    assert info.ack_floor is not None
    assert info.ack_floor.stream_seq == 0

    await start(ledger)
    await settled()

    assert (await total(ask))["attempts"] == 1


async def test_more_attempts_than_a_page_are_all_listed(
    js: JetStreamContext, ledger: ClickHouse, start: Start, ask: Ask, settled: Settled
) -> None:
    await start(ledger)
    at = now_ms()
    expected = [started(started_ms=at + index // 3) for index in range(PAGE + 700)]
    for part in range(0, len(expected), 300):
        await attempts(js, *(ended(each) for each in expected[part : part + 300]))
    await settled()

    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await ask(AttemptsQuery(cursor=cursor))
        assert page.error is None
        assert len(page.encode()) < 1_000_000
        seen += [str(row["attempt_id"]) for row in page.rows]
        if (cursor := page.cursor) is None:
            break

    assert len(seen) == len(expected)
    assert set(seen) == {each.attempt_id for each in expected}


@pytest.mark.parametrize(
    ("question", "error"),
    [
        (b"not a question", "cannot be read"),
        (b'{"query": {"kind": "attempts", "cursor": "; DROP TABLE attempts"}}', "cursor"),
    ],
)
async def test_a_bad_question_has_an_answer(
    js: JetStreamContext, ledger: ClickHouse, start: Start, question: bytes, error: str
) -> None:
    await start(ledger)

    answer = await js._nc.request(subjects.LEDGER, question, timeout=5)  # pyright: ignore[reportPrivateUsage]

    assert error in (LedgerPage.decode(answer.data).error or "")


async def test_values_are_parameters_and_never_sql(ledger: ClickHouse, start: Start, ask: Ask) -> None:
    await start(ledger)

    page = await ask(CostsQuery(tenant="x' OR 1=1 --", by="team", cursor="') OR 1=1 --"))

    assert page.error is None
    assert page.rows == []
    assert (await ask(RequestQuery(request_id="' OR 1=1"))).rows == []
