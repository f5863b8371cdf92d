"""What every store of provider keys offers: one side reads values, the other writes them.

Errors of all stores:

    KeyStoreError
    +-- InvalidKey            a name, value or weight that no store takes; the message never repeats it
    +-- KeyNotFound           no such key
    +-- KeyDamaged            something is stored under this name, but it is not a key of this name
    +-- KeyStoreUnavailable   the store as a whole cannot be used now
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from keyrail.keys.secret import Secret

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Tenants, providers and key ids, matched in full."""

LONGEST_VALUE: Final = 16_384
HIGHEST_WEIGHT: Final = 1_000_000
_PRINTABLE = re.compile(r"[ -~]+")


class KeyStoreError(Exception):
    """Base of all errors of key stores."""


class InvalidKey(KeyStoreError):
    """A name, value or weight that no store takes."""


class KeyNotFound(KeyStoreError):
    """No such key."""


class KeyDamaged(KeyStoreError):
    """What is stored under this name is not a key of this name."""


class KeyStoreUnavailable(KeyStoreError):
    """The store as a whole cannot be used now."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """Where a provider key is filed. Making one checks it: raises InvalidKey."""

    tenant: str
    provider: str
    id: str

    def __post_init__(self) -> None:
        check_name("tenant", self.tenant)
        check_name("provider", self.provider)
        check_name("key id", self.id)

    def __str__(self) -> str:
        return f"{self.tenant}/{self.provider}/{self.id}"


@dataclass(frozen=True, slots=True)
class ProviderKey(KeyName):
    """A provider key without its value. Keys of one provider share its traffic by `weight`; 0 takes none."""

    weight: int


KeyNames = list[KeyName]  # inside KeyWriter, `list` is a method


class KeyReader(Protocol):
    """What provider-worker holds."""

    async def open(self) -> None:
        """Return once the store can be read, however long that takes. The log says what it waits for."""
        ...

    async def close(self) -> None:
        """Stop what runs in the background."""
        ...

    def refresh(self, name: KeyName) -> None:
        """This key was changed in the store: see the change within a second, without making anybody wait."""
        ...

    async def keys(self, tenant: str, provider: str) -> list[ProviderKey]:
        """The tenant's keys at this provider, by id; empty when there are none.

        Raises InvalidKey, KeyDamaged, KeyStoreUnavailable.
        """
        ...

    async def value(self, key: KeyName) -> Secret:
        """The key's current value. Raises KeyNotFound, KeyDamaged, KeyStoreUnavailable."""
        ...


class KeyWriter(Protocol):
    """What control holds: it puts values in and cannot get them out again."""

    async def open(self) -> None:
        """Return once the store can be written, however long that takes. The log says why it waits."""
        ...

    async def close(self) -> None:
        """Stop what runs in the background."""
        ...

    async def put(self, tenant: str, provider: str, id: str, value: Secret, weight: int = 1) -> None:
        """Store a key durably, replacing the one of the same name. Raises InvalidKey, KeyStoreUnavailable."""
        ...

    async def delete(self, tenant: str, provider: str, id: str) -> None:
        """Remove a key. Raises InvalidKey, KeyNotFound, KeyStoreUnavailable."""
        ...

    async def list(self) -> KeyNames:
        """The names of all keys, sorted. Weights are for readers only. Raises KeyStoreUnavailable."""
        ...


def check_name(what: str, text: str) -> None:
    """Raise InvalidKey unless `text` is a name. It is not repeated: people paste keys in the wrong place."""
    if not NAME.fullmatch(text):
        raise InvalidKey(
            f"the {what} must be 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or a digit"
        )


def check_value(value: Secret, weight: int) -> None:
    """Raise InvalidKey unless the value can be sent in a header and the weight can be drawn by."""
    text = value.reveal()
    if not text.strip():
        raise InvalidKey("the value is blank")
    if len(text) > LONGEST_VALUE:
        raise InvalidKey(f"the value is longer than {LONGEST_VALUE} characters")
    if text != text.strip() or not _PRINTABLE.fullmatch(text):
        raise InvalidKey(
            "the value has characters that a key cannot have: blanks around it, line breaks or non-ASCII"
        )
    if type(weight) is not int or not 0 <= weight <= HIGHEST_WEIGHT:
        raise InvalidKey(f"the weight must be a whole number from 0 to {HIGHEST_WEIGHT}")
