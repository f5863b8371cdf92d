"""When a stream that broke off goes on at another target."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.slips import Facts, Plan, Slip, Spent, Target
from keyrail_provider_worker import midstream

TARGETS = tuple(Target(provider="p", model=name) for name in "abc")


def slip(*, prefills: tuple[bool, ...] = (True, False, True), mode: Any = "continue", **facts: Any) -> Slip:
    return Slip(
        request_id="r",
        inbox="_INBOX_ingress.x.r.0",
        tenant="default",
        key_id="k",
        received_ms=0,
        deadline_ms=600_000,
        take_by_ms=3_000,
        facts=Facts(model="m", stream=True).replace(**facts),
        plan=Plan(strategy="fallback", targets=TARGETS, prefills=prefills, mid_stream=mode),
    )


def spent(kind: FailureKind) -> Spent:
    return Spent(attempt_id="a", provider="p", model="a", failure=Failure(kind=kind, message="", status=502))


def test_it_is_wanted_where_the_route_says_so_and_a_later_target_can() -> None:
    assert midstream.wanted(slip())
    assert not midstream.wanted(slip(mode="stop"))
    assert not midstream.wanted(slip(prefills=(True, False, False)))
    assert not midstream.wanted(slip(prefills=()))
    assert not midstream.wanted(slip().replace(position=2))


@pytest.mark.parametrize(
    "facts",
    [
        {"stream": False},
        {"json_mode": True},
        {"json_schema": True},
        {"choices": 2},
        {"operation": "count_tokens"},
    ],
    ids=str,
)
def test_what_two_models_cannot_share_is_not_split(facts: dict[str, Any]) -> None:
    assert not midstream.wanted(slip(**facts))


@pytest.mark.parametrize("kind", ["truncated", "server", "capacity", "timeout", "connection", "garbage"])
def test_the_next_target_that_can_goes_on(kind: FailureKind) -> None:
    following = midstream.following(slip(), spent(kind), 1_000, closed=())
    assert following is not None
    assert (following.target, following.role) == (TARGETS[2], "continue")
    assert (following.hop, following.head_sent) == (1, True)


@pytest.mark.parametrize("kind", ["bad_request", "policy", "cancelled", "internal", "rate", "context"])
def test_what_is_no_breaking_off_ends_the_answer(kind: FailureKind) -> None:
    assert midstream.following(slip(), spent(kind), 1_000, closed=()) is None


def test_without_a_key_for_it_or_after_the_deadline_nobody_goes_on() -> None:
    assert midstream.following(slip(), spent("truncated"), 1_000, closed={2}) is None
    assert midstream.following(slip(), spent("truncated"), 600_000, closed=()) is None


def test_one_that_was_to_go_on_and_is_limited_itself_passes_it_to_the_next() -> None:
    begun = slip(prefills=(True, True, True)).replace(role="continue", position=1)
    following = midstream.following(begun, spent("rate"), 1_000, closed=())
    assert following is not None
    assert (following.target, following.role) == (TARGETS[2], "continue")
