"""A provider key as bytes that only the holder of the identity can open (age, X25519). No I/O."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pyrage
from pyrage import x25519

from keyrail.keys.base import InvalidKey, KeyName, ProviderKey, check_value
from keyrail.keys.secret import Secret


class _Content(msgspec.Struct):
    """The plaintext. It repeats the name that it is filed under."""

    tenant: str
    provider: str
    id: str
    weight: int
    value: Secret


def _to_secret(_: type, value: Any) -> Secret:
    return Secret(value)


_CONTENT: Final = msgspec.json.Decoder(_Content, dec_hook=_to_secret)


class Sealer:
    """Holds a public key: seals, cannot open. Raises ValueError when `recipient` is not an age public key."""

    __slots__ = ("_recipient",)

    def __init__(self, recipient: str) -> None:
        try:
            self._recipient = x25519.Recipient.from_str(recipient)
        except pyrage.RecipientError:
            raise ValueError("not an age public key") from None

    def seal(self, key: ProviderKey, value: Secret) -> bytes:
        """An age file, bound to the key's name."""
        name = {"tenant": key.tenant, "provider": key.provider, "id": key.id, "weight": key.weight}
        return pyrage.encrypt(
            msgspec.json.encode(name | {"value": value.reveal()}),
            [self._recipient],
        )


class Opener:
    """Holds the private identity. Raises ValueError when the text is not one."""

    __slots__ = ("_identity", "recipient")

    def __init__(self, identity: Secret) -> None:
        try:
            self._identity = x25519.Identity.from_str(identity.reveal())
        except pyrage.IdentityError:
            raise ValueError("not an age identity") from None
        self.recipient = str(self._identity.to_public())

    @classmethod
    def of_file(cls, text: Secret) -> Opener:
        """From an identity file: comments and one identity. Raises ValueError."""
        lines = [line for line in text.reveal().splitlines() if line and not line.startswith("#")]
        return cls(Secret(lines[0].strip() if len(lines) == 1 else ""))

    def open(self, name: KeyName, sealed: bytes) -> tuple[ProviderKey, Secret]:
        """The key sealed under this name. Raises ValueError, with a sentence without contents."""
        content = self._content(sealed)
        if content is None:
            raise ValueError("cannot be opened: it is damaged, or was written for another identity")
        if (content.tenant, content.provider, content.id) != (name.tenant, name.provider, name.id):
            raise ValueError("holds a key of another name")
        try:
            check_value(content.value, content.weight)
        except InvalidKey as error:
            raise ValueError(f"holds what is not a key: {error}") from None
        return ProviderKey(name.tenant, name.provider, name.id, content.weight), content.value

    def _content(self, sealed: bytes) -> _Content | None:
        # The plaintext stays out of every frame that raises: a traceback may show a frame's variables.
        try:
            return _CONTENT.decode(pyrage.decrypt(sealed, [self._identity]))
        except (pyrage.DecryptError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


def new_identity() -> tuple[Secret, str]:
    """A new private identity and its public key."""
    identity = x25519.Identity.generate()
    return Secret(str(identity)), str(identity.to_public())
