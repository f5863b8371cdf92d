"""Tests of events again over HTTP, by the client of production, and what only a server can do wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from nats.js import JetStreamContext
from pydantic import SecretStr
from support.attempts import ended, started
from support.clickhouse_http import PASSWORD, Fault
from support.clickhouse_process import ClickHouseProcess
from test_ledger_events import (
    Ask,
    Settled,
    Start,
    attempts,
    finished,
    requests,
    total,
)
from test_ledger_events import test_events_become_rows_that_answer_questions as test_events
from test_ledger_events import test_poison_goes_to_the_dead_letters_and_the_rest_goes_on as test_poison
from test_ledger_events import test_redelivered_reordered_and_duplicated_events_change_nothing as test_chaos
from test_ledger_refused import failures
from test_ledger_refused import (
    test_a_row_that_the_engine_refuses_is_put_aside_and_its_batch_goes_on as test_refused,
)

from keyrail.bus.connection import Bus
from keyrail.contracts import streams
from keyrail.contracts.ledger import CostsQuery
from keyrail_cost_accounting import ledger as door
from keyrail_cost_accounting.ledger import ClickHouse, LedgerRefused, LedgerUnavailable, open_ledger
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.migrate import migrate
from keyrail_cost_accounting.process import Process
from keyrail_cost_accounting.settings import Settings

__all__ = [
    "test_chaos",
    "test_events",
    "test_poison",
    "test_refused",
]

SECRET = "a text of a customer's"
OUTAGES = {
    "exception": Fault(kind="error", code=999, message=f"Code: 999. {SECRET} (KEEPER_EXCEPTION)"),
    "503": Fault(kind="error", status=503),
    "too-many-parts": Fault(kind="error", code=252, message="Code: 252. (TOO_MANY_PARTS)"),
    "memory": Fault(kind="error", code=241, message=f"Code: 241. {SECRET} (MEMORY_LIMIT_EXCEEDED)"),
    "no-answer": Fault(kind="hang"),
    "no-answer-though-done": Fault(kind="hang", when="after"),
    "cut-in-the-request": Fault(
        kind="cut", times=2
    ),  # the client itself tries once more, with the same token
    "cut-in-the-answer": Fault(kind="cut", when="after"),
    "slow": Fault(kind="slow", seconds=0.3),
}


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    """ClickHouse's HTTP interface in a process of its own."""
    process = ClickHouseProcess(tmp_path_factory.mktemp("clickhouse"))
    process.start()
    yield process
    process.kill()


