"""`keyrail keys`: values go in by a pipe or a prompt, and are never seen."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.admin import Admin

from keyrail_cli import main

VALUE = "sk-canary-0d4f"
ROW: dict[str, object] = {
    "tenant": "default",
    "provider": "openai",
    "id": "main",
    "weight": 1,
    "version": 1,
    "changed_ms": 1_790_000_000_000,
    "state": "ok",
    "reason": None,
    "until_ms": None,
}
Piped = Callable[[bytes], None]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_value_is_read_from_a_pipe_without_its_line_end(
    admin: Admin, piped: Piped, capsys: Capture, end: bytes
) -> None:
    admin.on("POST /v1/keys", ROW, 201)
    piped(VALUE.encode() + end)

    assert main.main(["keys", "add", "openai", "--id", "main"]) == 0
    body = {"tenant": "default", "provider": "openai", "id": "main", "weight": 1, "value": VALUE}
    assert admin.asked == [("POST /v1/keys", body)]
    assert capsys.readouterr().out == "added default/openai/main\n"


def test_a_value_is_asked_for_at_a_terminal(
    admin: Admin, typed: Callable[..., list[str]], capsys: Capture
) -> None:
    admin.on("POST /v1/keys/acme/openai/main/rotate", ROW | {"version": 2})
    prompts = typed(VALUE)
    arguments = ["keys", "rotate", "openai", "--id", "main", "--tenant", "acme", "--weight", "3"]

    assert main.main(arguments) == 0
    assert prompts == ["the key's value at openai (not shown): "]
    assert admin.asked[0][1] == {"value": VALUE, "weight": 3}
    assert "version 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "add", "openai", VALUE, "--id", "main"],
        ["keys", "add", "openai", "--id", "main", f"--value={VALUE}"],
        ["keys", "add", "openai", "--id", "main", "--value", VALUE],
        ["keys", "rotate", "openai", "--id", "main", VALUE],
        ["keys", "add", VALUE.upper(), "--id", "main"],
        ["keys", "add", "openai", "--id", VALUE.upper()],
        ["keys", "add", "openai", "--id", "main", "--weight", VALUE],
        ["keys", "add", "openai", "--id", "main", f"--json={VALUE}"],
        ["keys", VALUE],
        [VALUE],
        ["keys", "list", "openai", VALUE],
        ["providers", VALUE],
        ["providers", f"--{VALUE}"],
    ],
)
def test_a_value_among_the_arguments_is_refused_and_not_repeated(
    admin: Admin, piped: Piped, capsys: Capture, arguments: list[str]
) -> None:
    piped(b"")
    with pytest.raises(SystemExit) as left:
        main.main(arguments)
    assert left.value.code == 2
    said = capsys.readouterr()
    assert VALUE not in (said.out + said.err).lower()
    assert "error: " in said.err
    assert admin.asked == []


def test_who_gives_a_value_as_an_argument_is_told_where_it_goes(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main.main(["keys", "add", "openai", VALUE, "--id", "main"])
    assert "never an argument" in capsys.readouterr().err


@pytest.mark.parametrize("given", [b"", b"\n", b"  \n", b"two\nlines", b"caf\xe9", "caf\u00e9".encode()])
def test_what_can_be_no_key_is_refused_before_it_is_sent(
    admin: Admin, piped: Piped, capsys: Capture, given: bytes
) -> None:
    piped(given)

    assert main.main(["keys", "add", "openai", "--id", "main"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("keyrail: ")
    assert said.count("\n") == 1
    assert admin.asked == []


def test_a_key_that_is_there_already_is_an_error(admin: Admin, piped: Piped, capsys: Capture) -> None:
    admin.refuse("POST /v1/keys", "there is such a key", 409)
    piped(VALUE.encode())

    assert main.main(["keys", "add", "openai", "--id", "main"]) == 1
    assert capsys.readouterr().err == "keyrail: there is such a key\n"


def test_a_revoked_key_is_said(admin: Admin, capsys: Capture) -> None:
    admin.on("DELETE /v1/keys/default/openai/main", {})

    assert main.main(["keys", "revoke", "openai", "--id", "main"]) == 0
    assert "revoked default/openai/main" in capsys.readouterr().out
    assert main.main(["keys", "revoke", "openai", "--id", "main", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {}


@pytest.mark.parametrize(
    ("result", "status", "code"),
    [("ok", 200, 0), ("refused", 401, 1), ("failed", None, 1), ("missing", None, 1)],
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_exit_status_of_a_test_says_whether_the_key_works(
    admin: Admin, capsys: Capture, result: str, status: int | None, code: int, more: list[str]
) -> None:
    tested = {"result": result, "status": status, "detail": "a sentence"}
    admin.on("POST /v1/keys/default/openai/main/test", tested)

    assert main.main(["keys", "test", "openai", "--id", "main", *more]) == code
    said = capsys.readouterr()
    if more:
        assert json.loads(said.out) == tested
    elif code:
        assert f"{result} (" in said.err
        assert "a sentence" in said.err
    else:
        assert said.out == "default/openai/main works\n"


def test_keys_are_listed_of_all_or_of_one(admin: Admin, capsys: Capture) -> None:
    out = ROW | {
        "tenant": "acme",
        "provider": "groq",
        "state": "out",
        "reason": "rate",
        "until_ms": 1_790_000_060_000,
    }
    admin.rows("/v1/keys", ROW, out)

    assert main.main(["keys", "list"]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "tenant", "provider", "id", "weight", "version", "changed", "state", "reason", "until",
    ]  # fmt: skip
    assert first.split() == ["default", "openai", "main", "1", "1", "2026-09-21T14:13:20Z", "ok"]
    assert second.split()[-3:] == ["out", "rate", "2026-09-21T14:14:20Z"]
    assert main.main(["keys", "list", "openai", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [ROW]
    assert main.main(["keys", "list", "--tenant", "acme", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [out]
