"""The embedded keystore's private identity, taken out under a passphrase and put back.

A backup is a text file in the age format (scrypt); what is inside is the identity file as it was, so
`age --decrypt` opens it without Keyrail and `age --decrypt -i` takes the result. It holds no provider key:
these are in the keystore, which is copied as it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyrage
from pyrage import passphrase as scrypt

from keyrail.keys import keystore, private_files
from keyrail.keys.base import KeyDamaged, KeyName, KeyStoreError, KeyStoreUnavailable
from keyrail.keys.keystore import KeystoreReader, KeystoreWriter
from keyrail.keys.sealed import Opener
from keyrail.keys.secret import Secret

_LARGEST: Final = 64 * 1024


class BackupError(KeyStoreError):
    """The backup could not be made or used, and nothing was changed."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore` did. `kept`: where the identity that it replaced is now. `damaged` can't be opened."""

    recipient: str
    changed: bool
    kept: Path | None
    readable: int
    damaged: list[KeyName]


def write(identity_file: Path, backup: Path, passphrase: Secret) -> str:
    """Write the backup (0600) and return the identity's public key. Takes some seconds: scrypt is slow.

    Raises BackupError, also when `backup` exists.
    """
    if os.path.lexists(backup):
        raise _exists(backup)
    try:
        text = _identity(identity_file)
        sealed = scrypt.encrypt(text.reveal().encode(), passphrase.reveal(), armored=True)
        private_files.write_new(backup, sealed)
    except FileExistsError:
        raise _exists(backup) from None
    except OSError as error:
        raise BackupError(f"{error.filename or backup}: {error.strerror or error}") from None
    return Opener.of_file(text).recipient


def opened(backup: Path, passphrase: Secret) -> Secret:
    """The identity file that a backup holds. Raises BackupError."""
    try:
        sealed = backup.read_bytes()[: _LARGEST + 1]
    except OSError as error:
        raise BackupError(f"{backup}: {error.strerror}") from None
    text = _decrypted(sealed, passphrase)
    if text is None:
        raise BackupError(f"{backup} can't be opened: the passphrase is wrong, or it is no backup of Keyrail")
    return text


def restore(text: Secret, directory: Path, identity_file: Path, *, force: bool) -> Restored:
    """Put an identity back beside the keystore in `directory`, which is made when there is none.

    One that does not open the keystore is refused, and so is replacing another one, without `force`; what is
    replaced is kept beside it. Raises BackupError, KeyStoreUnavailable.
    """
    found = Opener.of_file(text)
    _check_recipient(directory, found.recipient)
    current = _current(identity_file)
    same = current is not None and _same(current, found.recipient)
    kept: Path | None = None
    try:
        if current is not None and not same:
            if not force:
                raise BackupError(f"{identity_file} holds another identity; --force replaces it")
            kept = _put_aside(identity_file)
        private_files.make_directory(identity_file.parent)
        if not same:
            private_files.replace(identity_file, text.reveal().encode())
        keystore.create(directory, identity_file)
    except OSError as error:
        raise BackupError(f"{error.filename or identity_file}: {error.strerror or error}") from None
    return Restored(found.recipient, not same, kept, 0, [])


async def counted(restored: Restored, directory: Path, identity_file: Path) -> Restored:
    """With how many of the keystore's keys can be read now. Raises KeyStoreUnavailable."""
    reader = KeystoreReader(directory, identity_file)
    readable, damaged = 0, list[KeyName]()
    for name in await KeystoreWriter(directory).list():
        try:
            await reader.value(name)
            readable += 1
        except KeyDamaged:
            damaged.append(name)
    return Restored(restored.recipient, restored.changed, restored.kept, readable, damaged)


def _decrypted(sealed: bytes, passphrase: Secret) -> Secret | None:
    # What was decrypted stays out of every frame that raises: a traceback may show a frame's variables.
    try:
        text = Secret(scrypt.decrypt(sealed, passphrase.reveal()).decode())
        Opener.of_file(text)
    except (pyrage.DecryptError, UnicodeDecodeError, ValueError):
        return None
    return text


def _identity(identity_file: Path) -> Secret:
    text = Secret((private_files.contents(identity_file, _LARGEST) or b"").decode("utf-8", "replace"))
    try:
        Opener.of_file(text)
    except ValueError:
        raise BackupError(f"{identity_file} is not an age identity") from None
    return text


def _check_recipient(directory: Path, recipient: str) -> None:
    try:
        expected = keystore.recipient(directory)
    except KeyStoreUnavailable:
        if os.path.lexists(directory / keystore.RECIPIENT_FILE):
            raise
        return  # there is no keystore yet
    if expected != recipient:
        raise BackupError(f"this identity does not open {directory}: that is written for {expected}")


def _current(identity_file: Path) -> Secret | None:
    """The identity file that is there, whatever is in it."""
    try:
        content = private_files.contents(identity_file, _LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackupError(f"{identity_file}: {error.strerror}") from None
    return Secret((content or b"").decode("utf-8", "replace"))


def _same(current: Secret, recipient: str) -> bool:
    try:
        return Opener.of_file(current).recipient == recipient
    except ValueError:
        return False


def _put_aside(identity_file: Path) -> Path:
    """A private key is never overwritten: whatever it opens would be lost with it."""
    number = 1
    while os.path.lexists(aside := identity_file.with_name(f"{identity_file.name}.before-{number}")):
        number += 1
    os.link(identity_file, aside)
    return aside


def _exists(backup: Path) -> BackupError:
    return BackupError(f"{backup} exists; a backup is written to a new file")
