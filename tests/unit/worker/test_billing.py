"""Of what usage a cost is worked out, by what the provider bills for an answer that was broken off."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail_provider_worker.billing import billed

SAID = Usage(input_tokens=10, output_tokens=4, estimated=True)
NOTHING = Usage()


def failure(kind: FailureKind) -> Failure:
    return Failure(kind=kind, message="", status=499)


def facts(**more: Any) -> Facts:
    return Facts(model="m", stream=True, input_tokens_estimate=10).replace(**more)


def counts(usage: Usage | None) -> tuple[int | None, int | None] | None:
    return None if usage is None else (usage.input_tokens, usage.output_tokens)


def test_what_the_provider_counted_is_exact_whatever_became_of_the_client() -> None:
    usage = Usage(input_tokens=9, output_tokens=3)
    assert billed(usage, failure("cancelled"), facts(), "groq") == (usage, "exact")
    assert billed(usage, None, facts(), "openai") == (usage, "exact")


@pytest.mark.parametrize(
    ("provider", "usage", "limit", "expected", "basis"),
    [
        ("openai", SAID, 100, (10, 4), "estimated"),
        ("openai", NOTHING, 100, (10, 0), "estimated"),
        ("groq", SAID, 100, (10, 100), "assumed_full"),
        ("groq", NOTHING, 100, (10, 100), "assumed_full"),
        ("groq", SAID, None, None, "assumed_full"),
        ("sandbox", SAID, 100, (10, 4), "estimated"),
        ("sandbox", NOTHING, 100, (None, None), "estimated"),
        ("declared-here", SAID, None, (10, 4), "estimated"),
    ],
)
def test_a_stream_that_was_broken_off(
    provider: str, usage: Usage, limit: int | None, expected: tuple[int | None, int | None] | None, basis: str
) -> None:
    found, on = billed(usage, failure("cancelled"), facts(max_output_tokens=limit), provider)
    assert (counts(found), on) == (expected, basis)
    assert found is None or found == NOTHING or found.estimated


@pytest.mark.parametrize(("limit", "expected"), [(50, (10, 100)), (None, None)])
def test_an_answer_that_is_not_streamed_is_billed_in_full(
    limit: int | None, expected: tuple[int, int] | None
) -> None:
    asked = facts(stream=False, max_output_tokens=limit, choices=2)
    found, basis = billed(NOTHING, failure("cancelled"), asked, "openai")
    assert (counts(found), basis) == (expected, "assumed_full")


def test_embeddings_have_no_answer_to_bill() -> None:
    asked = facts(stream=False, dialect="openai-embeddings")
    found, _ = billed(NOTHING, failure("cancelled"), asked, "openai")
    assert counts(found) == (10, 0)


@pytest.mark.parametrize("kind", ["truncated", "timeout", "connection", "garbage"])
def test_of_a_call_that_was_never_answered_nobody_says_what_it_did_cost(kind: FailureKind) -> None:
    assert billed(NOTHING, failure(kind), facts(max_output_tokens=9), "groq") == (NOTHING, "estimated")


def test_a_stream_that_stalled_was_broken_off_by_this_gateway() -> None:
    found, basis = billed(SAID, failure("timeout"), facts(max_output_tokens=9), "groq")
    assert (counts(found), basis) == ((10, 9), "assumed_full")
    assert billed(SAID, failure("truncated"), facts(max_output_tokens=9), "groq") == (SAID, "estimated")
