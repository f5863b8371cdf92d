"""`keyrail tokens`: virtual keys, each shown once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.admin import Admin

from keyrail.contracts.base import now_ms
from keyrail_cli import main

KEY = "kr_1a2b3c4d_secret"
ISSUED: dict[str, object] = {"id": "1a2b3c4d", "key": KEY, "tenant": "default", "budgets": ["10/day"]}
Capture = pytest.CaptureFixture[str]


def row(**more: object) -> dict[str, object]:
    empty = dict.fromkeys(("team", "feature", "rpm", "tpm", "concurrent", "expires_ms", "previous_until_ms"))
    base: dict[str, object] = {"id": "1a2b3c4d", "tenant": "default", "tags": True, "created_ms": 0}
    return base | empty | {"models": [], "budgets": [], "revoked": False} | more


def test_a_key_is_on_a_line_of_its_own_with_a_word_that_it_is_shown_once(
    admin: Admin, capsys: Capture
) -> None:
    admin.on("POST /v1/tokens", ISSUED, 201)

    assert main.main(["tokens", "issue"]) == 0
    assert admin.asked == [("POST /v1/tokens", {})]
    first, second = capsys.readouterr().out.splitlines()
    assert "1a2b3c4d" in first
    assert "shown this once" in first
    assert second == KEY


def test_json_has_id_and_key(admin: Admin, capsys: Capture) -> None:
    admin.on("POST /v1/tokens", ISSUED, 201)

    assert main.main(["tokens", "issue", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ISSUED


def test_every_option_is_sent_as_the_api_has_it(admin: Admin) -> None:
    admin.on("POST /v1/tokens", ISSUED, 201)
    text = (
        "tokens issue --tenant acme --team search --feature summaries --no-tags --models openai/*,fast"
        " --models fast --models groq/* --rpm 60 --tpm 200k --concurrent 5 --budget 10/day"
        " --budget 100/month/soft,300 --expires 30d"
    )

    assert main.main(text.split()) == 0
    assert admin.asked[0][1] == {
        "tenant": "acme",
        "team": "search",
        "feature": "summaries",
        "tags": False,
        "models": ["openai/*", "fast", "groq/*"],
        "rpm": 60,
        "tpm": 200_000,
        "concurrent": 5,
        "budgets": ["10/day", "100/month/soft", "300"],
        "expires": "30d",
    }


@pytest.mark.parametrize("number", ["0", "-1", "ten", "1.5", "10K", "\u0661", "9" * 13])
def test_a_limit_that_is_no_number_is_a_usage_error(admin: Admin, number: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        main.main(["tokens", "issue", f"--rpm={number}"])
    assert left.value.code == 2
    assert "--rpm: must be a whole number above 0" in capsys.readouterr().err
    assert admin.asked == []


def test_a_rotated_key_is_shown_and_when_the_old_one_ends(admin: Admin, capsys: Capture) -> None:
    answer = {"id": "1a2b3c4d", "key": KEY, "previous_until_ms": 1_790_000_000_000}
    admin.on("POST /v1/tokens/1a2b3c4d/rotate", answer)

    assert main.main(["tokens", "rotate", "1a2b3c4d", "--overlap", "24h"]) == 0
    assert admin.asked[0][1] == {"overlap": "24h"}
    first, second = capsys.readouterr().out.splitlines()
    assert "until 2026-09-21T14:13:20Z" in first
    assert second == KEY
    admin.on("POST /v1/tokens/1a2b3c4d/rotate", answer | {"previous_until_ms": None})
    assert main.main(["tokens", "rotate", "1a2b3c4d", "--json"]) == 0
    assert admin.asked[1][1] == {}
    assert json.loads(capsys.readouterr().out)["key"] == KEY


def test_a_key_is_revoked_by_its_id(admin: Admin, capsys: Capture) -> None:
    admin.on("DELETE /v1/tokens/1a2b3c4d", row(revoked=True))
    assert main.main(["tokens", "revoke", "1a2b3c4d"]) == 0
    assert capsys.readouterr().out == "revoked virtual key 1a2b3c4d\n"

    admin.refuse("DELETE /v1/tokens/..%2Fkeys", "there is no such virtual key", 404)
    assert main.main(["tokens", "revoke", "../keys"]) == 1
    assert capsys.readouterr().err == "keyrail: there is no such virtual key\n"


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "active"),
        ({"revoked": True, "expires_ms": 1}, "revoked"),
        ({"expires_ms": 1}, "expired"),
        ({"expires_ms": now_ms() + 3_600_000}, "active"),
        ({"previous_until_ms": now_ms() + 3_600_000}, "two secrets"),
        ({"previous_until_ms": 1}, "active"),
    ],
)
def test_a_list_says_which_keys_are_good(
    admin: Admin, capsys: Capture, more: dict[str, Any], state: str
) -> None:
    admin.rows("/v1/tokens", row(**more))
    assert main.main(["tokens", "list"]) == 0
    assert state in capsys.readouterr().out.splitlines()[1]


def test_a_list_shows_limits_and_budgets(admin: Admin, capsys: Capture) -> None:
    one = row(rpm=60, tpm=1000, models=["openai/*", "fast"], budgets=["10/day", "5/day/soft"], team="a")
    admin.rows("/v1/tokens", one)

    assert main.main(["tokens", "list"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert "openai/*, fast  60 rpm, 1000 tpm  10/day, 5/day/soft" in line
    assert main.main(["tokens", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [one]
