"""The private identity under a passphrase: out, lost, and in again."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import stat
from pathlib import Path

import pyrage
import pytest

from keyrail.keys import backup, keystore
from keyrail.keys.backup import BackupError
from keyrail.keys.base import KeyName, KeyStoreUnavailable
from keyrail.keys.keystore import KeystoreReader, KeystoreWriter
from keyrail.keys.secret import Secret

PASSPHRASE = Secret("four unlikely words together")
VALUE = Secret("sk-canary-5d1e")
NAME = KeyName("default", "openai", "main")


class Pair:
    """A keystore with its identity, and one key."""

    def __init__(self, folder: Path) -> None:
        self.keystore = folder / "keystore"
        self.identity = folder / "identity.key"
        self.backup = folder / "identity.age"
        keystore.create(self.keystore, self.identity)
        asyncio.run(KeystoreWriter(self.keystore).put(NAME.tenant, NAME.provider, NAME.id, VALUE))

    def value(self) -> Secret:
        return asyncio.run(KeystoreReader(self.keystore, self.identity).value(NAME))

    def restore(self, *, force: bool = False) -> backup.Restored:
        done = backup.restore(TEXT[0], self.keystore, self.identity, force=force)
        return asyncio.run(backup.counted(done, self.keystore, self.identity))


TEXT: list[Secret] = []
"""What the backup of `pair` holds. Opening one takes seconds, so that most tests share it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    pair = Pair(tmp_path_factory.mktemp("made") / "home")
    assert backup.write(pair.identity, pair.backup, PASSPHRASE) == keystore.recipient(pair.keystore)
    TEXT[:] = [backup.opened(pair.backup, PASSPHRASE)]
    return pair


@pytest.fixture
def pair(made: Pair, tmp_path: Path) -> Pair:
    """A copy of it, to be harmed."""
    shutil.copytree(made.keystore.parent, tmp_path / "home")
    copy = object.__new__(Pair)
    copy.keystore, copy.identity = tmp_path / "home" / "keystore", tmp_path / "home" / "identity.key"
    copy.backup = tmp_path / "home" / "identity.age"
    return copy


def test_values_are_readable_again_after_the_identity_was_lost(pair: Pair) -> None:
    before = pair.identity.read_bytes()
    pair.identity.unlink()
    with pytest.raises(KeyStoreUnavailable):
        pair.value()

    done = pair.restore()
    assert (done.changed, done.kept, done.readable, done.damaged) == (True, None, 1, [])
    assert pair.value() == VALUE
    assert pair.identity.read_bytes() == before
    assert stat.S_IMODE(pair.identity.stat().st_mode) == 0o600


def test_a_backup_is_private_and_holds_nothing_in_the_clear(pair: Pair) -> None:
    text = pair.backup.read_bytes()
    assert stat.S_IMODE(pair.backup.stat().st_mode) == 0o600
    assert text.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert b"AGE-SECRET-KEY" not in text
    assert keystore.recipient(pair.keystore).encode() not in text


def test_a_backup_is_never_written_over(pair: Pair) -> None:
    before = pair.backup.read_bytes()
    with pytest.raises(BackupError, match="exists"):
        backup.write(pair.identity, pair.backup, PASSPHRASE)
    assert pair.backup.read_bytes() == before
    link = pair.backup.with_name("dangling")
    link.symlink_to(pair.backup.with_name("nowhere"))
    with pytest.raises(BackupError, match="exists"):
        backup.write(pair.identity, link, PASSPHRASE)


def test_what_is_no_identity_is_not_backed_up(pair: Pair) -> None:
    pair.identity.write_text("AGE-SECRET-KEY-1NONSENSE\n")
    with pytest.raises(BackupError, match="not an age identity"):
        backup.write(pair.identity, pair.backup.with_name("new"), PASSPHRASE)
    assert not pair.backup.with_name("new").exists()


