from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.config import document
from keyrail.contracts.config import ConfigView, SmartRule
from keyrail.contracts.routing import Gate
from keyrail.contracts.slips import Facts
from keyrail.providers import registry
from keyrail.routing.decide import Decision, decide
from keyrail.routing.posterior import Posterior
from keyrail.routing.tasks import task_of
from keyrail.routing.world import Asked, World
from tests.support.worlds import Stage

NOW = 1_795_435_200_000
CONFIG = """
providers:
  local: {dialect: openai-chat, base_url: "http://127.0.0.1:8000/v1"}
routes:
  fast:
    strategy: fallback
    targets: [groq/llama-3.3-70b-versatile, openai/gpt-5.4-mini]
    timeouts: {first_byte: 3}
  split:
    strategy: weighted
    targets: [{model: openai/gpt-5.4-mini, weight: 3}, {model: local/some-model, weight: 1}]
  three: {strategy: STRATEGY, targets: [local/a, local/b, local/c], reference: local/a, stick: 10m}
  able:
    strategy: fallback
    targets:
      - {model: local/a, tools: false, vision: false, json_schema: false, window: 1000}
      - {model: local/b, window: 10000}
tenants:
  acme: {providers: [local]}
aliases:
  claude-sonnet-5-5: local/some-model
  quick: fast
"""
BUILTINS = {name: config for name, config in registry.configs().items() if name in ("openai", "groq")}


def parsed(strategy: str = "fallback") -> ConfigView:
    return document.parse(CONFIG.replace("STRATEGY", strategy), "keyrail.yaml", BUILTINS).replace(revision=7)


NAMES = ("local/a", "local/b", "local/c")
VIEW = parsed()
VIEWS = {name: parsed(name) for name in ("fallback", "weighted", "cheapest", "fastest", "smart", "race")}


def ask(
    model: str, world: World | None = None, view: ConfigView = VIEW, *, draw: float = 0.0, **facts: Any
) -> Decision:
    asked = Asked(Facts(model=model, **facts), draw=draw)
    return decide(view, asked, world or Stage(), NOW)


def shown(decision: Decision) -> list[str]:
    assert decision.plan is not None, decision.failure
    return [f"{t.provider}/{t.model}" for t in decision.plan.targets]


def letters(decision: Decision) -> str:
    return "".join(name.removeprefix("local/") for name in shown(decision))


@pytest.mark.parametrize(
    ("asked", "strategy", "targets"),
    [
        ("openai/gpt-5.4-mini", "direct", ["openai/gpt-5.4-mini"]),
        ("local/org/model:tag", "direct", ["local/org/model:tag"]),
        ("gpt-5.4-mini", "direct", ["openai/gpt-5.4-mini"]),
        ("claude-sonnet-5-5", "alias", ["local/some-model"]),
        ("fast", "fallback", ["groq/llama-3.3-70b-versatile", "openai/gpt-5.4-mini"]),
        ("quick", "fallback", ["groq/llama-3.3-70b-versatile", "openai/gpt-5.4-mini"]),
    ],
)
def test_a_name_leads_to_its_targets(asked: str, strategy: str, targets: list[str]) -> None:
    decision = ask(asked)
    assert decision.plan is not None
    assert (decision.plan.strategy, shown(decision), decision.plan.revision) == (strategy, targets, 7)
    assert (decision.route is None) == (strategy in ("direct", "alias")), "only routes are recorded"
    assert decision.fixed


def test_a_route_brings_its_settings_along() -> None:
    plan = ask("fast").plan
    direct = ask("gpt-5.4-mini").plan
    assert plan is not None
    assert direct is not None
    assert (plan.timeouts.first_byte_s, plan.retries) == (3, 1)
    assert (direct.timeouts.first_byte_s, direct.retries) == (60, 0)
    assert plan.reason == "route fast: fallback: groq/llama-3.3-70b-versatile is listed first"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("nobody/model", "there is no provider 'nobody'"),
        ("no-such-model", "no route, alias or provider has this name"),
        ("openai/", "the name ends after the provider"),
        ("gemini-4-argon", "'gemini', which is not configured here"),
    ],
)
def test_an_unknown_name_is_a_404_that_says_why(asked: str, why: str) -> None:
    failure = ask(asked).failure
    assert failure is not None
    assert (failure.status, failure.code, failure.param) == (404, "model_not_found", "model")
    assert why in failure.message


