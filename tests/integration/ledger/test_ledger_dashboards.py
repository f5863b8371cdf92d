"""Every query of every dashboard, on the real engine: its shape is right, and its sums are the truth's."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from support import grafana, ledger_facts
from support.dashboard_truth import DAY, Number, Truth
from support.grafana import ALL, View, expand

from keyrail.contracts.base import Json
from keyrail_cost_accounting.ledger import ClickHouse, LedgerUnavailable

BOARDS = grafana.boards()
PANELS = {
    f"{uid}/{panel['id']}": (board, panel) for uid, board in BOARDS.items() for panel in grafana.panels(board)
}
HOUR = DAY // 24
CLOCK = int(time.time()) * 1000
NOW = CLOCK if CLOCK % DAY > HOUR else CLOCK - CLOCK % DAY - 1_000
"""The end of all ranges: so late in its day that something happened in it."""
TABLES = ("attempts", "requests", "alerts", "decisions", "costs_minute", "costs_hour", "costs_day", "rollups")


def back(span_ms: int, interval_ms: int, until_ms: int = NOW, **variables: list[str] | str) -> View:
    return View(until_ms - span_ms, until_ms, interval_ms, variables)


RANGES = {
    "six hours": back(6 * HOUR, 60_000),
    "a day": back(DAY, 300_000),
    "a week": back(7 * DAY, 1_800_000),
    "a day long ago": back(DAY, 900_000, NOW - 30 * DAY),
    "four months": back(120 * DAY, DAY),
}
CHOICES = {
    "one team": back(DAY, 300_000, team=["search"]),
    "a quote": back(7 * DAY, HOUR, team=["O'Brien"]),
    "several": back(
        7 * DAY, HOUR, team=["billing", "(untagged)"], model=["echo", "new-model"], tenant=["other"]
    ),
    "nothing chosen": back(DAY, 300_000, team="", feature="", model=[], provider=[ALL], tenant=""),
    "what is not there": back(DAY, 300_000, feature=["nobody's"]),
}  # fmt: skip
VIEWS = RANGES | CHOICES


@pytest.fixture(scope="module")
def seeded(engine: ClickHouse) -> Iterator[tuple[ClickHouse, Truth]]:
    """A ledger full of facts, and the facts."""
    for table in TABLES:
        engine.command(f"TRUNCATE TABLE {table}")
    facts = ledger_facts.invent(NOW)
    ledger_facts.write(engine, facts)
    ledger_facts.roll_up(engine)
    yield engine, Truth(facts, CLOCK)
    for table in TABLES:
        engine.command(f"TRUNCATE TABLE {table}")


def columns(ledger: ClickHouse, sql: str) -> dict[str, str]:
    """The kind of each column, in order. Fails for a type that Grafana's plugin cannot show."""
    kinds: dict[str, str] = {}
    for row in ledger.ask(f"DESCRIBE TABLE ({sql})", {}):
        type = re.sub(r"LowCardinality\((.*)\)|Nullable\((.*)\)", r"\1\2", str(row["type"]))
        type = re.sub(r"Nullable\((.*)\)", r"\1", type)
        found = [
            kind
            for kind, pattern in (
                ("time", r"DateTime(64)?\(.*'UTC'\)"),
                ("name", "String"),
                ("number", r"U?Int\d+|Float64|Decimal\(\d+, \d+\)"),
            )
            if re.fullmatch(pattern, type)
        ]
        assert found, row
        kinds[str(row["name"])] = found[0]
    return kinds


def value(raw: Json, kind: str) -> Any:
    if raw is None or kind == "name":
        return raw
    if kind == "time":
        return round(datetime.fromisoformat(str(raw)).replace(tzinfo=UTC).timestamp() * 1000)
    return Decimal(raw) if isinstance(raw, str) else raw


def shown(
    ledger: ClickHouse, sql: str, kinds: dict[str, str]
) -> dict[tuple[str | int, ...], dict[str, Number]]:
    rows = ledger.ask(f"{sql} SETTINGS output_format_json_quote_decimals = 1", {})
    answer = {
        tuple(value(row[name], kind) for name, kind in kinds.items() if kind != "number"): {
            name: value(row[name], kind) for name, kind in kinds.items() if kind == "number"
        }
        for row in rows
    }
    assert len(answer) == len(rows), "two rows of one group"
    return answer


