from collections import Counter

import pytest

from keyrail.config import document
from keyrail.contracts.config import ConfigView
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts, Plan
from keyrail.providers import names, registry
from keyrail_router import policy

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
aliases:
  claude-sonnet-5-5: local/some-model
  quick: fast
"""
BUILTINS = {name: config for name, config in registry.configs().items() if name in ("openai", "groq")}
VIEW = document.parse(CONFIG, "keyrail.yaml", BUILTINS).replace(revision=7)


def decide(model: str, draw: float = 0.0, view: ConfigView = VIEW) -> Plan:
    plan = policy.decide(view, Facts(model=model), names.owner, draw)
    assert isinstance(plan, Plan), plan
    return plan


def shown(plan: Plan) -> list[str]:
    return [f"{t.provider}/{t.model}" for t in plan.targets]


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
    plan = decide(asked)
    assert (plan.strategy, shown(plan), plan.revision) == (strategy, targets, 7)


def test_a_route_brings_its_timeouts_along() -> None:
    assert decide("fast").timeouts.first_byte_s == 3
    assert decide("gpt-5.4-mini").timeouts.first_byte_s == 60


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
    failure = policy.decide(VIEW, Facts(model=asked), names.owner, 0.0)
    assert isinstance(failure, Failure)
    assert (failure.status, failure.code, failure.param) == (404, "model_not_found", "model")
    assert why in failure.message


def test_a_weighted_route_draws_by_weight_and_keeps_the_others_as_fallbacks() -> None:
    draws = 1000
    firsts = Counter(shown(decide("split", n / draws))[0] for n in range(draws))
    assert firsts == {"openai/gpt-5.4-mini": 750, "local/some-model": 250}
    assert shown(decide("split", 0.99)) == ["local/some-model", "openai/gpt-5.4-mini"]
    assert decide("split", 0.0).route == "split"


def test_a_target_without_weight_never_serves() -> None:
    route = VIEW.routes["split"]
    off = route.targets[1].replace(weight=0)
    view = VIEW.replace(routes={"split": route.replace(targets=(route.targets[0], off))})
    assert shown(decide("split", 0.999999, view)) == ["openai/gpt-5.4-mini"]