def test_a_weighted_route_draws_by_weight_and_keeps_the_others_as_fallbacks() -> None:
    draws = 1000
    firsts = Counter(shown(ask("split", draw=n / draws))[0] for n in range(draws))
    assert firsts == {"openai/gpt-5.4-mini": 750, "local/some-model": 250}
    assert shown(ask("split", draw=0.99)) == ["local/some-model", "openai/gpt-5.4-mini"]
    assert (ask("split", draw=0.0).propensity, ask("split", draw=0.99).propensity) == (0.75, 0.25)


def test_a_target_without_weight_never_serves() -> None:
    route = VIEW.routes["split"]
    off = route.targets[1].replace(weight=0)
    view = VIEW.replace(routes={"split": route.replace(targets=(route.targets[0], off))})
    assert shown(ask("split", view=view, draw=0.999999)) == ["openai/gpt-5.4-mini"]


@pytest.mark.parametrize(
    ("models", "passes"),
    [(("fast",), True), (("fas?",), True), (("groq/*", "openai/*"), True), (("groq/*",), False), ((), True)],
)
def test_a_key_may_ask_by_the_name_its_routes_or_all_that_it_leads_to(
    models: tuple[str, ...], passes: bool
) -> None:
    for name in ("fast", "quick"):
        decision = decide(VIEW, Asked(Facts(model=name), models=models), Stage(), NOW)
        assert (decision.plan is not None) == passes
        assert passes or (decision.failure is not None and decision.failure.code == "model_not_allowed")


GATED: dict[Gate, tuple[dict[str, Any], Stage, str]] = {
    "tools": ({"tools": True}, Stage(), "b"),
    "vision": ({"images": True}, Stage(), "b"),
    "json_schema": ({"json_schema": True}, Stage(), "b"),
    "window": ({"input_tokens_estimate": 600, "max_output_tokens": 401}, Stage(), "b"),
    "breaker": ({}, Stage(shares={"local/a": 0.0}, untils={"local/a": NOW + 9}), "ba"),
    "limits": ({}, Stage(limits={"local/a": NOW + 9}), "ba"),
    "keys": ({}, Stage(outs={"local/a": None}), "b"),
}


@pytest.mark.parametrize("gate", GATED)
def test_a_gate_closes_a_target_and_nothing_else(gate: Gate) -> None:
    facts, world, targets = GATED[gate]
    decision = ask("able", world, **facts)
    assert [each.gate for each in decision.candidates] == [gate, None]
    assert letters(decision) == targets
    assert decision.code == "first-open"
    assert f"left out: local/a ({gate})" in decision.reason
    assert not decision.fixed, "the next request may find it open"
    assert letters(ask("able", input_tokens_estimate=600, max_output_tokens=400)) == "ab"


def test_a_tenant_s_requests_stay_where_they_may_go() -> None:
    decision = decide(VIEW, Asked(Facts(model="split"), tenant="acme"), Stage(), NOW)
    assert shown(decision) == ["local/some-model"]
    assert [each.gate for each in decision.candidates] == ["residency", None]
    for model in ("fast", "gpt-5.4-mini"):
        failure = decide(VIEW, Asked(Facts(model=model), tenant="acme"), Stage(), NOW).failure
        assert failure is not None
        assert (failure.status, failure.code) == (403, "provider_not_allowed")
        assert not failure.falls_over


def test_a_budget_closes_what_it_does_not_pay_for() -> None:
    facts = Facts(model="fast", input_tokens_most=1_000_000, max_output_tokens=1)
    dear, cheap = "openai/gpt-5.4-mini", "groq/llama-3.3-70b-versatile"
    decision = decide(VIEW, Asked(facts, below_usd=Decimal("0.7")), Stage(), NOW)
    assert shown(decision) == [cheap]
    assert {each.target: each.gate for each in decision.candidates} == {cheap: None, dear: "budget"}
    failure = decide(VIEW, Asked(facts, below_usd=Decimal("0.001")), Stage(), NOW).failure
    assert failure is not None
    assert (failure.status, failure.code) == (429, "budget_exceeded")


