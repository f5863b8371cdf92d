"""The embedded keystore: a directory of provider keys, each encrypted to one public key in the age format.

`<tenant>/<provider>/<id>.age` holds a JSON object {tenant, provider, id, weight, value}, so that a file that
was moved or swapped is noticed. `recipient.txt` is the public key: with it alone one can write, not read. Age
does not say who wrote a file, so whoever may write to the directory can replace keys; nobody else should. The
plain `age --decrypt -i <identity file>` reads the values too, which is the way out without Keyrail.
"""

from __future__ import annotations

import asyncio
import math
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyrail.keys import private_files
from keyrail.keys.base import (
    NAME,
    KeyDamaged,
    KeyName,
    KeyNames,
    KeyNotFound,
    KeyStoreUnavailable,
    ProviderKey,
    check_name,
    check_value,
)
from keyrail.keys.sealed import Opener, Sealer, new_identity
from keyrail.keys.secret import Secret

RECIPIENT_FILE: Final = "recipient.txt"
_SUFFIX: Final = ".age"
_LARGEST_FILE: Final = 64 * 1024
_CHECK_SECONDS: Final = 1.0

_Signature = tuple[int, int, int]  # mtime_ns, inode, size


def create(directory: Path, identity_file: Path) -> None:
    """Make a keystore, or leave the one that is there as it is.

    Raises KeyStoreUnavailable when half of one is there: without its identity no value can be read again.
    """
    recipient_file = directory / RECIPIENT_FILE
    with _unavailable(directory):
        if recipient_file.exists() and not identity_file.exists():
            raise KeyStoreUnavailable(
                f"{directory} is a keystore, but its identity {identity_file} is missing"
            )
        if not identity_file.exists():
            identity, recipient = new_identity()
            private_files.make_directory(identity_file.parent)
            private_files.write_new(
                identity_file, f"# public key: {recipient}\n{identity.reveal()}\n".encode()
            )
        opener = _opener(identity_file)
        private_files.make_directory(directory)
        directory.chmod(0o700)
        if not recipient_file.exists():
            private_files.replace(recipient_file, f"{opener.recipient}\n".encode())
    _check_pair(directory, opener)


class KeystoreWriter:
    """A KeyWriter. Holds only the public key. Raises KeyStoreUnavailable when `directory` is no keystore."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            self._sealer = Sealer(recipient(directory))
        except ValueError as error:
            raise KeyStoreUnavailable(f"{directory / RECIPIENT_FILE}: {error}") from None

    async def open(self) -> None:
        """Nothing to wait for: it is there, or the constructor has said that it is not."""

    async def close(self) -> None:
        """Nothing runs."""

    async def put(self, tenant: str, provider: str, id: str, value: Secret, weight: int = 1) -> None:
        """Store a key durably, replacing the one of the same name."""
        key = ProviderKey(tenant, provider, id, weight)
        check_value(value, weight)
        await asyncio.to_thread(self._put, _path(self._directory, key), self._sealer.seal(key, value))

    async def delete(self, tenant: str, provider: str, id: str) -> None:
        """Remove a key. Raises KeyNotFound."""
        await asyncio.to_thread(self._delete, KeyName(tenant, provider, id))

    async def list(self) -> KeyNames:
        """The names of all keys, sorted."""
        return await asyncio.to_thread(self._list)

    def _put(self, path: Path, sealed: bytes) -> None:
        with _unavailable(path):
            for folder in (self._directory, path.parent.parent, path.parent):
                private_files.make_directory(folder)
            private_files.replace(path, sealed)

    def _delete(self, name: KeyName) -> None:
        path = _path(self._directory, name)
        with _unavailable(path):
            try:
                private_files.delete(path)
            except FileNotFoundError:
                raise KeyNotFound(f"there is no key {name}") from None

    def _list(self) -> KeyNames:
        with _unavailable(self._directory):
            return sorted(
                (
                    KeyName(tenant, provider, id)
                    for tenant in _folders(self._directory)
                    for provider in _folders(self._directory / tenant)
                    for id, _ in _files(self._directory / tenant / provider)
                ),
                key=str,
            )


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A file as last read: the key and its value, or what is wrong with it."""

    signature: _Signature
    content: tuple[ProviderKey, Secret] | str


@dataclass(slots=True)
class _Folder:
    """The files of one tenant and provider as last seen."""

    checked: float
    loaded: dict[str, _Loaded]


