"""`keyrail routes`, `keyrail verdicts` and what `requests show` says of a decision."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import httpx
import pytest
from support.admin import Admin

from keyrail_cli import routes, routing, verdicts
from keyrail_cli.main import main
from keyrail_cli.render import Row

DECISION: Row = {
    "epoch": 0, "targets": ["a/one", "a/two"], "code": "cheapest-clears", "failure": None, "revision": 7,
    "reason": "a/one is the cheapest of the 2 targets that reach the bar.", "task": "sums", "propensity": 1,
    "candidates": [
        {"target": "a/two", "quality": 0.95, "verdicts": 212.44, "cost_usd": "0.012", "latency_s": 0.9},
        {"target": "a/one", "quality": 0.91234, "probability": 0.9876, "cost_usd": "0.00042"},
        {"target": "b/three", "gate": "breaker", "share": 0.0},
    ],
}  # fmt: skip


def test_a_decision_is_a_sentence_and_a_table() -> None:
    said, heading, *rows = routing.explained(DECISION).splitlines()
    assert said == (
        "a/one is the cheapest of the 2 targets that reach the bar (cheapest-clears, revision 7, task sums)"
    )
    assert heading.split()[:3] == ["chosen", "target", "gate"]
    assert [row.split() for row in rows] == [
        ["2", "a/two", "0.95", "212.4", "0.012", "0.9"],
        ["*", "a/one", "0.912", "0.988", "0.00042"],
        ["b/three", "breaker", "0.0"],
    ]


def test_a_refusal_on_a_later_dispatch_says_so() -> None:
    refused = DECISION | {
        "epoch": 1, "failure": "unavailable", "code": "targets_unavailable", "candidates": [], "targets": [],
        "reason": "No target is there", "task": None, "propensity": 0.25,
    }  # fmt: skip
    assert routing.explained(refused) == (
        "dispatch 1: refused: No target is there (targets_unavailable, revision 7, chosen with a probability"
        " of 0.25)"
    )


def test_requests_show_explains_each_dispatch(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    request = {"request_id": "r", "attempts": [], "decisions": [DECISION, DECISION | {"epoch": 1}]}
    admin.on("GET /v1/requests/r", request)
    assert main(["requests", "show", "r"]) == 0
    said = capsys.readouterr().out
    assert said.count("a/one is the cheapest") == 2
    assert "dispatch 1: " in said
    assert main(["requests", "show", "r", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == request


def route(name: str, decisions: int, before: str, after: str, **moves: int) -> Row:
    return {
        "route": name, "decisions": decisions, "elsewhere": sum(moves.values()), "refused_before": 0,
        "refused_after": 1, "compared": decisions, "unknown": 0, "before_usd": before, "after_usd": after,
        "moves": [{"from": "x", "to": to, "decisions": n} for to, n in moves.items()],
    }  # fmt: skip


def test_parts_of_a_simulation_are_added_up_exactly() -> None:
    parts: list[Row] = [
        {"routes": [route("a", 2, "0.1", "0.05", y=1), route("b", 9, "1", "1")]},
        {"routes": [route("a", 3, "0.2", "0.000000000001", y=1, z=2)]},
    ]
    b, a = routes.added(parts)
    assert (b["route"], b["difference_usd"], b["moves"]) == ("b", "+0", [])
    assert (a["decisions"], a["elsewhere"], a["refused_after"]) == (5, 4, 2)
    assert (a["before_usd"], a["difference_usd"]) == ("0.3", "-0.249999999999")
    assert a["moves"] == [
        {"from": "x", "to": "y", "decisions": 2},
        {"from": "x", "to": "z", "decisions": 2},
    ]


def test_a_simulation_says_its_limits(
    admin: Admin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("routes: {}\n")
    answer = {"since": "s", "until": "u", "cursor": None, "unreadable": 3}
    admin.on("POST /v1/simulate", answer | {"routes": [route("a", 2, "0.1", "0.05", y=1)]})
    command = ["routes", "simulate", "--since", "7d", "--config", str(file), "--route", "a"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "3 decisions can't be read" in said
    assert all(limit in said for limit in routes.LIMITS)
    assert admin.asked[-1][1] == {
        "config": "routes: {}\n", "filename": "new.yaml", "since": "7d", "route": "a",
    }  # fmt: skip
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["routes"][0]["difference_usd"], len(told["limits"])) == ("-0.05", len(routes.LIMITS) + 1)
    problem = {"line": 3, "message": "no such strategy"}
    admin.refuse("POST /v1/simulate", "the configuration has a problem", 400, problems=[problem])
    assert main(command) == 1
    assert capsys.readouterr().err == f"{file}:3: no such strategy\n"


def test_lines_without_an_id_have_the_same_one_each_time(tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl"
    line = '{"route": "a", "target": "x/y", "score": 1}'
    file.write_text(f'{line}\n\n{line}\n{{"score": 1, "target": "x/y", "route": "a"}}\n{{"id": "own"}}\n')
    first, longer = verdicts.lines(file), file.read_text() + f"{line}\n"
    file.write_text(longer)
    second = verdicts.lines(file)
    assert second[:4] == first
    assert [number for number, _ in second] == [1, 3, 4, 5, 6]
    ids = [str(verdict["id"]) for _, verdict in second]
    assert len(set(ids)) == 5
    assert ids[3] == "own"


@pytest.mark.parametrize("text", ["{", "5", "[" * 100_000], ids=["half", "number", "deep"])
def test_a_line_that_is_no_object_is_named(
    admin: Admin, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text("{}\n" + text)
    assert main(["verdicts", "import", str(file)]) == 1
    assert capsys.readouterr().err.startswith(f"keyrail: {file}:2: not ")
    assert admin.asked == []


def test_a_refused_verdict_is_named_by_its_line(
    admin: Admin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text('\n{"a": 1}\n\n{"b": 1}\n')
    admin.refuse("POST /v1/verdicts", "verdicts[1].route: there is no such route", 400)
    assert main(["verdicts", "import", str(file)]) == 1
    assert capsys.readouterr().err == f"keyrail: {file}:4: route: there is no such route\n"
    admin.refuse("POST /v1/verdicts", "verdicts[...].score: must be int", 400)
    assert main(["verdicts", "import", str(file)]) == 1
    assert capsys.readouterr().err == f"keyrail: {file}: verdicts[...].score: must be int\n"


def test_a_long_file_goes_in_parts_that_control_takes(admin: Admin, tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text("".join(json.dumps({"n": n, "prompt": "x" * 9_000}) + "\n" for n in range(1_100)))
    admin.answers["POST /v1/verdicts"] = httpx.Response(200, json={"verdicts": 1, "new": 1})
    assert main(["verdicts", "import", str(file)]) == 0
    sent = [body["verdicts"] for _, body in admin.asked]
    assert [each["n"] for part in sent for each in part] == list(range(1_100))
    assert max(len(json.dumps(part)) for part in sent) < 2_100_000
    assert max(map(len, verdicts.parts([(1, {})] * 1_200))) == 500
    assert verdicts.identified({"a": 1}, Counter())["a"] == 1
