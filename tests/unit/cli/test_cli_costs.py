from __future__ import annotations

import csv
import io
import itertools
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from support.admin import Admin

from keyrail_cli import main
from keyrail_cli.bars import bars

ROW = {
    "requests": 4, "attempts": 6, "ok": 4, "input_tokens": 100, "output_tokens": 30,
    "cost_usd": "2.5", "unknown_cost_attempts": 0, "failed_usd": "0.4", "retried_usd": "0.3",
    "estimated_usd": "0.1", "cache_saved_usd": "-0.02", "routing_saved_usd": "1.25",
}  # fmt: skip
UNKNOWN = {**ROW, "attempts": 1, "unknown_cost_attempts": 1, "cost_usd": None}


def printed(capsys: pytest.CaptureFixture[str], text: str) -> str:
    assert main.main(text.split()) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "columns"),
    [
        ("--waste", "attempts cost usd failed usd retried usd estimated usd unknown cost attempts"),
        ("--savings", "attempts cost usd cache saved usd routing saved usd unknown cost attempts"),
        (
            "--waste --savings",
            "attempts cost usd failed usd retried usd estimated usd cache saved usd routing saved usd"
            " unknown cost attempts",
        ),
        ("", "attempts input tokens output tokens cost usd unknown cost attempts"),
    ],
)
def test_waste_and_savings_are_columns_by_team(
    admin: Admin, capsys: pytest.CaptureFixture[str], asked: str, columns: str
) -> None:
    admin.rows("/v1/costs?by=team", {"team": "search", **ROW})
    heading, line = printed(capsys, f"costs --by team {asked}").splitlines()
    assert heading.split() == f"team requests {columns}".split()
    assert line.split()[0] == "search"
    assert ("-0.02" in line) == ("--savings" in asked)


def test_a_range_and_a_grouping_are_asked_for(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    path = "/v1/costs?by=provider_key&since=2d&until=1d"
    admin.rows(path, {"provider": "openai", "provider_key_id": None, **ROW})
    out = printed(capsys, "costs --by provider_key --since 2d --until 1d")
    assert out.splitlines()[0].startswith("provider  provider key id  requests")


@pytest.mark.parametrize("by", ["day", "hour", "minute"])
def test_times_stay_in_order(admin: Admin, capsys: pytest.CaptureFixture[str], by: str) -> None:
    rows = [{by: f"2026-01-0{number}", **ROW, "cost_usd": str(number)} for number in (1, 2, 3)]
    admin.rows(f"/v1/costs?by={by}", *rows)
    lines = printed(capsys, f"costs --by {by}").splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["2026-01-01", "2026-01-02", "2026-01-03"]


@pytest.mark.parametrize("text", ["--json", "--format json"])
def test_json_is_what_the_api_said(admin: Admin, capsys: pytest.CaptureFixture[str], text: str) -> None:
    admin.rows("/v1/costs?by=team", UNKNOWN | {"team": None})
    assert json.loads(printed(capsys, f"costs --by team {text}")) == [UNKNOWN | {"team": None}]


def test_csv_has_all_sums_and_says_what_is_unknown(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.rows("/v1/costs?by=team", {"team": 'a "b", c', **ROW}, {"team": None, **UNKNOWN})
    dear, unknown = csv.DictReader(io.StringIO(printed(capsys, "costs --by team --format csv")))
    assert dear == {"team": 'a "b", c', **{name: str(value) for name, value in ROW.items()}}
    assert unknown["team"] == ""
    assert unknown["cost_usd"] == "unknown"


@pytest.mark.parametrize("name", ["=HYPERLINK(A1)", "+1", "-1", "@SUM(A1)", "'quoted"])
def test_a_name_is_no_formula_in_csv(admin: Admin, capsys: pytest.CaptureFixture[str], name: str) -> None:
    admin.rows("/v1/costs?by=feature", {"feature": name, **ROW})
    (row,) = csv.DictReader(io.StringIO(printed(capsys, "costs --by feature --format csv")))
    assert row["feature"] == (name if name.startswith("'") else f"'{name}")
    assert row["cache_saved_usd"] == "-0.02"


def test_two_formats_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main.main(["costs", "--json", "--format", "csv"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "1e9"])
def test_how_often_is_a_number_of_seconds(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main.main(["costs", f"--watch={seconds}"])
    assert "a number of seconds" in capsys.readouterr().err


def test_bars_are_in_proportion_to_an_eighth_of_a_column() -> None:
    amounts = [Decimal(8), Decimal("4.5"), Decimal("0.001"), None, Decimal(0), Decimal(-1)]
    assert bars(amounts, 8, "utf-8") == ["████████", "████▌", "▏", "", "", ""]
    assert bars(amounts, 8, "ascii") == ["########", "####", "#", "", "", ""]
    assert bars([None], 8, None) == [""]
    assert bars([], 8, "utf-8") == []


def test_bars_are_drawn_where_they_are_asked_for(
    admin: Admin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"team": "a", **ROW}, {"team": "b", **ROW, "cost_usd": "1.25"}, {"team": "c", **UNKNOWN}]
    admin.rows("/v1/costs?by=team", *rows)
    plain = printed(capsys, "costs --by team").splitlines()
    monkeypatch.setenv("COLUMNS", str(len(plain[0]) + 2 + 20))
    drawn = printed(capsys, "costs --by team --bars").splitlines()
    assert [line.startswith(other) for line, other in zip(drawn, plain, strict=True)] == [True] * 4
    assert [line[len(plain[0]) + 2 :] for line in drawn] == ["", "█" * 20, "█" * 10, ""]


def test_watching_shows_it_again_until_interrupted(
    admin: Admin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure after the first look is told, and does not end it."""
    spent = itertools.count(1)
    told: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        number = next(spent)
        if number == 2:
            return httpx.Response(503, json={"error": {"message": "nobody there"}})
        return httpx.Response(200, json={"rows": [{**ROW, "cost_usd": f"{number}"}], "cursor": None})

    def sleep(seconds: float) -> None:
        told.append(seconds)
        if len(told) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(admin, "answer", answer)
    monkeypatch.setattr("time.sleep", sleep)
    assert main.main(["costs", "--watch", "7", "--json"]) == 0
    first, failed, third = capsys.readouterr().out.splitlines()
    looks: list[Any] = [json.loads(first), json.loads(third)]
    assert [look[0]["cost_usd"] for look in looks] == ["1", "3"]
    assert failed == "keyrail: nobody there; trying again"
    assert told == [7.0, 7.0, 7.0]


def test_watching_what_never_answered_is_an_error(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.refuse("GET /v1/costs", "nobody there", 503)
    assert main.main(["costs", "--watch"]) == 1
    assert capsys.readouterr().err == "keyrail: nobody there\n"
