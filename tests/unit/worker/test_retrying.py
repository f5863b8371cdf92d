"""Which failures are tried again, when, and what the client hears in the end."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.slips import TAKE_BY_MS, Facts, Plan, Slip, Spent, Target
from keyrail_provider_worker import fallback, retrying
from keyrail_provider_worker.retrying import Again

A, B, C = (Target(provider=name, model="m") for name in "abc")
NOW = 1_000


def slip(*targets: Target, retries: int = 1, **more: Any) -> Slip:
    plan = Plan(strategy="fallback", targets=targets, route="fast", retries=retries)
    return Slip(
        request_id="r",
        inbox="_INBOX_ingress.x.r.0",
        tenant="default",
        key_id="k",
        received_ms=0,
        deadline_ms=60_000,
        take_by_ms=3_000,
        facts=Facts(model="fast", input_tokens_estimate=500, max_output_tokens=100),
        plan=plan,
        position=len(targets) - 1,
    ).replace(**more)


def spent(
    target: Target, kind: FailureKind, wait_s: float | None = None, code: str | None = None, **more: Any
) -> Spent:
    failure = Failure(kind=kind, message="", status=500, retry_after_s=wait_s, code=code)
    return Spent(attempt_id="a", provider=target.provider, model=target.model, failure=failure, **more)


def again(asked: Slip, last: Spent, *, down: tuple[Target, ...] = (), draw: float = 0.5) -> Again | None:
    return retrying.again(asked, last, NOW, head_sent=False, down=down, draw=draw)


TABLE: list[tuple[FailureKind, float | None, str | None, bool]] = [
    ("connection", None, None, True),
    ("connection", None, "connection_stale", True),
    ("capacity", None, None, True),
    ("capacity", 30.0, None, False),
    ("server", None, None, True),
    ("truncated", None, None, True),
    ("rate", 2.0, None, True),
    ("rate", 8.1, None, False),
    ("rate", None, None, False),
    ("timeout", None, "timeout_connect", True),
    ("timeout", None, "timeout_first_byte", False),
    ("timeout", None, "timeout_first_token", False),
    ("timeout", None, "timeout_total", False),
    ("garbage", None, None, False),
    ("auth", None, None, False),
    ("money", None, None, False),
    ("no_key", None, None, False),
    ("model_missing", None, None, False),
    ("context", None, None, False),
    ("policy", None, None, False),
    ("bad_request", None, None, False),
    ("cancelled", None, None, False),
    ("internal", None, None, False),
]


@pytest.mark.parametrize(
    ("kind", "wait_s", "code", "retried"), TABLE, ids=[f"{k}-{w}-{c}" for k, w, c, _ in TABLE]
)
def test_what_passes_by_itself_is_tried_again(
    kind: FailureKind, wait_s: float | None, code: str | None, retried: bool
) -> None:
    found = again(slip(A), spent(A, kind, wait_s, code))
    assert (found is not None) == retried
    if found is not None:
        assert (found.slip.target, found.slip.hop, found.slip.rounds) == (A, 1, (1,))
        assert found.wait_s >= (wait_s or 0)
        assert found.slip.take_by_ms == NOW + round(found.wait_s * 1000) + TAKE_BY_MS


def test_the_wait_has_full_jitter_and_grows() -> None:
    first = slip(A, retries=9)
    assert (found := again(first, spent(A, "server"), draw=1.0)) is not None
    assert found.wait_s == 0.25
    assert (found := again(first, spent(A, "server"), draw=0.0)) is not None
    assert found.wait_s == 0
    waits = list[float]()
    for rounds in range(8):
        found = again(first.replace(rounds=(1,) * rounds), spent(A, "server"), draw=1.0)
        assert found is not None
        waits.append(found.wait_s)
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 8, 8]


def test_the_target_that_is_back_first_is_asked_first_and_those_that_are_down_are_not() -> None:
    asked = slip(A, B, C, spent=(spent(A, "rate", 5.0), spent(B, "rate", 2.0)))
    found = again(asked, spent(C, "garbage"))
    assert found is None, "the last failure does not pass"
    found = again(asked, spent(C, "rate", 3.0))
    assert found is not None
    assert (found.slip.target, found.wait_s) == (B, 2.0)
    found = again(asked, spent(C, "rate", 3.0), down=(B,))
    assert found is not None
    assert (found.slip.target, found.wait_s) == (C, 3.0)
    assert again(asked, spent(C, "rate", 3.0), down=(A, B, C)) is None


def test_no_more_rounds_than_the_plan_has_retries_and_none_past_the_deadline() -> None:
    assert again(slip(A, retries=0), spent(A, "server")) is None
    assert again(slip(A, rounds=(1,)), spent(A, "server")) is None
    assert again(slip(A, deadline_ms=NOW + 1_999), spent(A, "rate", 2.0)) is None
    assert again(slip(A, deadline_ms=NOW + 2_001), spent(A, "rate", 2.0)) is not None
    assert again(slip(A, role="hedge"), spent(A, "server")) is None, "the racer sees to its contenders"


def test_a_round_goes_on_to_the_targets_that_may_be_well_again() -> None:
    first = (spent(A, "server"), spent(B, "garbage"), spent(C, "server"))
    asked = slip(A, B, C, spent=first, position=0, rounds=(3,))
    following = fallback.next_slip(asked, spent(A, "server"), NOW, head_sent=False)
    assert following is not None
    assert following.target == C, "B said nonsense, and would again"
    assert fallback.next_slip(following, spent(C, "server"), NOW, head_sent=False) is None


def test_keys_that_were_limited_before_the_wait_may_be_used_after_it() -> None:
    limited = spent(A, "rate", 1.0, provider_key_id="one")
    refused = spent(A, "auth", provider_key_id="two")
    assert fallback.tried((limited, refused), A) == {"one", "two"}
    assert fallback.tried((limited, refused), A, (2,)) == {"two"}


WINDOWS = [
    ((1_000, 2_000, 500), [B]),
    ((1_000, 1_000, 3_000), [C]),
    ((1_000, None, None), []),
    ((None, 601, 600), [B]),
    ((), []),
]


@pytest.mark.parametrize(("windows", "expected"), WINDOWS, ids=["larger", "third", "unknown", "own", "none"])
def test_what_overflows_goes_only_where_the_window_is_known_to_be_larger(
    windows: tuple[int | None, ...], expected: list[Target]
) -> None:
    asked = slip(A, B, C, position=0)
    assert asked.plan is not None
    asked = asked.replace(plan=asked.plan.replace(windows=windows))
    following = fallback.next_slip(asked, spent(A, "context"), NOW, head_sent=False)
    assert ([] if following is None else [following.target]) == expected


def test_after_an_overflow_no_smaller_window_is_tried_for_another_failure() -> None:
    asked = slip(A, B, C, position=1, spent=(spent(A, "context"),))
    assert asked.plan is not None
    plan = asked.plan.replace(windows=(1_000, 2_000, 500))
    assert fallback.next_slip(asked.replace(plan=plan), spent(B, "server"), NOW, head_sent=False) is None


def final(asked: Slip, last: Spent, **until_ms: int) -> Failure:
    return retrying.final(asked, last, NOW, lambda target: until_ms.get(target.provider))


def test_the_only_targets_failure_is_told_as_it_is() -> None:
    last = spent(A, "server", 3.0)
    assert final(slip(A), last) is last.failure
    own = spent(B, "bad_request")
    assert final(slip(A, B, spent=(spent(A, "server"),)), own, a=NOW + 5_000) is own.failure


def test_when_all_are_down_it_is_a_503_with_the_soonest_return() -> None:
    told = final(slip(A, B, spent=(spent(A, "server"),)), spent(B, "capacity", 30.0), a=NOW + 7_000)
    assert (told.status, told.kind, told.code, told.retry_after_s) == (503, "capacity", "targets_down", 7)
    told = final(slip(A), spent(A, "connection"), a=NOW + 4_500)
    assert (told.status, told.retry_after_s) == (503, 4.5), "its breaker is open"
    told = final(slip(A, B, spent=(spent(A, "server"),)), spent(B, "garbage"))
    assert (told.status, told.retry_after_s) == (503, None), "nobody knows when"


def test_of_one_target_the_later_word_counts() -> None:
    told = final(slip(A, B, spent=(spent(A, "capacity", 2.0),)), spent(B, "server", 60.0), a=NOW + 9_000)
    assert told.retry_after_s == 9


def test_when_all_limit_us_it_stays_a_429_and_when_all_are_slow_a_504() -> None:
    last = Failure(kind="rate", message="slow down", status=429, retry_after_s=20.0)
    told = final(
        slip(A, B, spent=(spent(A, "rate", 5.0),)),
        Spent(attempt_id="b", provider="b", model="m", failure=last),
    )
    assert (told.kind, told.status, told.retry_after_s) == ("rate", 429, 5.0)
    told = final(slip(A, B, spent=(spent(A, "timeout"),)), spent(B, "timeout"))
    assert told.kind == "timeout"
