"""Prompts and answers as bytes that only the holder of a private identity can read. No I/O.

A sealed text is an age file (X25519) of a gzip file, so that Keyrail is not needed to read it:
`age --decrypt --identity FILE | gunzip`. Sealing releases the interpreter's lock: do it in a thread.
"""

from __future__ import annotations

import zlib
from typing import Final

import pyrage
from pyrage import x25519

from keyrail.keys.secret import Secret

_FAST: Final = 1
"""The least effort: text gets a sixth longer than with the usual one, in a quarter of the time."""
_GZIP: Final = 31
"""zlib's word for a gzip header around the largest window."""


def seal(recipient: str, text: bytes) -> bytes:
    """Compress, then encrypt. Raises ValueError when `recipient` is not an age public key."""
    try:
        to = x25519.Recipient.from_str(recipient)
    except pyrage.RecipientError:
        raise ValueError("not an age public key") from None
    return pyrage.encrypt(zlib.compress(text, _FAST, _GZIP), [to])


class Opener:
    """Holds the private identities of a file: comments, and one or more of them. Raises ValueError."""

    __slots__ = ("_identities", "recipients")

    def __init__(self, file: Secret) -> None:
        lines = [line.strip() for line in file.reveal().splitlines()]
        try:
            self._identities = [
                x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")
            ]
        except pyrage.IdentityError:
            self._identities = []
        if not self._identities:
            raise ValueError("not an age identity file")
        self.recipients = tuple(str(each.to_public()) for each in self._identities)

    def open(self, sealed: bytes, size: int) -> bytes:
        """The text, whose size is known. Raises ValueError, with a sentence without contents."""
        try:
            packed = pyrage.decrypt(sealed, self._identities)
        except pyrage.DecryptError:
            raise ValueError("cannot be opened: it was written for another identity, or is damaged") from None
        unpacking = zlib.decompressobj(_GZIP)
        try:
            text = unpacking.decompress(packed, size + 1)
        except zlib.error:
            raise ValueError("was opened, but is not a gzip file") from None
        if len(text) != size or not unpacking.eof:
            raise ValueError("was opened, but is not as long as the ledger says")
        return text
