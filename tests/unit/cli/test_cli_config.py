"""`keyrail config`, and what else is only asked and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.admin import Admin

from keyrail_cli import main

Capture = pytest.CaptureFixture[str]
GOOD = "routes:\n  fast: {targets: [sandbox/echo]}\n"
BAD = "routes:\n  fast: {targets: [nobody/x]}\n  slow: {tragets: [sandbox/echo]}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEYRAIL_CONFIG", raising=False)
    return tmp_path


def test_a_right_file_is_said_to_be_right(folder: Path, capsys: Capture) -> None:
    (folder / "keyrail.yaml").write_text(GOOD)
    assert main.main(["config", "check"]) == 0
    assert capsys.readouterr().out == "keyrail.yaml: nothing is wrong\n"
    assert main.main(["config", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": []}


def test_each_problem_has_its_line(folder: Path, capsys: Capture) -> None:
    (folder / "other.yaml").write_text(BAD)
    assert main.main(["config", "check", "other.yaml"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[0] for line in lines[:2]] == ["other.yaml:2:", "other.yaml:3:"]

    assert main.main(["config", "check", "other.yaml", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {each["line"] for each in told["problems"]} == {2, 3}


def test_the_file_is_the_one_that_the_stack_would_take(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYRAIL_CONFIG", str(folder / "its.yaml"))
    assert main.main(["config", "check"]) == 1
    assert capsys.readouterr().err == f"keyrail: {folder}/its.yaml: No such file or directory\n"
    (folder / "its.yaml").write_bytes(b"\xff")
    assert main.main(["config", "check"]) == 1
    assert "not UTF-8" in capsys.readouterr().err


def test_a_file_is_applied_as_it_is(folder: Path, admin: Admin, capsys: Capture) -> None:
    (folder / "keyrail.yaml").write_bytes(GOOD.replace("\n", "\r\n").encode())
    admin.on("POST /v1/config/apply", {"revision": 4, "changed": True})
    assert main.main(["config", "apply"]) == 0
    sent = {"text": GOOD.replace("\n", "\r\n"), "filename": "keyrail.yaml"}
    assert admin.asked == [("POST /v1/config/apply", sent)]
    assert capsys.readouterr().out == "revision 4 is in use\n"

    admin.on("POST /v1/config/apply", {"revision": 4, "changed": False})
    assert main.main(["config", "apply"]) == 0
    assert "nothing changed" in capsys.readouterr().out


def test_what_control_finds_wrong_is_said_line_by_line(folder: Path, admin: Admin, capsys: Capture) -> None:
    (folder / "keyrail.yaml").write_text(BAD)
    problems = [{"line": 2, "message": "nobody\x1b is no provider"}, {"line": 3, "message": "no"}]
    admin.refuse("POST /v1/config/apply", "the configuration has 2 problems", 400, problems=problems)
    assert main.main(["config", "apply"]) == 1
    assert capsys.readouterr().err == (
        "keyrail.yaml:2: nobody\N{REPLACEMENT CHARACTER} is no provider\nkeyrail.yaml:3: no\n"
    )
    assert main.main(["config", "apply", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False, "problems": problems}

    admin.refuse("POST /v1/config/apply", "no such field", 400)
    assert main.main(["config", "apply"]) == 1
    assert capsys.readouterr().err == "keyrail: no such field\n"


def test_revisions_are_shown_and_gone_back_to(admin: Admin, capsys: Capture) -> None:
    first = {"revision": 1, "applied_ms": 1_790_000_000_000, "filename": "keyrail.yaml", "sha256": "ab" * 32}
    admin.rows("/v1/config/history", {**first, "revision": 3, "from_revision": 1}, first)
    assert main.main(["config", "history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["3", "2026-09-21T14:13:20Z", "keyrail.yaml", "abababababab", "1"]
    assert main.main(["config", "history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == first

    admin.on("POST /v1/config/rollback", {"revision": 4, "from_revision": 1})
    assert main.main(["config", "rollback", "1"]) == 0
    assert admin.asked[-1][1] == {"revision": 1}
    assert capsys.readouterr().out == "revision 4 is in use and says what revision 1 said\n"
    admin.on("POST /v1/config/rollback", {"revision": 4, "from_revision": 1, "changed": False})
    assert main.main(["config", "rollback", "1"]) == 0
    assert "nothing changed: revision 4" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main.main(["config", "rollback", "-1"])


def test_the_current_text_is_printed_as_it_is(admin: Admin, capsys: Capture) -> None:
    current = {"revision": 1, "applied_ms": 0, "filename": "keyrail.yaml", "text": GOOD}
    admin.on("GET /v1/config", current)
    assert main.main(["config", "show"]) == 0
    assert capsys.readouterr().out == GOOD
    assert main.main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == current

    admin.on("GET /v1/config", current | {"differs_from_file": True})
    assert main.main(["config", "show"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (GOOD, "keyrail: this is not what the file said when control started\n")
    admin.on("GET /v1/config", current | {"text": None})
    assert main.main(["config", "show"]) == 1
    assert "was not kept" in capsys.readouterr().err


def test_budgets_and_alerts_are_tables(admin: Admin, capsys: Capture) -> None:
    budget = {"scope": "tenant.acme", "period": "d20261123", "usd": "50", "soft": False}
    budget |= {"spent_usd": "1.5", "committed_usd": "2", "left_usd": "48"}
    admin.rows("/v1/budgets", budget)
    assert main.main(["budgets"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "tenant.acme", "d20261123", "50", "no", "1.5", "2", "48",
    ]  # fmt: skip
    alert = {"raised_at": "2026-11-23T10:00:00Z", "kind": "key-auth", "tenant": "acme", "subject": "s"}
    alert["detail"] = "refused"
    admin.rows("/v1/alerts?since=1h", alert)
    assert main.main(["alerts", "--since", "1h"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == list(alert.values())
    assert main.main(["alerts", "--since", "1h", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [alert]


def test_every_verb_has_a_help_and_takes_json(capsys: Capture) -> None:
    verbs = {
        "config": ("check", "apply", "show", "history", "rollback"),
        "keys": ("add", "rotate", "revoke", "test", "list"),
        "tokens": ("issue", "list", "rotate", "revoke"),
        "keystore": ("backup", "restore"),
        "requests": ("show",),
        **dict.fromkeys(("up", "providers", "budgets", "alerts", "costs", "attempts", "migrate"), ("",)),
    }
    for noun, each in verbs.items():
        for verb in each:
            with pytest.raises(SystemExit) as left:
                main.main([noun, *filter(None, [verb]), "--help"])
            assert left.value.code == 0
            assert "--json" in capsys.readouterr().out, (noun, verb)
    with pytest.raises(SystemExit):
        main.main(["--help"])
    said = capsys.readouterr().out
    assert all(f"\n    {noun} " in said or f"\n    {noun}\n" in said for noun in verbs)
