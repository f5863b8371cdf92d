"""`keyrail keystore`: who is asked for what, and what is said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyrail.keys import backup, keystore
from keyrail.keys.secret import Secret
from keyrail_cli import main
from keyrail_embedded.home import Home

Capture = pytest.CaptureFixture[str]
Piped = Callable[[bytes], None]
Typed = Callable[..., list[str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("KEYRAIL_HOME", str(tmp_path / "home"))
    made = Home(tmp_path / "home")
    keystore.create(made.keystore, made.identity)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Secret]:
    """The slow part in place of scrypt: a backup that is its passphrase and what it holds. Returns them."""
    used: list[Secret] = []

    def encrypt(plaintext: bytes, passphrase: str, armored: bool = False) -> bytes:
        used.append(Secret(passphrase))
        return passphrase.encode() + b"\n" + plaintext

    def decrypt(ciphertext: bytes, passphrase: str) -> bytes:
        given, _, plaintext = ciphertext.partition(b"\n")
        return plaintext if given == passphrase.encode() else b""

    monkeypatch.setattr(backup.scrypt, "encrypt", encrypt)
    monkeypatch.setattr(backup.scrypt, "decrypt", decrypt)
    return used


def test_a_round_trip_by_pipes(home: Home, piped: Piped, tmp_path: Path, capsys: Capture) -> None:
    file, identity = tmp_path / "b.age", home.identity.read_bytes()
    piped(b"a phrase\r\nnot this line\n")
    assert main.main(["keystore", "backup", str(file)]) == 0
    assert f"wrote {file}: the identity of age1" in capsys.readouterr().out
    home.identity.unlink()

    piped(b"a phrase\n")
    assert main.main(["keystore", "restore", str(file)]) == 0
    assert home.identity.read_bytes() == identity
    assert capsys.readouterr().out == (f"restored {home.identity}\nit opens 0 keys in {home.keystore}\n")
    piped(b"a phrase\n")
    assert main.main(["keystore", "restore", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "identity": str(home.identity),
        "recipient": keystore.recipient(home.keystore),
        "changed": False,
        "kept": None,
        "readable_keys": 0,
        "unreadable_keys": [],
    }


def test_a_passphrase_is_typed_twice_for_a_backup_and_once_for_its_use(
    home: Home, typed: Typed, tmp_path: Path, quick: list[Secret], capsys: Capture
) -> None:
    file = tmp_path / "b.age"
    prompts = typed("a phrase", "another")
    assert main.main(["keystore", "backup", str(file)]) == 1
    assert prompts == ["a passphrase for the backup: ", "the same again: "]
    assert "not the same twice" in capsys.readouterr().err
    assert not file.exists()

    typed("a phrase", "a phrase")
    assert main.main(["keystore", "backup", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(file)
    assert quick == [Secret("a phrase")]
    assert len(typed("a phrase")) == 0
    assert main.main(["keystore", "restore", str(file)]) == 0


@pytest.mark.parametrize("given", [b"", b"\n", b"\xff\n"])
def test_no_passphrase_is_no_backup(home: Home, piped: Piped, tmp_path: Path, given: bytes) -> None:
    piped(given)
    assert main.main(["keystore", "backup", str(tmp_path / "b.age")]) == 1
    assert not (tmp_path / "b.age").exists()


def test_nobody_is_asked_where_nothing_can_be_done(
    home: Home, typed: Typed, tmp_path: Path, capsys: Capture
) -> None:
    prompts = typed()
    (tmp_path / "there").touch()
    assert main.main(["keystore", "backup", str(tmp_path / "there")]) == 1
    assert "exists; a backup is written to a new file" in capsys.readouterr().err
    home.identity.unlink()
    assert main.main(["keystore", "backup", str(tmp_path / "new")]) == 1
    assert "this home has no keystore" in capsys.readouterr().err
    assert prompts == []


def test_a_home_that_runs_is_left_alone(home: Home, typed: Typed, tmp_path: Path, capsys: Capture) -> None:
    home.lock()
    home.write_run({"pid": os.getpid(), "url": "http://127.0.0.1:1"})
    prompts = typed("x")
    assert main.main(["keystore", "restore", str(tmp_path / "b.age")]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"keyrail: {home.path} is in use: pid {os.getpid()} serves http://127.0.0.1:1; stop that first\n"
    )
    assert prompts == []
    assert home.run_file.exists(), "what runs is not ours to clear away"
    home.release()


def test_what_force_replaced_is_said(home: Home, piped: Piped, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "b.age"
    piped(b"x\n")
    assert main.main(["keystore", "backup", str(file)]) == 0
    home.identity.write_text("garbage\n")
    piped(b"x\n")
    assert main.main(["keystore", "restore", str(file)]) == 1
    piped(b"x\n")
    assert main.main(["keystore", "restore", str(file), "--force"]) == 0
    assert f"is kept in {home.identity}.before-1" in capsys.readouterr().out
