"""Which planned requests race, and with what their contenders can cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.config import (
    ConfigView,
    ModelPrice,
    ProviderConfig,
)
from keyrail.contracts.slips import Facts, Hold, Plan, Race, Slip, Target
from keyrail_router import racing

A, B = Target(provider="a", model="m"), Target(provider="sandbox", model="echo")
PRICE = ModelPrice(input=Decimal(1), output=Decimal(2))
VIEW = ConfigView(providers={"a": ProviderConfig(name="a", base_url="", prices={"*": PRICE})})
BODY = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":10}'


def slip(facts: Facts | None = None, hold: Hold | None = None, **more: Any) -> Slip:
    plan = Plan(strategy="fallback", targets=(A, B), race=Race(mode="first")).replace(**more)
    return Slip(
        request_id="q",
        inbox="i",
        tenant="t",
        key_id="k",
        received_ms=0,
        deadline_ms=1,
        take_by_ms=1,
        facts=facts or Facts(model="r", max_output_tokens=10),
        plan=plan,
        hold=hold,
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (slip(), True),
        (slip(race=None), False),
        (slip(targets=(A,)), False),
        (slip(Facts(model="r", choices=2)), False),
        (slip(Facts(model="r", operation="count_tokens")), False),
    ],
)
def test_one_answer_out_of_several_targets_is_raced(asked: Slip, expected: bool) -> None:
    assert racing.races(asked) is expected


def most(asked: Slip, body: bytes = BODY) -> tuple[Decimal | None, ...]:
    plan = racing.ready(asked, body, VIEW).plan
    assert plan is not None
    assert plan.race is not None
    return plan.race.most_usd


def test_the_most_comes_from_the_prompts_size_and_the_answers_limit() -> None:
    tokens = len(BODY) + 1_024
    assert most(slip()) == (Decimal(tokens + 20) / 1_000_000, 0)


def test_without_a_limit_of_the_answer_there_is_no_most_but_where_nothing_costs() -> None:
    assert most(slip(Facts(model="r"))) == (None, 0)
    assert most(slip(), b'{"messages":[],"plugins":[{"id":"web"}]}') == (None, 0)


def test_what_a_budget_holds_for_each_target_is_the_most() -> None:
    hold = Hold(router="r", usd=Decimal(7), most=(Decimal(5), Decimal(2)))
    assert most(slip(hold=hold)) == hold.most