def test_where_nothing_fits_the_client_hears_so_unless_that_is_only_an_estimate() -> None:
    far = ask("able", input_tokens_estimate=30_000).failure
    assert far is not None
    assert (far.kind, far.status, far.code) == ("context", 400, "context_length_exceeded")
    assert "10000" in far.message
    assert not far.falls_over
    near = ask("able", input_tokens_estimate=15_000)
    assert letters(near) == "b", "its provider counts, and says so if it does not fit"
    assert [each.gate for each in near.candidates] == ["window", "window"]
    assert (
        ask("gpt-5.4-mini", input_tokens_estimate=10_000_000).failure
        == ask("openai/gpt-5.4-mini", input_tokens_estimate=10_000_000).failure
    )
    counted = ask("able", input_tokens_estimate=30_000, operation="count_tokens")
    assert letters(counted) == "ab", "counting takes no window"


def test_what_no_target_can_do_is_said() -> None:
    route = VIEW.routes["able"]
    view = VIEW.replace(routes={"able": route.replace(targets=route.targets[:1])})
    failure = ask("able", view=view, tools=True).failure
    assert failure is not None
    assert (failure.status, failure.code) == (400, "tools_unsupported")


def test_an_open_breaker_refuses_nobody() -> None:
    world = Stage(
        shares={"local/a": 0.0, "local/b": 0.0}, untils={"local/a": NOW + 9_000, "local/b": NOW + 2_500}
    )
    decision = ask("able", world)
    assert (letters(decision), decision.code) == ("ba", "least-bad")
    assert [each.gate for each in decision.candidates] == ["breaker", "breaker"]
    limited = Stage(shares={"local/a": 0.0}, untils={"local/a": NOW + 5}, limits={"local/b": NOW + 9})
    assert letters(ask("able", limited)) == "ab"
    assert ask("three", Stage(limits=dict.fromkeys(NAMES, NOW + 1)), VIEWS["race"]).code == "least-bad"
    direct = ask("local/a", world)
    assert letters(direct) == "a"
    assert not direct.fixed
    failure = ask("able", Stage(outs={"local/a": NOW + 1, "local/b": None}, shares={"local/b": 0.0})).failure
    assert failure is not None
    assert failure.code == "provider_keys_out", "without a key there is nothing to try"


def test_the_cheapest_comes_first_and_what_nobody_knows_last() -> None:
    world = Stage(costs={"local/b": Decimal("0.02"), "local/c": Decimal("0.01")})
    decision = ask("three", world, VIEWS["cheapest"])
    assert (letters(decision), decision.code) == ("cba", "cheapest")
    assert "local/c is expected to cost $0.01, the next one, local/b, $0.02" in decision.reason
    assert [each.cost_usd for each in decision.candidates] == [None, Decimal("0.02"), Decimal("0.01")]
    assert ask("three", Stage(), VIEWS["cheapest"]).code == "cost-unknown"


def test_the_fastest_comes_first_and_the_unmeasured_are_tried_now_and_then() -> None:
    world = Stage(seconds={"local/b": (0.5,) * 9, "local/a": (0.2, 0.9, 0.9, 0.9, 0.9)})
    usual = ask("three", world, VIEWS["fastest"], draw=0.5, stream=True)
    assert (letters(usual), usual.code, usual.propensity) == ("bac", "fastest", 0.95)
    assert "local/b is expected to need 0.50 s to its first token" in usual.reason
    probe = ask("three", world, VIEWS["fastest"], draw=0.04)
    assert (letters(probe), probe.code, probe.propensity) == ("cba", "probe", 0.05)
    assert letters(ask("three", Stage(), VIEWS["fastest"])) == "abc", "as listed, where nobody knows"


def sure(mean: float) -> Posterior:
    return Posterior(mean, 1_000, 992)


def test_a_smart_route_takes_the_cheapest_that_is_good_enough() -> None:
    costs = {"local/a": Decimal("0.1"), "local/b": Decimal("0.01"), "local/c": Decimal("0.001")}
    known = {"local/a": sure(0.9), "local/b": sure(0.9), "local/c": sure(0.5)}
    decision = ask("three", Stage(costs=costs, known=known), VIEWS["smart"])
    assert (letters(decision), decision.code) == ("bac", "cheapest-clears"), "then the order of fallbacks"
    scores = {each.target: each for each in decision.candidates}
    assert (scores["local/b"].probability or 0) > 0.99 > 0.01 > (scores["local/c"].probability or 0)
    out = Stage(costs=costs, known=known, shares={"local/b": 0.0}, untils={"local/b": NOW + 1})
    assert letters(ask("three", out, VIEWS["smart"])) == "acb", "gates come first"