def test_a_wrong_passphrase_and_a_wrong_file_are_said(pair: Pair) -> None:
    with pytest.raises(BackupError, match="passphrase is wrong, or it is no backup"):
        backup.opened(pair.backup, Secret("something else"))
    for content in (b"", b"age-encryption.org/v1\n", b"\xff" * 100, pair.identity.read_bytes()):
        pair.backup.write_bytes(content)
        with pytest.raises(BackupError, match="no backup"):
            backup.opened(pair.backup, PASSPHRASE)
    with pytest.raises(BackupError, match="No such file"):
        backup.opened(pair.backup.with_name("nowhere"), PASSPHRASE)


def test_what_opens_but_holds_no_identity_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.age"
    other.write_bytes(pyrage.passphrase.encrypt(b"a shopping list", PASSPHRASE.reveal()))
    with pytest.raises(BackupError, match="no backup of Keyrail"):
        backup.opened(other, PASSPHRASE)


def test_the_identity_that_is_there_already_stays(pair: Pair) -> None:
    before = pair.identity.stat()
    done = pair.restore()
    assert (done.changed, done.readable) == (False, 1)
    after = pair.identity.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_identity_is_replaced_only_by_force_and_is_kept(pair: Pair, tmp_path: Path) -> None:
    other = Pair(tmp_path / "other")
    shutil.copy(other.identity, pair.identity)
    with pytest.raises(BackupError, match="holds another identity; --force replaces it"):
        pair.restore()
    assert pair.identity.read_bytes() == other.identity.read_bytes()

    done = pair.restore(force=True)
    assert done.changed
    assert done.kept is not None
    assert done.kept.read_bytes() == other.identity.read_bytes()
    assert stat.S_IMODE(done.kept.stat().st_mode) == 0o600
    assert pair.value() == VALUE


def test_garbage_in_place_of_the_identity_is_replaced_only_by_force_too(pair: Pair) -> None:
    pair.identity.write_bytes(b"\xff\xfe")
    with pytest.raises(BackupError, match="another identity"):
        pair.restore()
    done = pair.restore(force=True)
    assert done.kept is not None
    assert done.kept.read_bytes() == b"\xff\xfe"


@pytest.mark.parametrize("force", [False, True])
def test_an_identity_that_does_not_open_the_keystore_is_refused(
    pair: Pair, tmp_path: Path, force: bool
) -> None:
    other = Pair(tmp_path / "other")
    with pytest.raises(BackupError, match=f"written for {keystore.recipient(other.keystore)}"):
        backup.restore(TEXT[0], other.keystore, other.identity, force=force)
    assert other.value() == VALUE


def test_a_home_that_is_empty_gets_a_keystore_of_the_identity(made: Pair, tmp_path: Path) -> None:
    home = tmp_path / "new"
    done = backup.restore(TEXT[0], home / "keystore", home / "identity.key", force=False)
    assert keystore.recipient(home / "keystore") == done.recipient == keystore.recipient(made.keystore)
    KeystoreReader(home / "keystore", home / "identity.key")


def test_keys_that_the_identity_does_not_open_are_named(pair: Pair) -> None:
    (pair.keystore / "default" / "openai" / "bad.age").write_bytes(b"nonsense")
    done = pair.restore()
    assert (done.readable, done.damaged) == (1, [KeyName("default", "openai", "bad")])


AGE = shutil.which("age")


@pytest.mark.skipif(AGE is None, reason="the age command is not on the PATH")
def test_the_age_command_opens_a_backup(pair: Pair) -> None:
    assert AGE is not None
    pid, terminal = pty.fork()
    if pid == 0:  # it reads passphrases from a terminal only
        os.execv(AGE, [AGE, "--decrypt", "-o", str(pair.backup.with_name("opened")), str(pair.backup)])
    said = b""
    while b"passphrase" not in said:
        said += os.read(terminal, 1024)
    os.write(terminal, PASSPHRASE.reveal().encode() + b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert pair.backup.with_name("opened").read_bytes() == pair.identity.read_bytes()
