"""Virtual keys: `kr_<id>_<secret><checksum>`, the one credential an application holds.

The secret has 256 random bits, so a plain SHA-256 is all that needs storing. The checksum lets scanners tell
a leaked key from look-alikes, and lets whoever stores a key refuse a mistyped one. Ingress does not look at
it: a key whose hash is stored is right in all its parts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Final

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_CHARACTERS: Final = string.digits + string.ascii_lowercase
_ID_AT: Final = len("kr_")
_ID_LENGTH: Final = 8
_SECRET_BYTES: Final = 32
_SECRET_LENGTH: Final = 43  # 62 ** 43 > 2 ** 256
_CHECKSUM_LENGTH: Final = 6  # 62 ** 6 > 2 ** 32
_PAIRS: Final = tuple(a + b for a in _BASE62 for b in _BASE62)
_SHAPE: Final = re.compile(
    rf"kr_([a-z0-9]{{{_ID_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}"
)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new virtual key. `key` is shown to its owner once; only `id` and `sha256` (hex) are stored."""

    id: str
    key: str = field(repr=False)
    sha256: str


def issue(id: str | None = None) -> Issued:
    """A new virtual key, or with `id` a new secret for that one.

    A new id is one of 36 ** 8: whoever stores it makes sure that it is free.
    """
    id = id or "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
    body = f"kr_{id}_{_encoded(secrets.token_bytes(_SECRET_BYTES))}"
    key = body + _checksum(body.encode())
    return Issued(id=id, key=key, sha256=hashlib.sha256(key.encode()).hexdigest())


def parse(text: str) -> str | None:
    """The id of a well-formed key with a right checksum, else None. Says nothing on whether it was issued."""
    shape = _SHAPE.fullmatch(text)
    if shape is None or _checksum(text[:-_CHECKSUM_LENGTH].encode()) != text[-_CHECKSUM_LENGTH:]:
        return None
    return shape[1]


def is_id(text: str) -> bool:
    """Whether a virtual key can have this id."""
    return len(text) == _ID_LENGTH and all(c in _ID_CHARACTERS for c in text)


def id_of(text: str) -> str:
    """Where the id of a key is, whatever `text` is: for finding the record that `matches` then looks at."""
    return text[_ID_AT : _ID_AT + _ID_LENGTH]


def matches(record_sha256: str, text: str) -> bool:
    """Whether `text` is the key that was stored as `record_sha256` (hex), compared in constant time."""
    if not text.isascii():
        return False
    digest = hashlib.sha256(text.encode()).hexdigest()
    return hmac.compare_digest(digest.encode(), record_sha256.encode())


def _encoded(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(digits)


def _checksum(body: bytes) -> str:
    rest, low = divmod(zlib.crc32(body), 3844)
    high, middle = divmod(rest, 3844)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]
