"""Rows that decode, and that the engine refuses all the same: they stop nobody."""

from __future__ import annotations

from nats.js import JetStreamContext
from support.attempts import ended, started
from test_ledger_events import Ask, Settled, Start, attempts, finished, requests, total

from keyrail.contracts import streams, subjects
from keyrail_cost_accounting.ledger import ClickHouse
from keyrail_cost_accounting.metrics import Metrics

NOON = 1_795_435_200_000


def failures(metrics: Metrics) -> float:
    return metrics.insert_failures._value.get()  # pyright: ignore[reportPrivateUsage]


async def test_a_row_that_the_engine_refuses_is_put_aside_and_its_batch_goes_on(
    js: JetStreamContext,
    ledger: ClickHouse,
    start: Start,
    ask: Ask,
    settled: Settled,
    metrics: Metrics,
) -> None:
    ledger.command("ALTER TABLE attempts ADD CONSTRAINT no_bad CHECK model != 'bad'")
    try:
        all_ = [ended(started(model="bad" if index in {7, 30} else "good"), cost="1") for index in range(50)]
        for part in range(0, 50, 10):
            await attempts(js, *all_[part : part + 10])
        await start(ledger)
        await settled()

        letters = await js.pull_subscribe(subjects.DEAD_LETTERS, stream=streams.DEAD_LETTERS.name)
        messages = await letters.fetch(2, timeout=5)
        assert {message.data for message in messages} == {all_[7].encode(), all_[30].encode()}
        reasons = {(message.headers or {})["Keyrail-Reason"] for message in messages}
        assert reasons == {"ClickHouse does not take it: VIOLATED_CONSTRAINT (469)"}
        sums = await total(ask)
        assert (sums["attempts"], sums["cost_usd"]) == (48, "48")
        assert ledger.ask("SELECT count() AS n FROM attempts", {}) == [{"n": 48}]
        assert failures(metrics) == 0, "it is no outage"
    finally:
        ledger.command("ALTER TABLE attempts DROP CONSTRAINT no_bad")


async def test_a_table_that_takes_no_row_at_all_loses_none(
    js: JetStreamContext,
    ledger: ClickHouse,
    start: Start,
    ask: Ask,
    settled: Settled,
    metrics: Metrics,
) -> None:
    ledger.command("ALTER TABLE attempts ADD CONSTRAINT nothing CHECK model = 'other'")
    try:
        await attempts(js, *(ended(started()) for _ in range(21)))
        await start(ledger)
        while failures(metrics) < 2:
            await js.account_info()
    finally:
        ledger.command("ALTER TABLE attempts DROP CONSTRAINT nothing")
    await settled()
    assert (await total(ask))["attempts"] == 21
    assert (await js.stream_info(streams.DEAD_LETTERS.name)).state.messages == 0


async def test_requests_of_a_hundred_and_ten_months_are_one_batch_like_any(
    js: JetStreamContext, ledger: ClickHouse, start: Start, settled: Settled, metrics: Metrics
) -> None:
    month_ms = 31 * 86_400_000
    first = started()
    await requests(js, *(finished(first, received_ms=NOON + n * month_ms) for n in range(110)))
    await start(ledger)
    await settled()
    assert ledger.ask("SELECT count() AS n FROM requests", {}) == [{"n": 110}]
    assert failures(metrics) == 0
