from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.failures import FALLS_OVER, Failure, FailureKind
from keyrail.contracts.signals import HoldSettled
from keyrail.contracts.slips import TAKE_BY_MS, Facts, Hold, Plan, Slip, Spent, Target
from keyrail.keys.pool import KEYS_OUT
from keyrail_provider_worker import fallback, render, settle

TARGETS = (Target(provider="groq", model="a"), Target(provider="openai", model="b"))
SLIP = Slip(
    request_id="r",
    inbox="_INBOX_ingress.x.r.0",
    tenant="default",
    key_id="k",
    received_ms=0,
    deadline_ms=600_000,
    take_by_ms=3_000,
    facts=Facts(model="fast"),
    plan=Plan(strategy="fallback", targets=TARGETS, route="fast"),
)


def spent(kind: FailureKind = "rate", cost: Decimal | None = Decimal(0)) -> Spent:
    failure = Failure(kind=kind, message="", status=429)
    return Spent(attempt_id="a", provider="groq", model="a", failure=failure, cost_usd=cost)


def test_the_slip_goes_on_to_the_next_target_with_what_was_spent() -> None:
    following = fallback.next_slip(SLIP, spent(), 1_000, head_sent=True)
    assert following is not None
    assert following.target == TARGETS[1]
    assert (following.hop, following.epoch, following.head_sent) == (1, 0, True)
    assert following.take_by_ms == 1_000 + TAKE_BY_MS
    assert following.spent == (spent(),)


def test_after_the_last_target_there_is_none() -> None:
    last = SLIP.replace(position=1)
    assert fallback.next_slip(last, spent(), 1_000, head_sent=False) is None


def test_nothing_starts_after_the_deadline() -> None:
    assert fallback.next_slip(SLIP, spent(), 600_000, head_sent=False) is None


@pytest.mark.parametrize("kind", ["bad_request", "policy", "cancelled", "unavailable", "internal", "context"])
def test_what_the_caller_or_this_gateway_did_wrong_does_not_fall_over(kind: FailureKind) -> None:
    assert kind not in FALLS_OVER
    assert fallback.next_slip(SLIP, spent(kind), 1_000, head_sent=False) is None


def test_the_cost_header_is_the_sum_over_all_attempts() -> None:
    slip = SLIP.replace(spent=(spent(cost=Decimal("0.1")),))
    assert render.total(slip, Decimal("0.02")) == Decimal("0.12")
    headers = dict(render.head(slip, (), length=2, cost_usd=Decimal("0.12")).headers)
    assert headers["x-keyrail-cost-usd"] == "0.12"
    assert headers["x-keyrail-attempts"] == "2"


def test_one_unknown_cost_makes_the_sum_unknown() -> None:
    slip = SLIP.replace(spent=(spent(cost=None),))
    assert render.total(slip, Decimal("0.02")) is None
    assert "x-keyrail-cost-usd" not in dict(render.head(slip, (), length=2, cost_usd=None).headers)


def test_what_a_provider_does_not_take_is_named_in_one_safe_header() -> None:
    head = dict(render.head(SLIP, ("top_k", "messages[1].n\r\n\u00e9")).headers)
    assert head["x-keyrail-dropped"] == "top_k, messages[1].n??\\xe9"
    long = dict(render.head(SLIP, tuple(f"field{number}" for number in range(999))).headers)
    assert len(long["x-keyrail-dropped"]) == render.MAX_DROPPED
    assert "x-keyrail-dropped" not in dict(render.head(SLIP, ()).headers)


@pytest.mark.parametrize("kind", ["auth", "money", "no_key"])
def test_a_key_that_was_refused_is_not_tried_again_for_another_model(kind: FailureKind) -> None:
    groq, other, openai = Target(provider="groq", model="a"), Target(provider="groq", model="b"), TARGETS[1]
    slip = SLIP.replace(plan=Plan(strategy="fallback", targets=(groq, other, openai), route="fast"))
    following = fallback.next_slip(slip, spent(kind), 1_000, head_sent=False)
    assert following is not None
    assert (following.target, following.hop) == (openai, 1)
    limited = fallback.next_slip(slip, spent("rate"), 1_000, head_sent=False)
    assert limited is not None
    assert limited.target == other
    back = slip.replace(plan=Plan(strategy="fallback", targets=(groq, openai, other), route="fast"))
    second = fallback.next_slip(back, spent(kind), 1_000, head_sent=False)
    assert second is not None
    failed = Spent(attempt_id="b", provider="openai", model="b", failure=spent("server").failure)
    assert fallback.next_slip(second, failed, 1_000, head_sent=False) is None


def of_key(key: str | None, kind: FailureKind = "rate", target: Target = TARGETS[0], **more: Any) -> Spent:
    failure = Failure(kind=kind, message="", status=429, **more)
    return Spent(
        attempt_id="a", provider=target.provider, model=target.model, failure=failure, provider_key_id=key
    )


@pytest.mark.parametrize("kind", ["rate", "money", "auth"])
def test_another_key_of_the_pool_is_tried_before_the_next_target(kind: FailureKind) -> None:
    following = fallback.next_slip(SLIP, of_key("k1", kind), 1_000, head_sent=False)
    assert following is not None
    assert (following.position, following.hop) == (0, 1)
    assert fallback.tried(following.spent, following.target) == {"k1"}


