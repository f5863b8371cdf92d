"""Which tenants have their contents kept, for whom, and how long."""

from __future__ import annotations

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrage import x25519

from keyrail.config import recipients
from keyrail.config.document import parse as parse_document
from keyrail.config.problems import ConfigError
from keyrail.contracts.config import Contents

GOOD = "age1c0y0204ra6295hgmawcsna8yurdldt6rpv6x5gqqxv5vp3cdgdgqy9jyjf"
LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def contents(text: str) -> Contents | None:
    return parse_document(f"tenants:\n  acme:\n    contents: {text}\n", "k.yaml", {}).tenants["acme"].contents


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        contents(text)
    (problem,) = caught.value.problems
    return f"{problem.line}: {problem.message}"


def test_a_recipient_is_all_it_takes_and_a_month_the_default() -> None:
    assert contents(f"{{recipient: {GOOD}}}") == Contents(recipient=GOOD, keep_days=30)


@pytest.mark.parametrize(("keep", "days"), [("1d", 1), ("30d", 30), ("400d", 400)])
def test_keep_is_days(keep: str, days: int) -> None:
    assert contents(f"{{recipient: {GOOD}, keep: {keep}}}") == Contents(recipient=GOOD, keep_days=days)


@pytest.mark.parametrize("keep", ["0d", "401d", "30", "4w", "1.5d", "01d", "true", "-1d", "24h"])
def test_any_other_span_is_refused_on_its_line(keep: str) -> None:
    assert problem(f"\n      recipient: {GOOD}\n      keep: {keep}").startswith("5: ")


def test_contents_are_off_unless_they_are_named() -> None:
    assert parse_document("tenants: {acme: {}}", "k.yaml", {}).tenants["acme"].contents is None


def test_without_a_recipient_there_is_nobody_to_encrypt_to() -> None:
    assert "needs a recipient" in problem("{keep: 30d}")
    assert "needs a recipient" in problem("")


@pytest.mark.parametrize(
    "text",
    [GOOD[:-1], GOOD + "q", GOOD.upper(), "age1qqqq", GOOD.replace("age1c", "age1b"), f"ssh-ed25519 {GOOD}"],
)
def test_what_is_no_public_key_is_refused_on_its_line_and_not_repeated(text: str) -> None:
    said = problem(f"\n      recipient: {text}")
    assert said.startswith("4: ")
    assert text not in said


def test_a_private_key_is_told_apart_and_not_repeated() -> None:
    secret = str(x25519.Identity.generate())
    said = problem(f"{{recipient: {secret}}}")
    assert "private key" in said
    assert secret[16:] not in said


def known_to_age(text: str) -> bool:
    try:
        x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        return False
    return True


@given(st.integers(min_value=4, max_value=61), st.sampled_from(LETTERS), st.booleans())
def test_a_letter_that_was_mistyped_is_found_as_age_finds_it(place: int, letter: str, fresh: bool) -> None:
    good = str(x25519.Identity.generate().to_public()) if fresh else GOOD
    assert recipients.wrong(good) is None
    changed = good[:place] + letter + good[place + 1 :]
    assert (recipients.wrong(changed) is None) == known_to_age(changed) == (changed == good)


@given(st.text(alphabet=LETTERS, min_size=58, max_size=58))
def test_what_age_takes_is_taken_and_nothing_else(rest: str) -> None:
    assert (recipients.wrong(f"age1{rest}") is None) == known_to_age(f"age1{rest}")
