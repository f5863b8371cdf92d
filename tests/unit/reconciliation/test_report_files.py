"""Reports in the shapes that the providers document, read from files."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.reconciliation import parsed, reader
from keyrail.reconciliation.parsed import NotAReport

REPORTS = Path(__file__).parent / "reports"


def lines(name: str) -> list[dict[str, Any]]:
    """The lines of a file, without what they do not say."""
    found = reader.read((REPORTS / name).read_bytes())
    return [
        {key: value for key, value in msgspec.to_builtins(line).items() if key != "source"}
        for line in found.lines
    ]


DAY = {"day": "2026-11-01"}
HAIKU = "claude-haiku-5-5-20260901"
MINI = "gpt-5.4-mini-2026-03-05"
GPT41 = "openai/gpt-4.1"
SAID: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "openai-usage.json": (
        "openai-usage",
        [
            DAY | {"kind": "usage", "account_key": "key_main", "model": MINI, "requests": 3}
            | {"input_tokens": 1200}
            | {"output_tokens": 340, "cache_read_tokens": 200, "cache_write_tokens": 0},
            DAY | {"kind": "usage", "account_key": "key_notebook", "model": MINI, "requests": 1}
            | {"input_tokens": 50}
            | {"output_tokens": 7, "cache_read_tokens": 0, "cache_write_tokens": 0},
        ],
    ),
    "openai-costs.json": (
        "openai-costs",
        [
            DAY | {"kind": "cost", "account_key": "key_main", "line": "web search tool calls"}
            | {"cost_usd": "0.01"},
            DAY | {"kind": "cost", "account_key": "key_main", "model": MINI, "line": f"{MINI}, input"}
            | {"cost_usd": "0.00075"},
            DAY | {"kind": "cost", "account_key": "key_main", "model": MINI, "line": f"{MINI}, output"}
            | {"cost_usd": "0.00153"},
        ],
    ),
    "openai-usage.csv": (
        "openai-usage",
        [
            DAY | {"kind": "usage", "account_key": "key_main", "model": MINI, "requests": 3}
            | {"input_tokens": 1200}
            | {"output_tokens": 340, "cache_read_tokens": 200},
        ],
    ),
    "openai-costs.csv": ("openai-costs", [DAY | {"kind": "cost", "cost_usd": "0.895874"}]),
    "anthropic-usage.json": (
        "anthropic-usage",
        [
            DAY | {"kind": "usage", "model": HAIKU, "input_tokens": 9, "output_tokens": 1}
            | {"cache_read_tokens": 0, "cache_write_tokens": 0},
            DAY | {"kind": "usage", "account_key": "apikey_01", "model": HAIKU, "input_tokens": 3200}
            | {"output_tokens": 500, "cache_read_tokens": 200, "cache_write_tokens": 1500},
        ],
    ),
    "anthropic-costs.json": (
        "anthropic-costs",
        [
            DAY | {"kind": "cost", "line": "Web Search Usage", "cost_usd": "0.01"},
            DAY | {"kind": "cost", "model": HAIKU, "line": "Claude Haiku 5.5 Usage - Input Tokens"}
            | {"cost_usd": "1.2378912"},
        ],
    ),
    "anthropic-console-usage.csv": (
        "anthropic-usage",
        [
            DAY | {"kind": "usage", "account_key": "main", "model": HAIKU, "input_tokens": 63003}
            | {"output_tokens": 17000, "cache_read_tokens": 3, "cache_write_tokens": 16000},
        ],
    ),
    "anthropic-console-costs.csv": (
        "anthropic-console-costs",
        [
            DAY | {"kind": "cost", "account_key": "main", "model": "Claude Haiku 5.5", "cost_usd": cost}
            | {"line": f"Default|message|≤ 200k|{kind}|token|global|"}
            for kind, cost in (("input_no_cache", "0.19"), ("output", "0.03"))
        ],
    ),
    "openrouter-activity.json": (
        "openrouter-activity",
        [
            DAY | {"kind": "both", "model": GPT41, "line": "Azure|e-2", "requests": 1, "input_tokens": 5}
            | {"output_tokens": 12, "cost_usd": "0.0000001"},
            DAY | {"kind": "both", "model": GPT41, "line": "OpenAI|e-1", "requests": 5, "input_tokens": 50}
            | {"output_tokens": 125, "cost_usd": "0.027"},
        ],
    ),
    "openrouter-generations.csv": (
        "openrouter-generations",
        [
            DAY | {"kind": "both", "account_key": "main", "model": f"{GPT41}-2025-04-14", "requests": 2}
            | {"input_tokens": 11, "output_tokens": 27, "cache_read_tokens": 2, "cost_usd": "0.012"},
        ],
    ),
    "plain.csv": (
        "csv",
        [
            DAY | {"kind": "both", "account_key": "main", "model": "mistral-large-2411", "requests": 2}
            | {"input_tokens": 100, "output_tokens": 10, "cost_usd": "0.25"},
            DAY | {"kind": "usage", "account_key": "main", "model": "mistral-large-2411", "requests": 1}
            | {"input_tokens": 1, "output_tokens": 1},
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_a_report_says_what_it_says(name: str) -> None:
    source, wanted = SAID[name]
    found = reader.read((REPORTS / name).read_bytes())
    assert found.source == source
    for line, want in zip(lines(name), wanted, strict=True):
        cost = line.pop("cost_usd", None)
        assert (cost is None) == ("cost_usd" not in want)
        assert cost is None or Decimal(cost) == Decimal(want["cost_usd"])
        assert line == {key: value for key, value in want.items() if key != "cost_usd"}


def test_every_report_there_is_was_read() -> None:
    assert {path.name for path in REPORTS.iterdir()} == SAID.keys()


def test_days_without_use_are_counted_as_that() -> None:
    found = reader.read((REPORTS / "openai-usage.csv").read_bytes())
    assert (found.rows, found.empty, found.misread) == (3, 1, 0)


def test_what_is_not_understood_is_listed_with_its_place() -> None:
    found = reader.read((REPORTS / "anthropic-costs.json").read_bytes())
    assert (found.rows, found.misread) == (3, 1)
    assert found.problems[0] == ("data[0].results[2]", "currency: only US dollars can be compared")


def test_a_page_that_is_not_the_last_one_is_a_problem() -> None:
    found = reader.read((REPORTS / "anthropic-usage.json").read_bytes())
    assert [problem.where for problem in found.problems] == ["the end"]


def test_pages_in_one_file_are_one_report() -> None:
    page = json.loads((REPORTS / "openai-usage.json").read_text())
    found = reader.read(json.dumps([page | {"data": []}, page, page]).encode())
    assert found.lines[0].input_tokens == 2400
    costs = json.loads((REPORTS / "openai-costs.json").read_text())
    with pytest.raises(NotAReport, match="different reports"):
        reader.read(json.dumps([page, costs]).encode())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2026-13-01,main,1,,", "day is not a date or a time"),
        ("2026-11-01,main,1.5,,", "requests is not a whole number that could be a count"),
        ("2026-11-01,main,-1,,", "requests is not a whole number that could be a count"),
        ("2026-11-01,main,1,NaN,", "cost_usd is not a number"),
        ("2026-11-01,main,1,1e99,", "cost_usd is not an amount of money"),
        ("2026-11-01,main,1,'5,", "cost_usd is not a number"),
        ("2026-11-01,main,,,", "there is no number in it"),
        ("2026-11-01,main", "has 2 cells, the heading 5"),
        (f"2026-11-01,{'k' * 201},1,,", "a name is longer than 200 characters"),
    ],
    ids=["day", "fraction", "negative", "nan", "huge", "quote", "nothing", "cells", "name"],
)
def test_a_row_that_is_wrong_is_named_by_its_line(row: str, message: str) -> None:
    found = reader.read(f"day,key,requests,cost_usd,model\n2026-11-01,main,1,,\n{row}\n".encode())
    assert (found.rows, found.misread) == (2, 1)
    assert found.problems == [("line 3", message)]
    assert [line.requests for line in found.lines] == [1]


def test_a_quoted_cell_over_several_lines_does_not_hide_the_line() -> None:
    found = reader.read(b'day,key,requests\n2026-11-01,"a\nb",1\nx,y,1\n')
    assert [problem.where for problem in found.problems] == ["line 4"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", r"not JSON"),
        (b'{"data":\n[1,}', r"not JSON.*\(line 2\)"),
        (b'{"data": [{"x": 1}]}', "no report that is known"),
        (b'{"data": 3}', "no list `data`"),
        (b'["x"]', "no list `data`"),
        (b"[]", "no page"),
        (b"a,b\n1,2\n", "line 1: the columns are those of no report"),
        (b"day,price\n1,2\n", "line 1: 1 columns are not known"),
        (b"day,cost_usd,colour\n", "line 1: 1 columns are not known"),
        (b"day,day,requests\n", "line 1: a column is there twice"),
        (b"day,requests\n\xff\xfe,1\n", "UTF-8"),
        (b'day,requests\n"2026', "not a CSV"),
        (b"[" * 100_000, "not JSON"),
    ],
    ids=range(15),
)
def test_what_is_no_report_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(NotAReport, match=message):
        reader.read(data)


def test_a_report_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_BYTES", 20)
    with pytest.raises(NotAReport, match="larger"):
        reader.read(b"day,requests\n2026-11-01,1\n")
    monkeypatch.setattr(reader, "MOST_BYTES", 1000)
    monkeypatch.setattr(parsed, "MOST_KEPT", 2)
    with pytest.raises(NotAReport, match="more than 2 lines"):
        reader.read(b"day,requests\n2026-11-01,1\n2026-11-02,1\n2026-11-03,1\n")


@pytest.mark.parametrize("width", [3600, 86_400 * 7], ids=["an hour over midnight", "a week"])
def test_a_bucket_that_is_not_of_one_day_does_not_count(width: int) -> None:
    page = json.loads((REPORTS / "openai-usage.json").read_text())
    start = page["data"][0]["start_time"] + 86_400 - 1800
    page["data"] = [page["data"][0] | {"start_time": start, "end_time": start + width}]
    found = reader.read(json.dumps(page).encode())
    assert not found.lines
    assert {problem.message for problem in found.problems} == {"the bucket is not within one day (UTC)"}


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["data", "results", "start_time", "starting_at", "amount", "object", "date", "usage", "model",
            "value"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.just("data"), st.lists(ANY, max_size=4), min_size=1) | ANY)
def test_any_json_is_a_report_or_is_refused(content: Any) -> None:
    try:
        found = reader.read(json.dumps(content).encode())
    except NotAReport:
        return
    assert found.misread + found.empty <= found.rows + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_are_refused(data: bytes) -> None:
    for content in (data, b"day,requests,cost_usd\n" + data):
        try:
            reader.read(content)
        except NotAReport:
            continue
