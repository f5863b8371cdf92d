"""A provider key's value stays out of what a provider says about it."""

import pytest

from keyrail.contracts.failures import Failure
from keyrail_provider_worker import redact

KEY = "sk-canary-0123456789"


def test_no_part_of_a_failure_keeps_the_key() -> None:
    quoting = Failure(
        kind="bad_request",
        message=f"bad header: Bearer {KEY}, {KEY}",
        status=400,
        code=KEY,
        param=f"headers.{KEY}",
        error={"message": f"Bearer {KEY}", KEY: [{"deep": [KEY, 1, None, True]}]},
    )
    clean = redact.failure(quoting, KEY)
    assert KEY not in clean.encode().decode()
    assert clean.message == "bad header: Bearer [redacted], [redacted]"
    assert clean.error == {
        "message": "Bearer [redacted]",
        "[redacted]": [{"deep": ["[redacted]", 1, None, True]}],
    }
    assert (clean.kind, clean.status) == ("bad_request", 400)


def test_a_failure_without_the_key_stays_as_it_is() -> None:
    plain = Failure(
        kind="rate", message="slow down", status=429, retry_after_s=2, error={"message": "slow down"}
    )
    assert redact.failure(plain, KEY) == plain


@pytest.mark.parametrize(
    ("words", "clean"),
    [
        (f"cut within {KEY[:-1]}", "cut within [redacted]"),
        (f"cut within {KEY[:8]}", "cut within [redacted]"),
        (f"too short to tell {KEY[:7]}", f"too short to tell {KEY[:7]}"),
        ("", ""),
    ],
)
def test_a_text_that_was_cut_within_the_key_keeps_no_beginning_of_it(words: str, clean: str) -> None:
    assert redact.text(words, KEY) == clean


def test_without_a_key_nothing_is_replaced() -> None:
    assert redact.text("all of it", "") == "all of it"
