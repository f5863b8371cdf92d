"""A recorded decision has all that it takes to make it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from keyrail.contracts.config import (
    Abilities,
    ConfigView,
    ModelPrice,
    ProviderConfig,
    RouteConfig,
    SmartRule,
    TenantConfig,
    WeightedTarget,
)
from keyrail.contracts.failures import Failure
from keyrail.contracts.routing import RequestRouted
from keyrail.contracts.slips import Facts, Strategy, Target
from keyrail.routing.decide import Decision, decide
from keyrail.routing.posterior import Posterior
from keyrail.routing.prediction import Prediction
from keyrail.routing.replay import draw_of, replayed
from keyrail.routing.simulation import REFUSED, Simulation
from keyrail.routing.text import Features
from keyrail.routing.world import Asked, Calm, KeysOut, name_of

NOW = 1_795_435_200_000
NAMES = ("one/small", "one/large", "two/small", "gone/model")
PRICE = ModelPrice(input=Decimal(1), output=Decimal(3))
DEAR = ModelPrice(input=Decimal(10), output=Decimal(30))
PROVIDERS = {
    "one": ProviderConfig(name="one", base_url="http://one", prices={"small": PRICE, "large": DEAR}),
    "two": ProviderConfig(name="two", base_url="http://two"),
}
STRATEGIES: tuple[Strategy, ...] = ("fallback", "weighted", "cheapest", "fastest", "smart")


EVEN = Posterior(0.5, 8.0)
Believes = dict[str, Posterior]


@dataclass(frozen=True)
class Seen:
    """What the world says of one target."""

    share: float = 1.0
    limited: bool = False
    keys: tuple[bool, bool] = (False, False)  # out; known when back
    back_ms: int = 5
    quality: Posterior = EVEN
    seconds: tuple[float, ...] = ()
    cost: Decimal | None = None


class Told(Calm):
    def __init__(self, seen: dict[str, Seen], sticky: str | None, worth: float | None = None) -> None:
        self.seen = seen
        self.with_target = sticky
        self.found = worth

    def share(self, target: Target, now_ms: int) -> float:
        return self.seen[name_of(target)].share

    def until_ms(self, target: Target, now_ms: int) -> int | None:
        return now_ms + self.seen[name_of(target)].back_ms

    def limited_until_ms(self, tenant: str, target: Target, facts: Facts, now_ms: int) -> int | None:
        return now_ms + self.seen[name_of(target)].back_ms if self.seen[name_of(target)].limited else None

    def keys_out(self, tenant: str, target: Target, now_ms: int) -> KeysOut | None:
        out, known = self.seen[name_of(target)].keys
        failure = Failure(kind="rate", message="out", status=429)
        return (
            KeysOut(now_ms + self.seen[name_of(target)].back_ms if known else None, failure) if out else None
        )

    def qualities(
        self,
        tenant: str,
        route: RouteConfig,
        task: str,
        prompt: Callable[[], Features | None],
        now_ms: int,
    ) -> dict[str, Posterior]:
        return {name: seen.quality for name, seen in self.seen.items()}

    def worth(self, tenant: str, route: RouteConfig) -> float | None:
        return self.found

    def latency(self, target: Target, facts: Facts, now_ms: int) -> Prediction | None:
        seconds = self.seen[name_of(target)].seconds
        return Prediction(seconds, facts.stream) if seconds else None

    def cost(
        self, view: ConfigView, route: str | None, target: Target, facts: Facts, now_ms: int
    ) -> Decimal | None:
        return self.seen[name_of(target)].cost

    def sticky(self, tenant: str, route: str, conversation: str, now_ms: int) -> str | None:
        return self.with_target


def target(name: str) -> Target:
    provider, _, model = name.partition("/")
    return Target(provider=provider, model=model)


def recorded(asked: Asked, decision: Decision) -> RequestRouted:
    """As the router publishes it, through the wire."""
    assert decision.route is not None
    event = RequestRouted(
        request_id="01a208ce-7ac9-7f6e-ac74-79f89e2d2321", epoch=0, tenant=asked.tenant, key_id="k",
        feature=asked.feature, route=decision.route.name, strategy=decision.strategy, revision=1,
        task=decision.task, candidates=decision.candidates, code=decision.code, reason=decision.reason,
        targets=() if decision.plan is None else tuple(map(name_of, decision.plan.targets)),
        propensity=decision.propensity, draw=asked.draw, facts=asked.facts, router="r", routed_ms=NOW,
        failure=decision.failure and decision.failure.kind, worth=decision.worth,
    )  # fmt: skip
    return RequestRouted.decode(event.encode())


def seen_of(chance: Random) -> Seen:
    return Seen(
        share=chance.choice((0.0, 1.0, 1.0, chance.random())),
        limited=chance.random() < 0.2,
        keys=chance.choice(((False, False), (False, False), (True, True), (True, False))),
        back_ms=chance.randrange(1, 60_000),
        quality=Posterior(chance.random(), chance.uniform(1, 500), chance.uniform(0, 500)),
        seconds=tuple(sorted(chance.uniform(0.01, 5) for _ in range(chance.randrange(8)))),
        cost=chance.choice((None, Decimal(chance.randrange(10**6)).scaleb(-9))),
    )


def route_of(chance: Random) -> RouteConfig:
    return RouteConfig(
        name="chat",
        strategy=chance.choice(STRATEGIES),
        targets=tuple(
            WeightedTarget(
                target=target(name),
                weight=chance.randrange(1, 9),
                abilities=Abilities(
                    tools=chance.choice((None, True, False)), window=chance.choice((None, 100, 100_000))
                ),
            )
            for name in NAMES
        ),
        smart=SmartRule(
            prefer=chance.choice(("cost", "latency")),
            bar=chance.random(),
            confidence=chance.random(),
            keep=chance.choice((None, 0.99)),
        ),
        stick_s=chance.choice((0, 600)),
    )


def facts_of(chance: Random) -> Facts:
    return Facts(
        model="chat",
        stream=chance.random() < 0.5,
        tools=chance.random() < 0.5,
        input_tokens_estimate=chance.randrange(1_000),
        input_tokens_most=chance.choice((None, chance.randrange(2_000))),
        max_output_tokens=chance.choice((None, chance.randrange(1, 500))),
        conversation=chance.choice((None, "c1", "c2")),
    )


def view_of(route: RouteConfig, **more: object) -> ConfigView:
    return ConfigView(providers=PROVIDERS, routes={"chat": route}).replace(**more)


def test_a_configuration_that_changes_nothing_changes_no_decision() -> None:
    codes = Counter(_made_again(Random(seed)) for seed in range(1_500))
    assert len(codes) > 14, codes


def _made_again(chance: Random) -> str:
    """Returns why it was decided so."""
    route, facts = route_of(chance), facts_of(chance)
    seen = {name: seen_of(chance) for name in NAMES}
    draw, sticky = chance.random(), chance.choice((None, *NAMES))
    below, allowed = chance.choice((None, Decimal("0.0005"))), chance.choice(((), (), ("one",)))
    view = view_of(route, tenants={"acme": TenantConfig(providers=allowed)})
    asked = Asked(facts, tenant="acme", feature="sums", draw=draw, below_usd=below)
    worth = chance.choice((None, 0.0, chance.random() / 100))
    decision = decide(view, asked, Told(seen, sticky, worth), NOW)
    event = recorded(asked, decision)

    again = replayed(event, view, view, nobody)
    simulation = Simulation(view, view, nobody)
    simulation.add(event)

    assert (again.plan and again.plan.targets) == (decision.plan and decision.plan.targets)
    assert [(each.target, each.gate) for each in again.candidates] == [
        (each.target, each.gate) for each in decision.candidates
    ]
    if again.plan is not None:
        assert again.code == decision.code
    (told,) = simulation.routes.values()
    assert (told.elsewhere, told.moves, told.refused_before) == (0, {}, told.refused_after)
    assert told.before_usd == told.after_usd
    return decision.code


def nothing(tenant: str, route: RouteConfig, task: str) -> dict[str, Posterior]:
    return {}


def nobody(tenant: str, route: RouteConfig, task: str) -> dict[str, Posterior]:
    """Whatever was looked at is recorded."""
    raise AssertionError("nobody should be asked")


def routed(strategy: Strategy, *names: str, **more: object) -> RouteConfig:
    targets = tuple(WeightedTarget(target=target(name)) for name in names)
    return RouteConfig(name="chat", strategy=strategy, targets=targets).replace(**more)


def decided(view: ConfigView, asked: Asked, **seen: Seen) -> RequestRouted:
    every = dict.fromkeys(NAMES, Seen()) | {name.replace("_", "/"): each for name, each in seen.items()}
    return recorded(asked, decide(view, asked, Told(every, None), NOW))


def test_what_a_route_would_keep_is_found_out_from_what_is_recorded() -> None:
    facts = Facts(model="chat", input_tokens_estimate=1_000, max_output_tokens=100)
    before = view_of(routed("smart", "one/large", "one/small", smart=SmartRule(bar=0.99, confidence=0.9)))
    keeping = SmartRule(keep=0.9, bar=0.5, confidence=0.5)
    after = view_of(routed("smart", "one/large", "one/small", smart=keeping))
    seen = {
        "one_large": Seen(quality=Posterior(0.9, 208, 200), cost=Decimal("0.01")),
        "one_small": Seen(quality=Posterior(0.85, 208, 200), cost=Decimal("0.001")),
    }
    decisions = [decided(before, Asked(facts), **seen) for _ in range(3)]
    untuned, tuned = (Simulation(after, before, nothing) for _ in range(2))
    tuned.tune(decisions)
    for each in decisions:
        untuned.add(each)
        tuned.add(each)
    assert untuned.routes["chat"].moves == {}, "nobody knows what a good answer is worth"
    assert tuned.routes["chat"].moves == {("one/large", "one/small"): 3}


def test_a_cheaper_route_is_counted_with_what_it_saves() -> None:
    facts = Facts(model="chat", input_tokens_estimate=1_000, max_output_tokens=100)
    before = view_of(routed("fallback", "one/large", "one/small"))
    after = view_of(routed("cheapest", "one/large", "one/small"))
    simulation = Simulation(after, before, nobody)
    for _ in range(3):
        simulation.add(decided(before, Asked(facts)))
    told = simulation.routes["chat"]
    assert told.moves == {("one/large", "one/small"): 3}
    assert (told.decisions, told.elsewhere, told.compared) == (3, 3, 3)
    assert told.before_usd == 3 * Decimal("0.013")
    assert told.after_usd == 3 * Decimal("0.0013")


def test_other_prices_are_worked_out_for_answers_as_long_as_were_expected() -> None:
    facts = Facts(model="chat", input_tokens_estimate=1_000)
    before = view_of(routed("cheapest", "one/small", "two/small"))
    event = decided(before, Asked(facts), one_small=Seen(cost=Decimal("0.001450")))  # 150 tokens of answer
    raised = PROVIDERS["one"].replace(prices={"small": DEAR})
    after = before.replace(providers=PROVIDERS | {"one": raised})
    simulation = Simulation(after, before, nobody)
    simulation.add(event)
    assert simulation.routes["chat"].after_usd == Decimal("0.0145")
    assert simulation.routes["chat"].before_usd == Decimal("0.00145")


def test_what_nobody_knows_the_price_of_is_counted_apart() -> None:
    before = view_of(routed("fallback", "one/small"))
    after = view_of(routed("fallback", "two/small"))
    simulation = Simulation(after, before, nobody)
    simulation.add(decided(before, Asked(Facts(model="chat"))))
    told = simulation.routes["chat"]
    assert (told.elsewhere, told.compared, told.unknown, told.before_usd) == (1, 0, 1, 0)


def test_recorded_outages_stay_and_new_rules_apply() -> None:
    down = Seen(keys=(True, False))
    before = view_of(routed("fallback", "one/small", "one/large"))
    event = decided(before, Asked(Facts(model="chat"), tenant="acme"), one_small=down)
    assert event.targets[0] == "one/large"
    refused = view_of(routed("fallback", "one/small"))
    elsewhere = before.replace(tenants={"acme": TenantConfig(providers=("two",))})
    for view in (refused, elsewhere, ConfigView(providers=PROVIDERS)):
        simulation = Simulation(view, before, nobody)
        simulation.add(event)
        assert simulation.routes["chat"].moves == {("one/large", REFUSED): 1}
        assert simulation.routes["chat"].refused_after == 1


def test_who_was_kept_out_stays_so() -> None:
    view = view_of(routed("fallback", "one/small", "one/large"))
    spent = decided(view, Asked(Facts(model="chat"))).replace(
        targets=(), failure="budget", code="budget_exceeded"
    )
    denied = decided(view, Asked(Facts(model="chat"), models=("other",)))
    for event in (spent, denied):
        simulation = Simulation(view, view, nobody)
        assert simulation.add(event).plan is None
        told = simulation.routes["chat"]
        assert (told.elsewhere, told.refused_before, told.refused_after) == (0, 1, 1)


def test_a_quality_that_is_not_recorded_is_what_is_believed_today() -> None:
    before = view_of(routed("fallback", "one/large", "one/small"))
    after = view_of(routed("smart", "one/large", "one/small", smart=SmartRule(bar=0.9, confidence=0.8)))
    event = decided(before, Asked(Facts(model="chat")))
    good = {name: Posterior(0.9, 500, 492) for name in ("one/large", "one/small")}
    poor = good | {"one/small": Posterior(0.4, 500, 492)}
    for believed, first in ((good, "one/small"), (poor, "one/large")):

        def today(tenant: str, route: RouteConfig, task: str, now: Believes = believed) -> Believes:
            return now

        again = replayed(event, after, before, today)
        assert again.plan is not None
        assert name_of(again.plan.targets[0]) == first


def test_an_event_without_a_draw_has_always_the_same_one() -> None:
    event = decided(view_of(routed("fallback", "one/small")), Asked(Facts(model="chat"))).replace(draw=None)
    assert draw_of(event) == draw_of(event.replace(reason="x"))
    assert 0 <= draw_of(event) < 1
    assert draw_of(event) != draw_of(event.replace(epoch=1))
