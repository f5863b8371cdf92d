from __future__ import annotations

import hashlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.keys import virtual
from keyrail.keys.virtual import Issued

ISSUED = virtual.issue()
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"


def test_an_issued_key_has_the_documented_shape() -> None:
    assert re.fullmatch(r"kr_[a-z0-9]{8}_[0-9A-Za-z]{49}", ISSUED.key)
    assert ISSUED.key.split("_")[1] == ISSUED.id
    assert hashlib.sha256(ISSUED.key.encode()).hexdigest() == ISSUED.sha256


def test_a_known_key_has_a_known_checksum() -> None:
    key = "kr_abcdefgh_" + "0" * 43 + "1VWoOO"
    assert virtual.parse(key) == "abcdefgh"


@given(st.builds(virtual.issue))
def test_issued_keys_come_back_as_their_id_and_match_only_their_own_record(issued: Issued) -> None:
    assert virtual.parse(issued.key) == issued.id
    assert virtual.matches(issued.sha256, issued.key)
    assert not virtual.matches(ISSUED.sha256, issued.key)


def test_no_two_issued_keys_are_alike() -> None:
    keys = [virtual.issue() for _ in range(500)]
    assert len({k.id for k in keys}) == len({k.key for k in keys}) == 500


def test_every_change_of_one_character_is_detected() -> None:
    for position, original in enumerate(ISSUED.key):
        for other in ALPHABET:
            if other != original:
                corrupted = ISSUED.key[:position] + other + ISSUED.key[position + 1 :]
                assert virtual.parse(corrupted) is None, corrupted


@given(st.integers(3, 60), st.characters(exclude_characters=ALPHABET))
def test_a_character_from_elsewhere_is_refused(position: int, other: str) -> None:
    corrupted = ISSUED.key[:position] + other + ISSUED.key[position + 1 :]
    assert virtual.parse(corrupted) is None
    assert not virtual.matches(ISSUED.sha256, corrupted)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kr_",
        "sk-proj-abc",
        ISSUED.key[:-1],
        ISSUED.key + "0",
        ISSUED.key + "\n",
        " " + ISSUED.key,
        ISSUED.key.upper(),
        "Bearer " + ISSUED.key,
        ISSUED.key.replace("kr_", "kr_\u0661", 1),
        "x" * 100_000,
        "kr_\ud800",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert virtual.parse(text) is None
    assert not virtual.matches(ISSUED.sha256, text)


@given(
    st.text(st.characters()) | st.text(ALPHABET[:-1], min_size=49, max_size=49).map("kr_abcdefgh_".__add__)
)
def test_any_text_at_all_has_an_answer(text: str) -> None:
    parsed = virtual.parse(text)
    assert parsed is None or parsed == text[3:11]
    assert not virtual.matches(ISSUED.sha256, text)


@pytest.mark.parametrize("record", ["", "0" * 64, ISSUED.sha256[:-1], ISSUED.sha256.upper(), "\u00e9"])
def test_a_key_does_not_match_another_record(record: str) -> None:
    assert not virtual.matches(record, ISSUED.key)


def test_the_key_is_not_in_what_an_issued_key_prints() -> None:
    assert ISSUED.key[12:] not in f"{ISSUED} {ISSUED!r}"


def test_parsing_and_matching_stay_off_the_list_of_what_costs_time() -> None:
    def once() -> float:
        begun = time.perf_counter()
        for _ in range(1_000):
            assert virtual.parse(ISSUED.key) == ISSUED.id
            assert virtual.matches(ISSUED.sha256, ISSUED.key)
        return (time.perf_counter() - begun) / 1_000

    # About 3 us; the bound leaves room for a busy machine, and still catches a slow hash such as scrypt.
    assert min(once() for _ in range(10)) < 50e-6


def test_a_key_is_given_a_new_secret_under_its_id() -> None:
    first = virtual.issue()
    second = virtual.issue(first.id)
    assert second.id == first.id == virtual.parse(second.key)
    assert second.sha256 != first.sha256


def test_an_id_is_eight_lower_case_letters_and_digits() -> None:
    assert virtual.is_id(virtual.issue().id)
    for text in ("", "abc", "abcdefghi", "ABCDEFGH", "abcdefg.", "abcdefg*", "abcdefgé"):
        assert not virtual.is_id(text)