def test_without_another_key_the_next_target_is_due() -> None:
    following = fallback.next_slip(SLIP, of_key("k1"), 1_000, head_sent=False, closed={0})
    assert following is not None
    assert following.target == TARGETS[1]


def test_a_target_is_tried_with_so_many_keys_and_no_more() -> None:
    slip, count = SLIP, 0
    while slip.position == 0:
        count += 1
        following = fallback.next_slip(slip, of_key(f"k{count}"), 1_000, head_sent=False)
        assert following is not None
        slip = following
    assert count == fallback.MOST_KEYS


@pytest.mark.parametrize("kind", ["capacity", "server", "timeout", "connection", "model_missing"])
def test_what_is_not_the_keys_fault_is_not_tried_with_another_key(kind: FailureKind) -> None:
    following = fallback.next_slip(SLIP, of_key("k1", kind), 1_000, head_sent=False)
    assert following is not None
    assert following.target == TARGETS[1]
    assert fallback.tried(following.spent, TARGETS[0]) == frozenset()


def test_a_value_that_was_changed_since_says_nothing_against_its_key() -> None:
    spent = of_key("k1", "auth", code=fallback.KEY_CHANGED)
    assert fallback.tried((spent,), TARGETS[0]) == frozenset()
    following = fallback.next_slip(SLIP, spent, 1_000, head_sent=False)
    assert following is not None
    assert following.position == 0


def test_a_key_refused_for_one_model_may_serve_another_one() -> None:
    other = Target(provider="groq", model="b")
    spent = (of_key("k1", "auth", only_here=True),)
    assert fallback.tried(spent, TARGETS[0]) == {"k1"}
    assert fallback.tried(spent, other) == frozenset()
    assert fallback.tried((of_key("k1", "auth"),), other) == {"k1"}
    assert fallback.tried(spent, TARGETS[1]) == frozenset()


def test_only_where_keys_were_refused_the_pool_is_asked_for_another_one() -> None:
    other = Target(provider="groq", model="b")
    slip = SLIP.replace(plan=Plan(strategy="fallback", targets=(*TARGETS, other)))
    assert fallback.in_question(slip, of_key("k1")) == [0, 2]
    assert fallback.in_question(slip, of_key(None, code=KEYS_OUT)) == [0, 2]
    assert fallback.in_question(slip, of_key("k1", "server")) == []
    assert fallback.in_question(slip.replace(position=1), of_key("k1", "rate", TARGETS[1])) == [1]


def test_a_pool_that_is_out_is_passed_over_for_all_its_models() -> None:
    other = Target(provider="groq", model="b")
    slip = SLIP.replace(plan=Plan(strategy="fallback", targets=(TARGETS[0], other, TARGETS[1])))
    for spent in (of_key(None, "rate", code=KEYS_OUT), of_key("k1", "rate")):
        following = fallback.next_slip(slip, spent, 1_000, head_sent=False, closed={0, 1})
        assert following is not None
        assert following.target == TARGETS[1]
    open_again = fallback.next_slip(slip, of_key(None, code=KEYS_OUT), 1_000, head_sent=False, closed={0})
    assert open_again is not None
    assert open_again.target == other


def holding(*most: str | None, usd: str) -> Slip:
    hold = Hold(router="x", usd=Decimal(usd), most=tuple(Decimal(m) if m else None for m in most))
    targets = tuple(Target(provider=f"p{place}", model="m") for place in range(len(most)))
    return SLIP.replace(plan=Plan(strategy="fallback", targets=targets), hold=hold)


def test_a_target_that_the_rest_of_the_hold_does_not_pay_for_is_passed_over() -> None:
    slip = holding("1", "3", "2", usd="2.5")
    following = fallback.next_slip(slip, spent(cost=Decimal("0.5")), 1_000, head_sent=False)
    assert following is not None
    assert following.position == 2
    assert following.hold is not None
    assert following.hold.usd == 2
    last = fallback.next_slip(holding("1", "3", usd="3"), spent(cost=Decimal("0.5")), 1_000, head_sent=False)
    assert last is None


def test_an_attempt_of_unknown_cost_counts_with_the_most_it_could() -> None:
    slip = holding("1", "2", usd="2.5")
    assert fallback.next_slip(slip, spent(cost=None), 1_000, head_sent=False) is None
    enough = fallback.next_slip(holding("1", "2", usd="3"), spent(cost=None), 1_000, head_sent=False)
    assert enough is not None
    assert enough.hold is not None
    assert enough.hold.usd == 2


def test_a_target_of_unknown_price_that_the_router_allowed_is_called() -> None:
    following = fallback.next_slip(holding("1", None, usd="1"), spent(cost=None), 1_000, head_sent=False)
    assert following is not None
    assert following.position == 1


def test_the_router_is_told_what_is_known() -> None:
    slip = holding("1", "2", usd="3").replace(position=1, hop=4, epoch=2)
    told = settle.hold_settled(slip, Decimal("0.5"), final=True)
    assert told == HoldSettled(
        request_id="r", epoch=2, hop=4, cost_usd=Decimal("0.5"), held_usd=Decimal(2), final=True
    )
    assert settle.hold_settled(SLIP, Decimal(1), final=True) is None


def test_an_answer_whose_length_was_limited_here_says_so() -> None:
    capped = SLIP.replace(facts=SLIP.facts.replace(output_cap=512))
    assert dict(render.head(capped, ()).headers)["x-keyrail-output-cap"] == "512"
    assert "x-keyrail-output-cap" not in dict(render.head(SLIP, ()).headers)
