"""What a good answer must be worth, found out from what decisions looked at."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.config import KEEP_CONFIDENCE, RouteConfig, SmartRule, WeightedTarget
from keyrail.contracts.routing import Candidate
from keyrail.contracts.slips import Target
from keyrail.routing import tuning
from keyrail.routing.choice import choose
from keyrail.routing.posterior import Posterior
from keyrail.routing.tuning import Seen

BIG, SMALL = "own/big", "own/small"


def route(keep: float = 0.9, **more: object) -> RouteConfig:
    targets = tuple(
        WeightedTarget(target=Target(provider="own", model=name.partition("/")[2])) for name in (BIG, SMALL)
    )
    rule = SmartRule(keep=keep, bar=0.5, confidence=KEEP_CONFIDENCE).replace(**more)
    return RouteConfig(name="r", strategy="smart", targets=targets, smart=rule)


def seen(big: float, small: float, task: str = "any", verdicts: float = 200.0, **about: object) -> Seen:
    def one(target: str, quality: float, cost: str) -> Candidate:
        return Candidate(
            target=target, quality=quality, mass=verdicts + 8, verdicts=verdicts, cost_usd=Decimal(cost)
        )

    return Seen(task, (one(BIG, big, "0.01").replace(**about), one(SMALL, small, "0.001")))


def nothing(task: str) -> dict[str, Posterior]:
    return {}


@given(
    st.lists(st.tuples(st.floats(0.3, 1), st.floats(0.01, 1)), min_size=1, max_size=20),
    st.floats(0.8, 0.999),
)
def test_what_is_found_keeps_the_share_and_a_smaller_one_never_costs_more(
    qualities: list[tuple[float, float]], keep: float
) -> None:
    requests = tuning.requests([seen(*each) for each in qualities], BIG, nothing)
    found = tuning.tuned(requests, route(keep))
    less = tuning.tuned(requests, route(keep * 0.9))
    assert found.kept >= keep - 1e-9
    assert found.saved is not None
    assert less.saved is not None
    assert less.saved >= found.saved - 1e-9


def test_the_money_is_spent_where_it_buys_most() -> None:
    alike, apart = seen(0.9, 0.88, "alike"), seen(0.9, 0.5, "apart")
    requests = tuning.requests([alike, apart], BIG, nothing)
    found = tuning.tuned(requests, route(0.97))
    served = [
        choose(pool, BIG, bar=0.5, confidence=KEEP_CONFIDENCE, worth=found.worth).target
        for pool, _ in requests
    ]
    assert served == [SMALL, BIG]
    assert found.kept == pytest.approx(1.78 / 1.8)
    assert found.saved == pytest.approx(1 - 0.011 / 0.02)


def test_verdicts_that_came_since_count_and_those_of_the_prompt_itself_stay() -> None:
    today = {SMALL: Posterior(0.2, 408, 400), BIG: Posterior(0.9, 208, 200)}
    ((pool, _),) = tuning.requests([seen(0.7, 0.88)], BIG, lambda _: today)
    assert [one.quality.mean for one in pool] == [0.7, 0.2]


def test_nothing_follows_from_requests_that_say_nothing() -> None:
    unknown = seen(0.9, 0.9, verdicts=3.0)
    out = seen(0.9, 0.9, gate="breaker")
    assert tuning.requests([unknown] * 60, BIG, nothing) == [], "nobody was judged"
    assert tuning.requests([out], BIG, nothing) == [], "the reference could not have served"


def test_without_a_price_nobody_knows_what_is_saved() -> None:
    one = seen(0.9, 0.88)
    unknown = Seen(one.task, tuple(each.replace(cost_usd=None) for each in one.candidates))
    found = tuning.tuned(tuning.requests([unknown], BIG, nothing), route())
    assert found.saved is None


def test_where_nothing_keeps_the_share_the_reference_serves() -> None:
    requests = tuning.requests([seen(0.9, 0.1)], BIG, nothing)
    found = tuning.tuned(requests, route(1.0))
    assert found.kept == 1.0
    assert found.saved == pytest.approx(0.0)


def test_another_rule_is_another_worth() -> None:
    others = (route(bar=0.4), route(confidence=0.9), route(prefer="latency"))
    assert len({tuning.rule_of(each) for each in (route(), route(0.8), *others)}) == 5
