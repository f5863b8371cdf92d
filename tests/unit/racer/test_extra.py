"""The budget for losers."""

from __future__ import annotations

import random
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail_racer.extra import WINDOW_S, Bucket, Buckets, Stake, exposure


def usd(value: str) -> Decimal:
    return Decimal(value)


def test_all_but_the_cheapest_may_lose() -> None:
    assert exposure([usd("3")]) == 0
    assert exposure([usd("3"), usd("1"), usd("2")]) == 5
    assert exposure([usd("3"), None]) is None


def test_what_was_earned_long_ago_and_not_used_is_gone() -> None:
    bucket = Bucket()
    bucket.earn(usd("1"), 0.0)
    assert bucket.reserve(usd("0.5"), WINDOW_S - 400)
    assert not bucket.reserve(usd("0.1"), WINDOW_S + 400)


def test_a_race_has_a_limit_of_its_own_where_one_is_given() -> None:
    bucket = Bucket()
    bucket.earn(usd("9"), 0.0)
    stake = Stake(bucket, usd("1"))
    assert not stake.to(usd("2"), 0.0)
    assert stake.to(usd("1"), 0.0)
    assert bucket.balance == 8


def test_unknown_costs_count_as_the_most_and_more_than_that_is_counted() -> None:
    bucket = Bucket()
    bucket.earn(usd("5"), 0.0)
    stake = Stake(bucket)
    assert stake.to(usd("4"), 0.0)
    stake.lose(usd("2"), None)
    stake.lose(usd("2"), usd("2.5"))
    assert (bucket.balance, bucket.overruns, stake.spent) == (usd("0.5"), 1, usd("4.5"))


def test_routes_and_tenants_have_buckets_of_their_own() -> None:
    buckets = Buckets()
    assert buckets.of("t", "a") is buckets.of("t", "a")
    assert len({id(buckets.of(tenant, route)) for tenant in "tu" for route in "ab"}) == 4


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_however_many_races_run_at_once_losers_never_cost_more_than_was_earned(
    seed: int, number: int
) -> None:
    draw = random.Random(seed)
    bucket, earned, lost = Bucket(), Decimal(0), Decimal(0)
    running: list[tuple[Stake, Decimal]] = []
    for now in range(number):
        if draw.random() < 0.5:
            share = Decimal(draw.randint(0, 100)) / 20
            bucket.earn(share, float(now))
            earned += share
        stake, most = Stake(bucket), Decimal(draw.randint(0, 50)) / 10
        if stake.to(most, float(now)):
            running.append((stake, most))
        if running and draw.random() < 0.6:
            ending, most = running.pop(draw.randrange(len(running)))
            cost = draw.choice((None, most, most / 2, Decimal(0)))
            ending.lose(most, cost)
            lost += most if cost is None else cost
        at_stake = sum((most for _, most in running), Decimal(0))
        assert lost + at_stake + max(bucket.balance, Decimal(0)) <= earned
