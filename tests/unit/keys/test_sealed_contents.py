from __future__ import annotations

import gzip
import os

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrage import x25519

from keyrail.keys import sealed_contents
from keyrail.keys.sealed import new_identity
from keyrail.keys.sealed_contents import Opener
from keyrail.keys.secret import Secret

IDENTITY, RECIPIENT = new_identity()


def file(*identities: Secret) -> Secret:
    return Secret("# a comment\n" + "\n".join(each.reveal() for each in identities) + "\n")


@given(st.binary(max_size=4_000))
def test_what_is_sealed_is_opened_byte_for_byte(text: bytes) -> None:
    sealed = sealed_contents.seal(RECIPIENT, text)
    assert Opener(file(IDENTITY)).open(sealed, len(text)) == text


def test_it_is_an_age_file_of_a_gzip_file() -> None:
    sealed = sealed_contents.seal(RECIPIENT, b"words" * 1000)
    assert sealed.startswith(b"age-encryption.org/v1\n")
    plain = gzip.decompress(pyrage.decrypt(sealed, [x25519.Identity.from_str(IDENTITY.reveal())]))
    assert plain == b"words" * 1000


def test_any_of_several_identities_opens_it() -> None:
    other, _ = new_identity()
    assert Opener(file(other, IDENTITY)).open(sealed_contents.seal(RECIPIENT, b"x"), 1) == b"x"
    with pytest.raises(ValueError, match="another identity"):
        Opener(file(other)).open(sealed_contents.seal(RECIPIENT, b"x"), 1)


def test_what_is_damaged_or_not_as_long_as_it_should_be_is_refused() -> None:
    text = os.urandom(1_000)
    sealed = bytearray(sealed_contents.seal(RECIPIENT, text))
    opener = Opener(file(IDENTITY))
    for size in (0, 999, 1_001):
        with pytest.raises(ValueError, match="not as long"):
            opener.open(bytes(sealed), size)
    sealed[-1] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        opener.open(bytes(sealed), 1_000)
    bare = pyrage.encrypt(b"no gzip", [x25519.Recipient.from_str(RECIPIENT)])
    with pytest.raises(ValueError, match="not a gzip file"):
        opener.open(bare, 7)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "AGE-SECRET-KEY-1XYZ", RECIPIENT])
def test_what_is_no_identity_file_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an age identity file$"):
        Opener(Secret(text))


def test_nothing_is_sealed_to_what_is_no_public_key() -> None:
    with pytest.raises(ValueError, match=r"^not an age public key$"):
        sealed_contents.seal(RECIPIENT[:-1], b"x")