class KeystoreReader:
    """A KeyReader. Values stay in memory; the files are looked at again once a second, when asked for.

    A damaged file fails `keys` of its tenant and provider, but not `value` of the keys beside it. Opening a
    file takes about 0.4 ms, on the event loop. Raises KeyStoreUnavailable when there is no keystore at
    `directory`, the identity is not its own, or others than its owner may read the identity.
    """

    def __init__(
        self, directory: Path, identity_file: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        with _unavailable(identity_file):
            self._opener = _opener(identity_file)
        _check_pair(directory, self._opener)
        self._clock = clock
        self._seen: dict[tuple[str, str], _Folder] = {}

    async def open(self) -> None:
        """Nothing to wait for: it is there, or the constructor has said that it is not."""

    async def close(self) -> None:
        """Nothing runs."""

    async def keys(self, tenant: str, provider: str) -> list[ProviderKey]:
        """The tenant's keys at this provider, sorted by id."""
        return [_content(entry)[0] for entry in self._look(tenant, provider).values()]

    async def value(self, key: KeyName) -> Secret:
        """The key's current value."""
        entry = self._look(key.tenant, key.provider).get(key.id)
        if entry is None:
            raise KeyNotFound(f"there is no key {key}")
        return _content(entry)[1]

    def refresh(self, name: KeyName) -> None:
        """Forget this key's value: the next question for it or its neighbours looks at the files."""
        seen = self._seen.get((name.tenant, name.provider))
        if seen is not None:
            seen.checked = -math.inf
            seen.loaded = {id: entry for id, entry in seen.loaded.items() if id != name.id}

    def _look(self, tenant: str, provider: str) -> dict[str, _Loaded]:
        now = self._clock()
        seen = self._seen.get((tenant, provider))
        if seen is not None and now - seen.checked < _CHECK_SECONDS:
            return seen.loaded
        check_name("tenant", tenant)
        check_name("provider", provider)
        before = seen.loaded if seen is not None else {}
        loaded: dict[str, _Loaded] = {}
        folder = self._directory / tenant / provider
        with _unavailable(folder):
            os.stat(self._directory)  # a keystore that is gone is not an empty one
            for id, signature in _files(folder):
                known = before.get(id)
                if known is not None and known.signature == signature:
                    loaded[id] = known
                    continue
                with suppress(FileNotFoundError):  # deleted since
                    loaded[id] = self._load(KeyName(tenant, provider, id), signature)
        if loaded or seen is not None:
            self._seen[tenant, provider] = _Folder(now, loaded)
        return loaded

    def _load(self, name: KeyName, signature: _Signature) -> _Loaded:
        path = _path(self._directory, name)
        sealed = private_files.contents(path, _LARGEST_FILE)
        if sealed is None:
            return _Loaded(signature, f"{path}: is larger than {_LARGEST_FILE} bytes")
        try:
            return _Loaded(signature, self._opener.open(name, sealed))
        except ValueError as error:
            return _Loaded(signature, f"{path}: {error}")


def _content(entry: _Loaded) -> tuple[ProviderKey, Secret]:
    if isinstance(entry.content, str):
        raise KeyDamaged(entry.content)
    return entry.content


def _path(directory: Path, name: KeyName) -> Path:
    return directory / name.tenant / name.provider / (name.id + _SUFFIX)


def _folders(directory: Path) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield entry.name


def _files(folder: Path) -> list[tuple[str, _Signature]]:
    """Id and signature of each key file, sorted. What is not named like one (temporary files too) is none."""
    found: list[tuple[str, _Signature]] = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            id = entry.name.removesuffix(_SUFFIX)
            if id == entry.name or not NAME.fullmatch(id):
                continue
            with suppress(FileNotFoundError):  # deleted since
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found.append((id, (status.st_mtime_ns, status.st_ino, status.st_size)))
    return sorted(found)


def recipient(directory: Path) -> str:
    """The public key of a keystore, as written there. Raises KeyStoreUnavailable."""
    path = directory / RECIPIENT_FILE
    with _unavailable(path):
        return _text(path)


def _opener(identity_file: Path) -> Opener:
    if identity_file.stat().st_mode & 0o077:
        raise KeyStoreUnavailable(f"{identity_file}: others than its owner have access; chmod 600 it")
    try:
        return Opener.of_file(Secret(_text(identity_file)))
    except ValueError:
        raise KeyStoreUnavailable(f"{identity_file}: is not an age identity") from None


def _check_pair(directory: Path, opener: Opener) -> None:
    if recipient(directory) != opener.recipient:
        raise KeyStoreUnavailable(f"{directory / RECIPIENT_FILE}: is not the public key of the identity")


def _text(path: Path) -> str:
    return (private_files.contents(path, _LARGEST_FILE) or b"").decode("utf-8", "replace").strip()


@contextmanager
def _unavailable(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise KeyStoreUnavailable(f"{error.filename or path}: {error.strerror or error}") from error
