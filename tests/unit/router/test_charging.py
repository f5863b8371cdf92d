from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.budgets import Budget
from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig, RouteConfig, WeightedTarget
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Charge, Facts, Plan, Race, Slip, Target
from keyrail_router import charging

DOLLAR = ModelPrice(input=Decimal(1), output=Decimal(2))
TARGETS = (Target(provider="own", model="a"), Target(provider="vague", model="b"))
VIEW = ConfigView(
    providers={
        "own": ProviderConfig(name="own", base_url="http://x", prices={"*": DOLLAR}),
        "vague": ProviderConfig(name="vague", base_url="http://y"),
    }
)
PLAN = Plan(strategy="fallback", targets=TARGETS)
HARD = Charge(scope="key.k", budget=Budget(usd=Decimal(10), per="day"))
SOFT = Charge(scope="key.k", budget=Budget(usd=Decimal(10), per="day", soft=True))
NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z


def slip(*charges: Charge, **facts: Any) -> Slip:
    known: dict[str, Any] = {"input_tokens_most": 1_000_000, "max_output_tokens": 500_000}
    return Slip(
        request_id="r",
        inbox="i",
        tenant="t",
        key_id="k",
        received_ms=NOON,
        deadline_ms=NOON,
        take_by_ms=NOON,
        facts=Facts(model="m", **known | facts),
        charges=charges or (HARD,),
    )


def most(view: ConfigView, asked: Slip, plan: Plan = PLAN) -> tuple[Decimal | None, ...]:
    found = charging.priced(plan, asked, view)
    assert not isinstance(found, Failure), found
    assert len(found[0].targets) == len(found[1])
    return found[1]


def test_targets_of_unknown_price_are_left_out_where_a_hard_budget_applies() -> None:
    assert most(VIEW, slip()) == (2,)
    assert most(VIEW, slip(SOFT)) == (2, None)
    assert most(VIEW.replace(unknown_price="allow"), slip()) == (2, None)


def test_the_route_says_what_may_be_asked_for_without_a_price() -> None:
    targets = tuple(WeightedTarget(target=target) for target in TARGETS)
    route = RouteConfig(name="r", strategy="fallback", targets=targets, unknown_price="allow")
    view = VIEW.replace(routes={"r": route})
    assert most(view, slip(), PLAN.replace(route="r")) == (2, None)
    assert most(
        view.replace(unknown_price="allow", routes={"r": route.replace(unknown_price="refuse")}),
        slip(),
        PLAN.replace(route="r"),
    ) == (2,)


@pytest.mark.parametrize("unknown", [{"input_tokens_most": None}, {"max_output_tokens": None}])
def test_without_a_bound_there_is_no_price(unknown: dict[str, Any]) -> None:
    failure = charging.priced(PLAN, slip(**unknown), VIEW)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status, failure.code) == ("budget", 400, "price_unknown")


def test_each_choice_costs_and_counting_tokens_does_not() -> None:
    assert most(VIEW, slip(choices=3)) == (4,)
    assert most(VIEW, slip(operation="count_tokens")) == (0, 0)
    assert most(VIEW, slip(dialect="openai-embeddings", max_output_tokens=None)) == (1,)


def test_options_add_up_in_the_order_of_the_targets() -> None:
    assert charging.options((Decimal(1), None, Decimal(2))) == (1, 1, 3)


def test_a_refusal_says_whose_budget_it_is_and_when_to_come_back() -> None:
    month = Charge(scope="team.acme.blue", budget=Budget(usd=Decimal("20.50"), per="month"))
    failure = charging.exceeded(month, Decimal("0.0300"), NOON, NOON + 500)
    assert (failure.kind, failure.status, failure.code) == ("budget", 429, "budget_exceeded")
    assert failure.retry_after_s == 7 * 86_400 + 43_200
    assert "monthly budget of its team (20.5 USD)" in failure.message
    assert "up to 0.03 USD" in failure.message
    assert "2026-12-01T00:00:00Z" in failure.message


def test_what_the_ledger_says_of_a_hold() -> None:
    row: dict[str, Any] = {"attempts": 3, "running": 0, "cost_usd": "0.1", "unknown": ["0.25", None]}
    assert charging.paid_by(row) == Decimal("0.35")
    assert charging.paid_by(row | {"running": 1}) is None
    with pytest.raises(ValueError, match="no answer"):
        charging.paid_by({"attempts": 0})


def test_what_a_plan_says_of_its_targets_stays_with_them() -> None:
    race = Race(mode="first", most_usd=(None, Decimal(1)))
    found = charging.priced(PLAN.replace(windows=(7, 8), race=race), slip(), VIEW)
    assert not isinstance(found, Failure)
    plan, _ = found
    assert (plan.targets, plan.windows) == ((TARGETS[0],), (7,))
    assert plan.race is not None
    assert plan.race.most_usd == (None,)