def test_what_a_good_answer_is_worth_decides_among_those_that_are_good_enough() -> None:
    costs = {"local/a": Decimal("0.10"), "local/b": Decimal("0.01")}
    known = {"local/a": sure(0.92), "local/b": sure(0.90)}
    route = VIEWS["smart"].routes["three"]
    for worth, expected in (
        (0.0, "cheapest-clears"),
        (4.0, "best-value-clears"),
        (5.0, "reference-is-best-value"),
    ):
        rule = (route.smart or SmartRule()).replace(worth=worth)
        view = VIEW.replace(routes={"three": route.replace(smart=rule)})
        assert ask("three", Stage(costs=costs, known=known), view).code == expected


def test_a_smart_route_without_verdicts_is_its_reference() -> None:
    costs = {"local/a": Decimal("0.1"), "local/b": Decimal("0.01")}
    decision = ask("three", Stage(costs=costs), VIEWS["smart"])
    assert (letters(decision), decision.code) == ("abc", "reference-unknown-task")
    closed = Stage(costs=costs, shares={"local/a": 0.0})
    assert ask("three", closed, VIEWS["smart"]).code == "best-without-reference"


@pytest.mark.parametrize("strategy", sorted(VIEWS))
def test_a_conversation_stays_with_its_target_while_that_is_open(strategy: str) -> None:
    world = Stage(stuck={"talk": "local/c"})
    stuck = ask("three", world, VIEWS[strategy], conversation="talk")
    assert (letters(stuck)[0], stuck.code, stuck.propensity) == ("c", "sticky", 1.0)
    assert stuck.conversation == "talk"
    world.shares["local/c"] = 0.0
    moved = ask("three", world, VIEWS[strategy], conversation="talk")
    assert letters(moved)[0] != "c"
    assert moved.code != "sticky"
    assert ask("three", world, VIEWS[strategy]).conversation is None


def test_a_conversation_is_drawn_alike_by_every_router_and_all_of_them_by_weight() -> None:
    route = VIEWS["weighted"].routes["three"]
    weights = (5, 3, 2)
    targets = tuple(each.replace(weight=w) for each, w in zip(route.targets, weights, strict=True))
    view = VIEW.replace(routes={"three": route.replace(targets=targets)})
    talks = [f"{n:016x}" for n in range(2_000)]
    firsts = {talk: letters(ask("three", view=view, draw=0.99, conversation=talk))[0] for talk in talks}
    again = {talk: letters(ask("three", view=view, draw=0.01, conversation=talk))[0] for talk in talks}
    assert firsts == again
    counted = Counter(firsts.values())
    assert all(abs(counted[name] / 2_000 - w / 10) < 0.04 for name, w in zip("abc", weights, strict=True))
    without = Stage(shares={"local/c": 0.0})
    after = {
        talk: letters(ask("three", without, view, conversation=talk))[0]
        for talk in talks
        if firsts[talk] != "c"
    }
    assert all(after[talk] == firsts[talk] for talk in after), "only those of the lost target move"


def test_a_target_that_comes_back_has_its_share() -> None:
    world = Stage(shares={"local/a": 0.1})
    draws = 1_000
    decisions = [ask("able", world, draw=n / draws) for n in range(draws)]
    assert Counter(letters(each) for each in decisions) == {"ab": 100, "ba": 900}
    assert {letters(each): round(each.propensity, 6) for each in decisions} == {"ab": 0.1, "ba": 0.9}
    assert ask("able", world, draw=0.5).code == "coming-back"
    assert [each.share for each in ask("able", world).candidates] == [0.1, None]


