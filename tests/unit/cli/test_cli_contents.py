"""`keyrail contents`: a pair of keys, what is kept, decrypted here, deleted until it is verified."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support.admin import Admin

from keyrail.config.document import parse
from keyrail.keys import sealed_contents
from keyrail.keys.sealed import new_identity
from keyrail_cli import contents, main

Capture = pytest.CaptureFixture[str]
IDENTITY, RECIPIENT = new_identity()
ROW: dict[str, object] = {
    "tenant": "default",
    "request_id": "r1",
    "attempt_id": "a1",
    "team": None,
    "provider": "sandbox",
    "model": "echo",
    "dialect": "openai-chat",
    "recipient": RECIPIENT,
    "request_bytes": 6,
    "has_request": True,
    "answer_bytes": 9,
    "has_answer": True,
    "started_at": "2026-01-01T00:00:00.000Z",
    "expires_at": "2026-01-31T00:00:00Z",
}


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    file = tmp_path / "identity.key"
    file.write_text(f"# a comment\n{IDENTITY.reveal()}\n")
    return file


def holds(admin: Admin, part: str, *pieces: bytes) -> None:
    """What the ledger has of a part, a piece to an answer."""
    offset = 0
    for index, piece in enumerate(pieces):
        following = offset + len(piece) if index + 1 < len(pieces) else None
        data = base64.b64encode(piece).decode()
        admin.on(f"GET /v1/contents/r1/a1/{part}?offset={offset}", {"data": data, "next": following})
        offset += len(piece)


def keep(admin: Admin, request: bytes = b"asked!", answer: bytes = b"answered!", **more: object) -> None:
    row = ROW | {"request_bytes": len(request), "answer_bytes": len(answer)} | more
    admin.rows("/v1/contents?request=r1", row)
    holds(admin, "request", sealed_contents.seal(RECIPIENT, request))
    sealed = sealed_contents.seal(RECIPIENT, answer)
    holds(admin, "answer", sealed[:100], sealed[100:200], sealed[200:])


def test_a_pair_of_keys_is_private_new_and_told_as_configuration(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.key"
    assert main.main(["contents", "keygen", "--output", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "AGE-SECRET-KEY-1" in file.read_text()
    kept = parse(told["yaml"], "keyrail.yaml", {}).tenants["default"].contents
    assert kept is not None
    assert (kept.recipient, kept.keep_days) == (told["recipient"], 30)

    before = file.read_bytes()
    assert main.main(["contents", "keygen", "--output", str(file)]) == 1
    assert "exists" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert main.main(["contents", "keygen", "--output", str(tmp_path / "other.key")]) == 0
    shown = capsys.readouterr().out
    assert "recipient: age1" in shown
    assert "SECRET" not in shown


def test_what_is_shown_was_decrypted_here(admin: Admin, identity: Path, capsys: Capture) -> None:
    keep(admin)
    assert main.main(["contents", "show", "r1", "--identity", str(identity), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["request"], row["answer"]) == ("asked!", "answered!")
    sent = json.dumps([body for _, body in admin.asked])
    assert IDENTITY.reveal() not in sent

    keep(admin)
    assert main.main(["contents", "show", "r1", "--identity", str(identity)]) == 0
    shown = capsys.readouterr().out
    assert "attempt a1: sandbox/echo, openai-chat" in shown
    assert "\nasked!\n" in shown


def test_what_could_move_a_cursor_is_not_printed(admin: Admin, identity: Path, capsys: Capture) -> None:
    keep(admin, answer=b"one\n\x1b[2Jtwo\ttabbed\r")
    assert main.main(["contents", "show", "r1", "--identity", str(identity)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "one\n" in shown


def test_what_is_no_text_is_base64_and_what_was_too_large_is_said(
    admin: Admin, identity: Path, capsys: Capture
) -> None:
    keep(admin, answer=b"\xff\xfe", has_request=False)
    assert main.main(["contents", "show", "r1", "--identity", str(identity), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["request"], row["answer"]) == (None, {"base64": "//4="})
    keep(admin, has_request=False)
    assert main.main(["contents", "show", "r1", "--identity", str(identity)]) == 0
    assert "too large: not kept" in capsys.readouterr().out


def test_another_identity_opens_nothing_and_says_whose_it_is(
    admin: Admin, tmp_path: Path, capsys: Capture
) -> None:
    keep(admin)
    other, _ = new_identity()
    file = tmp_path / "other.key"
    file.write_text(other.reveal())
    assert main.main(["contents", "show", "r1", "--identity", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert RECIPIENT in said


@pytest.mark.parametrize("text", ["", "not a key", RECIPIENT])
def test_what_is_no_identity_is_refused_before_anything_is_asked(
    admin: Admin, tmp_path: Path, capsys: Capture, text: str
) -> None:
    file = tmp_path / "nothing.key"
    file.write_text(text)
    assert main.main(["contents", "show", "r1", "--identity", str(file)]) == 1
    assert main.main(["contents", "show", "r1", "--identity", str(tmp_path / "none")]) == 1
    assert "is not an age identity file" in capsys.readouterr().err
    assert admin.asked == []


def test_a_request_of_which_nothing_is_kept(admin: Admin, identity: Path, capsys: Capture) -> None:
    admin.rows("/v1/contents?request=r1")
    assert main.main(["contents", "show", "r1", "--identity", str(identity)]) == 1
    assert "nothing is kept of this request" in capsys.readouterr().err


def test_a_list_has_no_contents(admin: Admin, capsys: Capture) -> None:
    admin.rows("/v1/contents?tenant=acme&since=1d", ROW)
    assert main.main(["contents", "list", "--tenant", "acme", "--since", "1d"]) == 0
    assert "r1" in capsys.readouterr().out


DELETED: dict[str, object] = {"tenant": "acme", "before": "2026-01-01T00:00:00.000Z", "deleted": 2}


def told(admin: Admin, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, object]) -> None:
    """What each step of a deletion answers, one after the other."""
    left = [httpx.Response(200, json=DELETED | answer) for answer in answers]

    class Steps(dict[str, httpx.Response]):
        def __missing__(self, what: str) -> httpx.Response:
            assert what == "POST /v1/contents/deletions"
            return left.pop(0)

    admin.answers = Steps()
    monkeypatch.setattr(contents, "AGAIN_S", 0)


def test_a_deletion_is_asked_for_until_it_is_done(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    told(
        admin,
        monkeypatch,
        {"left": 1, "waiting": 3, "cursor": "7"},
        {"left": 0, "waiting": 0, "cursor": None},
    )
    assert main.main(["contents", "delete", "--tenant", "acme", "--before", "30d", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == DELETED | {"deleted": 4, "left": 0}
    assert [body for _, body in admin.asked] == [
        {"tenant": "acme", "before": "30d"},
        {"tenant": "acme", "before": DELETED["before"], "cursor": "7"},
    ]


def test_a_deletion_that_does_not_end_says_what_is_left(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(contents, "PATIENCE_S", -1)
    told(admin, monkeypatch, {"left": 1, "waiting": 3, "cursor": "7"})
    assert main.main(["contents", "delete", "--tenant", "acme", "--yes"]) == 1
    said = capsys.readouterr().err
    assert "1 left, 3 on their way" in said
    assert f"--before {DELETED['before']}" in said


@pytest.mark.parametrize("typed", [b"", b"no\n", b"y\n", b"\n"])
def test_nothing_is_deleted_without_a_yes(
    admin: Admin, piped: Callable[[bytes], None], capsys: Capture, typed: bytes
) -> None:
    piped(typed)
    assert main.main(["contents", "delete", "--tenant", "acme"]) == 1
    assert "nothing was deleted" in capsys.readouterr().err
    assert admin.asked == []


def test_a_yes_is_enough(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, piped: Callable[[bytes], None], capsys: Capture
) -> None:
    piped(b"yes\n")
    told(admin, monkeypatch, {"left": 0, "waiting": 0, "cursor": None})
    assert main.main(["contents", "delete", "--tenant", "acme"]) == 0
    assert "deleted 2 contents of acme" in capsys.readouterr().out
