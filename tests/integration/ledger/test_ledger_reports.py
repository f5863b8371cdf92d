"""Reports of providers on a real ledger: kept once, and tied out against a month whose truth is known."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from keyrail.contracts.base import new_id
from keyrail.contracts.ledger import PAGE, LedgerPage, LedgerQuery, Question
from keyrail.contracts.reports import (
    KeySum,
    KeySumsQuery,
    LineKind,
    ReportLine,
    ReportLinesQuery,
    StoreReport,
)
from keyrail.reconciliation import comparison, shown, totals
from keyrail.reconciliation.comparison import Comparison
from keyrail_cost_accounting import blocks, rows, wire
from keyrail_cost_accounting.answers import Answers
from keyrail_cost_accounting.content_deletion import Deletions
from keyrail_cost_accounting.ledger import ClickHouse

D = Decimal
FIRST = date(2026, 11, 1)
DAYS = 30
PRICES = {"gpt-5.4-mini": (D("0.75"), D("4.5")), "gpt-5.4": (D("2.5"), D("15"))}
WRONG_SINCE = date(2026, 11, 21)  # from here on gpt-5.4 is billed with a discount that nobody configured
MILLION = 1_000_000


def answers(ledger: ClickHouse) -> Answers:
    """Nobody deletes contents here, or asks for prices."""
    return Answers(ledger, Deletions(ledger, JetStreamContext(Client())), lambda: None)


@pytest.fixture
def reports(ledger: ClickHouse) -> ClickHouse:
    ledger.command("TRUNCATE TABLE provider_reports")
    return ledger


@dataclass
class Call:
    """An upstream call as the provider knows it. `ledger`: what the ledger has of it; None: nothing."""

    day: date
    second: int
    model: str
    tokens: tuple[int, int]
    cost: Decimal
    billed_on: date
    key: str = "main"
    ledger: tuple[tuple[int, int], Decimal] | None = None
    estimated: bool = False
    took_s: int = 2


@dataclass
class Month:
    """All calls, and what was injected by class."""

    calls: list[Call] = field(default_factory=list[Call])
    injected: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def cost(model: str, tokens: tuple[int, int]) -> Decimal:
    return sum((D(count) * price / MILLION for count, price in zip(tokens, PRICES[model], strict=True)), D(0))


def month() -> Month:
    """Calls of thirty days on two keys, with one kind of difference in each bucket at most."""
    chance, made = random.Random(5), Month()
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        for model in PRICES:
            for key in ("main", "second"):
                for _ in range(chance.randint(1, 5)):
                    tokens = chance.randint(100, 9_000), chance.randint(10, 900)
                    known = tokens, cost(model, tokens)
                    billed = known[1]
                    if model == "gpt-5.4" and day >= WRONG_SINCE:
                        billed = billed * D("0.9")
                        made.injected["price"] += billed - known[1]
                    made.calls.append(
                        Call(day, chance.randint(0, 86_000), model, tokens, billed, day, key, known)
                    )
    for number in (3, 9):  # without the gateway, on our own key and on somebody else's
        for key in ("main", "notebook"):
            day, tokens = FIRST + timedelta(days=number), (5_000, 500)
            made.calls.append(Call(day, 100, "gpt-5.4-mini", tokens, cost("gpt-5.4-mini", tokens), day, key))
            made.injected["outside"] += made.calls[-1].cost
    day, tokens = FIRST + timedelta(days=12), (7_000, 700)  # over midnight
    known = tokens, cost("gpt-5.4-mini", tokens)
    after = day + timedelta(days=1)
    made.calls.append(Call(day, 86_399, "gpt-5.4-mini", tokens, known[1], after, "main", known, took_s=30))
    day, guess = FIRST + timedelta(days=16), (4_000, 900)  # a stream that was cut: guessed too high
    known = guess, cost("gpt-5.4-mini", guess)
    tokens = 3_900, 600
    call = Call(day, 50, "gpt-5.4-mini", tokens, cost("gpt-5.4-mini", tokens), day, "second", known, True)
    made.calls.append(call)
    made.injected["estimated"] += call.cost - known[1]
    return made


def insert(ledger: ClickHouse, calls: list[Call]) -> None:
    settled = [rows.settled_row(event(call)) for call in calls if call.ledger is not None]
    for _ in range(2):  # delivered twice
        ledger.insert("attempts", rows.ATTEMPT_COLUMNS, blocks.encode("attempts", settled), new_id())


def event(call: Call) -> wire.AttemptSettled:
    assert call.ledger is not None
    at = datetime(call.day.year, call.day.month, call.day.day, tzinfo=UTC).timestamp() + call.second
    started = int(at * 1000)
    tokens, price = call.ledger
    return msgspec.convert(
        {
            "started": {
                "attempt_id": new_id(),
                "request_id": new_id(),
                "epoch": 1,
                "hop": 0,
                "tenant": "default",
                "key_id": "k",
                "strategy": "direct",
                "revision": 1,
                "provider": "openai",
                "model": call.model,
                "provider_key_id": call.key,
                "worker": "w",
                "started_ms": started,
            },
            "status": "ok",
            "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1], "estimated": call.estimated},
            "price": {"cost_usd": price, "source": "catalogue"},
            "duration_ms": call.took_s * 1000,
            "settled_ms": started + call.took_s * 1000,
        },
        wire.AttemptSettled,
    )


def report(calls: list[Call]) -> list[ReportLine]:
    """Tokens by snapshot, and money by line item, as OpenAI gives them."""
    sums: defaultdict[tuple[date, str, str], list[Call]] = defaultdict(list)
    for call in calls:
        sums[call.billed_on, call.key, call.model].append(call)
    lines: list[ReportLine] = []
    for (day, key, model), found in sorted(sums.items()):
        kinds: tuple[LineKind, ...] = ("usage", "cost")
        usage, money = (
            ReportLine(
                day=day.isoformat(),
                kind=kind,
                account_key=f"key_{key}",
                model=f"{model}-2026-03-05",
                source=kind,
            )
            for kind in kinds
        )
        prompt, answer = (sum(call.tokens[index] for call in found) for index in (0, 1))
        lines.append(usage.replace(requests=len(found), input_tokens=prompt, output_tokens=answer))
        lines.append(money.replace(cost_usd=sum((call.cost for call in found), D(0))))
    return lines


async def asked(ledger: ClickHouse, question: Question) -> LedgerPage:
    page = LedgerPage.decode(await answers(ledger).answer(LedgerQuery(query=question).encode()))
    assert page.error is None, page.error
    return page


async def store(ledger: ClickHouse, lines: list[ReportLine], imported_ms: int) -> None:
    import_id = shown.import_id("openai", lines)
    for first in range(0, len(lines), 100):
        query = StoreReport(
            provider="openai", import_id=import_id, imported_ms=imported_ms, lines=lines[first : first + 100]
        )
        page = await asked(ledger, query)
        assert page.rows == [{"stored": len(query.lines)}]


async def stored(ledger: ClickHouse, since: date = FIRST, days: int = DAYS) -> list[ReportLine]:
    query = ReportLinesQuery(
        provider="openai",
        since_day=since.isoformat(),
        until_day=(since + timedelta(days=days - 1)).isoformat(),
    )
    page = await asked(ledger, query)
    assert page.cursor is None
    return msgspec.convert(page.rows, list[ReportLine], strict=False)


async def summed(ledger: ClickHouse) -> list[KeySum]:
    until = FIRST + timedelta(days=DAYS - 1)
    query = KeySumsQuery(provider="openai", since_day="2026-10-31", until_day=until.isoformat())
    page = await asked(ledger, query)
    return msgspec.convert(page.rows, list[KeySum], strict=False)


async def tied(ledger: ClickHouse) -> Comparison:
    told = {"key_main": "main", "key_second": "second"}
    return comparison.compare("openai", await stored(ledger), await summed(ledger), told, FIRST.isoformat())


async def test_what_was_injected_into_a_month_is_found_by_class(reports: ClickHouse) -> None:
    made = month()
    insert(reports, made.calls)
    await store(reports, report(made.calls), 1_795_000_000_000)
    found = await tied(reports)
    total = totals.total(found)
    by_class = {each.name: each for each in total.by_class}
    assert total.invoice_usd == sum((call.cost for call in made.calls), D(0))
    assert {name: by_class[name].usd for name in ("outside", "price", "estimated")} == pytest.approx(
        dict(made.injected), rel=D("1e-9")
    )
    late = cost("gpt-5.4-mini", (7_000, 700))
    assert (by_class["late"].usd, by_class["late"].absolute_usd) == (0, 2 * late)
    assert "unexplained" not in by_class
    assert total.explained_share == 1
    assert found.outside_keys == ["key_notebook"]
    assert {bucket.ratio for bucket in found.buckets} == {None, D("0.9")}


async def test_a_month_without_differences_ties_out_exactly(reports: ClickHouse) -> None:
    calls = [call for call in month().calls if call.ledger is not None and call.billed_on == call.day]
    for call in calls:
        assert call.ledger is not None
        call.tokens, call.cost = call.ledger
    insert(reports, calls)
    await store(reports, report(calls), 1_795_000_000_000)
    total = totals.total(await tied(reports))
    assert (total.by_class, total.tied_share, total.difference_usd) == ([], 1, 0)


async def test_one_call_that_the_ledger_lost_shows(reports: ClickHouse) -> None:
    calls = [call for call in month().calls if call.ledger is not None]
    lost = next(call for call in calls if call.model == "gpt-5.4-mini" and call.day == FIRST)
    insert(reports, [call for call in calls if call is not lost])
    await store(reports, report(calls), 1_795_000_000_000)
    (bucket,) = [each for each in (await tied(reports)).buckets if "outside" in each.parts]
    assert bucket.place[:3] == (FIRST.isoformat(), lost.key, "gpt-5.4-mini")
    assert bucket.parts["outside"] == pytest.approx(lost.cost, rel=D("1e-9"))


async def test_the_same_report_twice_changes_nothing(reports: ClickHouse) -> None:
    lines = report(month().calls)
    await store(reports, lines, 1_795_000_000_000)
    once = await stored(reports)
    await store(reports, lines, 1_795_000_000_000)
    await store(reports, lines, 1_795_000_001_000)
    assert await stored(reports) == once
    assert sum((line.cost_usd or D(0) for line in once), D(0)) == sum(
        (call.cost for call in month().calls), D(0)
    )


async def test_a_newer_report_takes_the_place_of_the_days_it_has(reports: ClickHouse) -> None:
    lines = report(month().calls)
    await store(reports, lines, 1_795_000_000_000)
    day = FIRST.isoformat()
    newer = ReportLine(
        day=day, kind="cost", account_key="key_main", model="gpt-5.4", line="x", cost_usd=D("7.5"), source="s"
    )
    await store(reports, [newer], 1_795_000_001_000)
    found = await stored(reports)
    assert [line for line in found if line.day == day and line.kind == "cost"] == [newer]
    kept = [line for line in lines if line.kind == "usage" or line.day != day]
    assert len(found) == len(kept) + 1


async def test_what_was_not_billed_is_not_in_the_sums(reports: ClickHouse) -> None:
    call = Call(FIRST, 5, "gpt-5.4", (10, 1), D(0), FIRST, "main", ((10, 1), D(0)))
    unbilled = msgspec.structs.replace(
        event(call), price=wire.Price(cost_usd=D(0), source="not-billed"), status="failed"
    )
    unknown = msgspec.structs.replace(event(call), price=wire.Price())
    reports.insert(
        "attempts",
        rows.ATTEMPT_COLUMNS,
        blocks.encode("attempts", [rows.settled_row(unbilled), rows.settled_row(unknown)]),
        new_id(),
    )
    (only,) = await summed(reports)
    assert (only.requests, only.unknown_cost_attempts, only.unknown_input_tokens) == (1, 1, 10)
    assert only.cost_usd == 0


async def test_sums_come_in_pages(reports: ClickHouse) -> None:
    calls = [
        Call(FIRST, 5, "gpt-5.4", (10, 1), D(1), FIRST, f"key{number:05}", ((10, 1), D(1)))
        for number in range(PAGE + 1)
    ]
    insert(reports, calls)
    query = KeySumsQuery(provider="openai", since_day="2026-11-01", until_day="2026-11-01")
    first = await asked(reports, query)
    assert first.cursor is not None
    second = await asked(reports, query.replace(cursor=first.cursor))
    keys = [row["key_id"] for page in (first, second) for row in page.rows]
    assert keys == [call.key for call in calls]
    assert second.cursor is None


@pytest.mark.parametrize(
    "changes",
    [{"day": "yesterday"}, {"input_tokens": -1}, {"cost_usd": D("1e21")}, {"model": "m" * 301}],
    ids=["day", "count", "money", "name"],
)
async def test_a_line_that_no_column_holds_is_refused(
    reports: ClickHouse, changes: dict[str, object]
) -> None:
    line = ReportLine(day="2026-11-01", kind="both", source="s").replace(**changes)
    query = StoreReport(provider="openai", import_id=str(UUID(int=1)), imported_ms=1, lines=[line])
    page = LedgerPage.decode(await answers(reports).answer(LedgerQuery(query=query).encode()))
    assert page.error == "the question cannot be read"
    assert await stored(reports) == []
