"""Signatures of thoughts: made by the sandbox, and recognised when they come back changed.

A seal holds what it is for and a keyed hash of it, so no memory is needed to check one.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b
from typing import Any

import msgspec

_KEY = b"a sandbox has no secrets"
_SIZE = 12


def digest(text: str) -> bytes:
    """What a seal covers of a text."""
    return blake2b(text.encode(), digest_size=_SIZE).digest()


def call_digest(name: str, arguments: Any) -> bytes:
    """What a seal covers of a call, however its JSON is written."""
    return digest(name + " " + msgspec.json.encode(arguments, order="sorted").decode())


def seal(owner: str, covered: bytes) -> str:
    """A seal of this owner (a dialect) over what `digest` gave."""
    return base64.b64encode(covered + _mac(owner, covered)).decode()


def covered_by(owner: str, text: object) -> bytes | None:
    """What the seal covers; None when it is not this owner's, or was changed."""
    if not isinstance(text, str):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    covered, mac = data[:_SIZE], data[_SIZE:]
    return covered if mac == _mac(owner, covered) else None


def _mac(owner: str, covered: bytes) -> bytes:
    return blake2b(covered, digest_size=2 * _SIZE, key=_KEY, person=owner.encode()).digest()