def test_a_race_brings_its_delays() -> None:
    view = VIEWS["race"]
    plan = ask("three", view=view).plan
    assert plan is not None
    assert plan.race is not None
    assert (plan.race.mode, plan.race.delays_s) == ("first", ())
    route = view.routes["three"]
    assert route.race is not None
    hedged = route.replace(race=route.race.replace(mode="hedge", most=3, quantile=0.9))
    view = view.replace(routes={"three": hedged})
    world = Stage(seconds={"local/a": tuple(n / 10 for n in range(21)), "local/b": (9.0,) * 3})
    plan = ask("three", world, view).plan
    assert plan is not None
    assert plan.race is not None
    assert plan.race.delays_s == pytest.approx((1.8, 2.0)), "measured, and not enough measured"
    fixed = hedged.replace(race=route.race.replace(mode="hedge", delay_s=0.3))
    plan = ask("three", world, view.replace(routes={"three": fixed})).plan
    assert plan is not None
    assert plan.race is not None
    assert plan.race.delays_s == (0.3,)
    alone = Stage(shares={"local/a": 0.0, "local/b": 0.0}, untils={"local/a": NOW + 1, "local/b": NOW + 1})
    decision = ask("three", alone, view)
    assert decision.plan is not None
    assert decision.plan.race is None, "one is no race"
    assert letters(decision) == "c", "and none of those that are out takes part"


def test_tasks_are_told_apart_by_feature_and_needs() -> None:
    assert task_of(Facts(model="m"), None) == "any"
    assert (
        task_of(Facts(model="m", tools=True, images=True, json_mode=True), "help") == "help+tools+vision+json"
    )


SHARES = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.0])


@settings(deadline=None, max_examples=40)
@given(
    strategy=st.sampled_from(sorted(VIEWS)),
    shares=st.tuples(SHARES, SHARES, SHARES),
    limited=st.frozensets(st.sampled_from(NAMES), max_size=2),
    out=st.frozensets(st.sampled_from(NAMES), max_size=2),
    costs=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3).map(Decimal)),
    measured=st.dictionaries(st.sampled_from(NAMES), st.floats(0.01, 9).map(lambda s: (s,) * 6)),
    talk=st.sampled_from([None, "talk"]),
    stuck=st.sampled_from([None, *NAMES]),
)
def test_closed_targets_serve_last_or_never_and_all_draws_together_are_certain(
    strategy: str,
    shares: tuple[float, float, float],
    limited: frozenset[str],
    out: frozenset[str],
    costs: dict[str, Decimal],
    measured: dict[str, tuple[float, ...]],
    talk: str | None,
    stuck: str | None,
) -> None:
    world = Stage(
        shares=dict(zip(NAMES, shares, strict=True)),
        untils=dict.fromkeys(NAMES, NOW + 5),
        limits=dict.fromkeys(limited, NOW + 7),
        outs=dict.fromkeys(out, None),
        costs=costs,
        seconds=measured,
        stuck={"talk": stuck} if stuck else {},
    )
    draws = 40
    firsts: dict[str, set[float]] = {}
    counts: Counter[str] = Counter()
    codes: set[str] = set()
    for n in range(draws):
        decision = ask("three", world, VIEWS[strategy], draw=(n + 0.5) / draws, conversation=talk)
        closed = {each.target for each in decision.candidates if each.gate is not None}
        assert (
            closed == {name for name, share in zip(NAMES, shares, strict=True) if share <= 0} | limited | out
        )
        if closed == set(NAMES):
            assert decision.code in ("least-bad", "provider_keys_out")
            assert (decision.plan is None) == (set(NAMES) <= out)
            return
        targets = shown(decision)
        able = [name for name in targets if name not in closed]
        assert able
        assert targets[: len(able)] == able, "what is closed comes behind everything that is open"
        assert set(able) == set(NAMES) - closed
        assert len(set(targets)) == len(targets)
        assert not (set(targets) & out), "what nobody knows to come back is not asked"
        firsts.setdefault(targets[0], set()).add(round(decision.propensity, 9))
        counts[targets[0]] += 1
        codes.add(decision.code)
    if strategy == "weighted" and talk is not None and "sticky" not in codes:
        return  # drawn by conversation: always the same one
    assert all(len(each) == 1 for each in firsts.values())
    assert sum(min(each) for each in firsts.values()) == pytest.approx(1)
    assert all(abs(counts[name] / draws - min(firsts[name])) <= 0.03 for name in firsts)
