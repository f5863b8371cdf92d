"""Public keys of the age format, checked for form and checksum (Bech32, BIP 173). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PREFIX: Final = "age"
PRIVATE: Final = "age-secret-key-"
_LETTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_LENGTH: Final = len(PREFIX) + 1 + 52 + 6
"""The prefix, a 1, 256 bits in fives, a checksum."""


def wrong(text: str) -> str | None:
    """What is wrong with it, without repeating it; None: it is a public key."""
    if text.lower().startswith(PRIVATE):
        return (
            "is a private key of age: keep it where contents are read, in no other place, and write the"
            " public one (age1...) here; make a new pair if others could read this file"
        )
    if not text.startswith(f"{PREFIX}1"):
        return "must be a public key of age (age1...), as `keyrail contents keygen` prints one"
    places = [_LETTERS.find(letter) for letter in text[len(PREFIX) + 1 :]]
    if len(text) != _LENGTH or -1 in places:
        return f"is not a whole public key of age: age1 and {_LENGTH - 4} lower-case letters and digits"
    # the last of the 52 has four bits that belong to no byte
    if _checksum([*_expanded(), *places]) != 1 or places[51] & 0xF:
        return "is not a public key of age: its checksum does not match, so something was mistyped"
    return None


def _expanded() -> list[int]:
    return [*(ord(letter) >> 5 for letter in PREFIX), 0, *(ord(letter) & 31 for letter in PREFIX)]


def _checksum(places: Iterable[int]) -> int:
    value = 1
    for place in places:
        top = value >> 25
        value = (value & 0x1FFFFFF) << 5 ^ place
        for bit, part in enumerate(_GENERATOR):
            if top >> bit & 1:
                value ^= part
    return value