def expected(
    truth: Truth, sql: str, view: View, kinds: dict[str, str], *, series: bool
) -> dict[tuple[str | int, ...], dict[str, Number]]:
    if "FROM costs_" in sql:
        return truth.of_costs(view, kinds, series=series)
    if "FROM decisions " in sql:
        return truth.of_decisions(view, kinds)
    if "FROM attempts " in sql:
        return truth.of_attempts(view, kinds)
    return truth.of_requests(view, kinds) if "FROM requests " in sql else truth.of_alerts(view, kinds)


def same(one: dict[str, Number], other: dict[str, Number]) -> bool:
    """Decimals and counts exactly; quotients of counts and quantiles to the float's last places."""
    if one.keys() != other.keys():
        return False
    return all(
        a == pytest.approx(b, rel=1e-12) if isinstance(a, float) or isinstance(b, float) else a == b
        for a, b in ((one[name], other[name]) for name in one)
    )


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_shows_the_truth(seeded: tuple[ClickHouse, Truth], name: str) -> None:
    """Each panel in some of the views, and each view with many panels; `make dashboards-test` takes all."""
    first = list(PANELS).index(name)
    cases = list(VIEWS)
    shows_the_truth(seeded, name, [cases[(first + step) % len(cases)] for step in (0, 3, 7)])


@pytest.mark.proof
@pytest.mark.parametrize("name", PANELS)
def test_a_panel_shows_the_truth_in_every_view(seeded: tuple[ClickHouse, Truth], name: str) -> None:
    shows_the_truth(seeded, name, list(VIEWS))


def shows_the_truth(seeded: tuple[ClickHouse, Truth], name: str, cases: list[str]) -> None:
    ledger, truth = seeded
    board, panel = PANELS[name]
    known = tuple(each["name"] for each in board["templating"]["list"])
    series = panel["type"] == "timeseries"
    (target,) = panel["targets"]
    kinds = columns(ledger, expand(target["rawSql"], RANGES["a week"], known))
    order = list(kinds.values())
    assert (order[0] == "time") == series or (panel["type"] == "table" and order.count("time") == 1)
    assert "number" in order or panel["title"] == "Alerts"
    assert panel["type"] != "stat" or set(order) == {"number"}

    for case in cases:
        view = VIEWS[case]
        sql = expand(target["rawSql"], view, known)
        answer = shown(ledger, sql, kinds)
        right = expected(truth, sql, view, kinds, series=series)
        limit = re.search(r"LIMIT (\d+)$", sql)
        assert len(answer) == min(len(right), int(limit[1]) if limit else len(right)), case
        for key, numbers in answer.items():
            assert same(numbers, right[key]), (case, key, numbers, right[key])
        if case not in ("what is not there", "a day long ago", "several"):
            assert answer, case


@pytest.mark.parametrize("uid", BOARDS)
def test_a_variable_offers_what_is_there(seeded: tuple[ClickHouse, Truth], uid: str) -> None:
    ledger, _ = seeded
    offered = {
        each["name"]: [
            next(iter(row.values()))
            for row in ledger.ask(expand(each["query"]["rawSql"], RANGES["a week"]), {})
        ]
        for each in BOARDS[uid]["templating"]["list"]
        if each["type"] == "query"
    }
    assert offered["team"] == ["(untagged)", "O'Brien", "billing", "search"]
    assert offered["model"] == ["claude-haiku", "echo", "gpt-5.4-mini", "new-model"]
    assert offered["tenant"] == ["default", "other"]


def test_a_query_that_is_broken_is_found(seeded: tuple[ClickHouse, Truth]) -> None:
    ledger, truth = seeded
    board, panel = PANELS["keyrail-overview/1"]
    known = tuple(each["name"] for each in board["templating"]["list"])
    view = RANGES["a week"]
    whole = expand(panel["targets"][0]["rawSql"], view, known)
    kinds = columns(ledger, whole)
    with pytest.raises(LedgerUnavailable, match="cost_usdd"):
        shown(ledger, whole.replace("cost_usd", "cost_usdd"), kinds)
    twice = shown(
        ledger,
        whole.replace(
            "costs_hour FINAL", "costs_hour FINAL WHERE 1 UNION ALL SELECT * FROM costs_hour FINAL"
        ),
        kinds,
    )
    assert not same(twice[()], truth.of_costs(view, kinds, series=False)[()])