@pytest.fixture(scope="module")
def engine(clickhouse: ClickHouseProcess) -> Iterator[ClickHouse]:
    """In place of the embedded ledger: all tests here that want a ledger have one over HTTP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "ANSWER_S", 2)
        ledger = open_ledger(clickhouse.url)
    migrate(ledger)
    yield ledger
    ledger.close()


@pytest.fixture(autouse=True)
def no_faults(clickhouse: ClickHouseProcess) -> Iterator[None]:
    yield
    clickhouse.fail()


@pytest.mark.parametrize("name", OUTAGES)
async def test_whatever_the_server_does_nothing_is_lost_and_nothing_is_there_twice(
    name: str,
    js: JetStreamContext,
    clickhouse: ClickHouseProcess,
    ledger: ClickHouse,
    start: Start,
    ask: Ask,
    settled: Settled,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = clickhouse.seen()
    begun, applied_before = len(before.tokens), len(before.applied)
    fault = OUTAGES[name]
    clickhouse.fail(*(replace(fault, match=f"INTO {table} ") for table in ("attempts", "requests")))
    for _ in range(20):
        attempt = started()
        await attempts(js, attempt, ended(attempt, cost="0.01"))
        await requests(js, finished(attempt))
    await start(ledger)
    await settled()

    sums = await total(ask)
    assert (sums["requests"], sums["attempts"], sums["cost_usd"]) == (20, 20, "0.2")
    assert ledger.ask("SELECT count() AS n FROM attempts", {}) == [{"n": 20}], "by the token already"
    assert ledger.ask("SELECT count() AS n FROM requests", {}) == [{"n": 20}]
    tokens = clickhouse.seen().tokens[begun:]
    assert len(set(tokens)) == 1, "tried again with its own token"
    applied = clickhouse.seen().applied[applied_before:]
    again = 1 if fault.when == "after" else 0
    assert len(applied) == 2 + 2 * again, "the fault happened when it should"
    failed = 0 if name == "slow" else 2
    assert failures(metrics) == failed
    records = [record for record in caplog.records if record.getMessage() == "insert failed"]
    assert len(records) == failed
    assert SECRET not in caplog.text + str([vars(record) for record in caplog.records])


@pytest.mark.parametrize("fault", ["503", "memory", "no-answer", "cut-in-the-answer"])
async def test_a_question_during_an_outage_has_an_answer_that_says_so_and_the_next_one_is_answered(
    fault: str,
    clickhouse: ClickHouseProcess,
    ledger: ClickHouse,
    start: Start,
    ask: Ask,
) -> None:
    await start(ledger)
    clickhouse.fail(replace(OUTAGES[fault], match="SELECT", times=-1))
    page = await ask(CostsQuery())
    assert page.error == "the ledger does not answer at the moment"
    assert page.rows == []

    clickhouse.fail()
    assert (await ask(CostsQuery())).error is None


async def test_a_connection_that_is_cut_once_is_no_matter_to_a_question(
    clickhouse: ClickHouseProcess, ledger: ClickHouse, start: Start, ask: Ask
) -> None:
    await start(ledger)
    clickhouse.fail(Fault(kind="cut", match="SELECT"))
    assert (await ask(CostsQuery())).error is None


async def test_a_server_that_is_killed_and_comes_back_goes_on(
    js: JetStreamContext,
    clickhouse: ClickHouseProcess,
    ledger: ClickHouse,
    start: Start,
    ask: Ask,
    settled: Settled,
    metrics: Metrics,
) -> None:
    await start(ledger)
    first, second = started(), started()
    await attempts(js, ended(first))
    await settled()
    clickhouse.kill()
    try:
        assert (await ask(CostsQuery())).error == "the ledger does not answer at the moment"
        await attempts(js, ended(second))
        while failures(metrics) < 3:
            await js.account_info()
    finally:
        clickhouse.start()
    await settled()
    assert (await total(ask))["attempts"] == 2


async def test_an_insert_that_hangs_keeps_nobody_from_leaving(
    js: JetStreamContext, clickhouse: ClickHouseProcess, ledger: ClickHouse, start: Start, settled: Settled
) -> None:
    service = await start(ledger)
    clickhouse.fail(Fault(kind="hang", match="INTO attempts ", times=-1))
    await attempts(js, ended(started()))
    await service.drain()  # as long as one insert may take, not for ever
    info = await js.consumer_info(streams.EVENTS.name, streams.COST_ACCOUNTING.name)
    assert info.ack_floor is not None
    assert info.ack_floor.stream_seq == 0

    clickhouse.fail()
    await start(ledger)
    await settled()
    assert ledger.ask("SELECT count() AS n FROM attempts", {}) == [{"n": 1}]


def test_wrong_credentials_and_a_database_that_is_not_there_are_named(clickhouse: ClickHouseProcess) -> None:
    with pytest.raises(LedgerRefused, match=r"the user or the password: AUTHENTICATION_FAILED \(516\)"):
        open_ledger(clickhouse.url, user="writer", password="wrong")
    open_ledger(clickhouse.url, user="writer", password=PASSWORD).close()
    with pytest.raises(LedgerRefused, match=r"the database in KEYRAIL_LEDGER does not exist"):
        open_ledger(f"{clickhouse.address}/nowhere")


def test_a_server_that_does_not_answer_is_no_refusal(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LedgerUnavailable, match="no answer from ClickHouse: NewConnectionError") as caught:
        open_ledger("http://127.0.0.1:9/default")
    assert not isinstance(caught.value, LedgerRefused)
    assert logging.ERROR not in {record.levelno for record in caplog.records}


async def test_a_process_with_the_wrong_password_ends_and_says_why(
    clickhouse: ClickHouseProcess, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(ledger=clickhouse.url, ledger_user="writer", ledger_password=SecretStr("wrong"))
    with pytest.raises(LedgerRefused):
        await Process(bus, settings).start()
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "AUTHENTICATION_FAILED" in vars(record)["error"]
