from __future__ import annotations

import pytest

from keyrail.config import document
from keyrail.config.problems import ConfigError
from keyrail.contracts.config import Abilities, CacheConfig, ConfigView, RaceRule, RouteConfig, SmartRule
from keyrail.providers import registry

BUILTINS = {name: config for name, config in registry.configs().items() if name in ("openai", "groq")}
TWO = "targets: [openai/x, groq/y]"


def parse(text: str) -> ConfigView:
    return document.parse(text, "keyrail.yaml", BUILTINS)


def route(text: str) -> RouteConfig:
    return parse(f"routes: {{a: {{{text}}}}}").routes["a"]


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [f"{problem.line}: {problem.message}" for problem in caught.value.problems]


def problem(text: str) -> str:
    (found,) = problems(f"routes: {{a: {{{text}}}}}")
    return found.removeprefix("1: routes.a")


EVERYTHING = """
routes:
  best:
    strategy: smart
    targets:
      - {model: openai/x, quality: 0.9, tools: true, vision: false, json_schema: true, window: 128000}
      - groq/y
    reference: openai/x
    smart: {prefer: latency, bar: 0.9, confidence: 0.95, mass: 20, neighbours: off, worth: 0.002}
    race: {mode: hedge, most: 3, delay: 300ms, within: 10s, drain: on, extra_spend: 10%}
    cache: {mode: read, ttl: 2h, any_temperature: true}
    mid_stream: continue
    stick: 10m
    retries: 3
    timeouts: {first_token: 5s, total: 2m}
"""


def test_all_that_a_route_can_say_is_understood() -> None:
    found = parse(EVERYTHING).routes["best"]
    first = found.targets[0]
    assert (first.quality, first.abilities) == (
        0.9,
        Abilities(tools=True, vision=False, json_schema=True, window=128_000),
    )
    assert found.targets[1].quality is None
    assert found.targets[1].abilities == Abilities()
    assert found.smart == SmartRule(
        prefer="latency", bar=0.9, confidence=0.95, mass=20.0, neighbours=False, worth=0.002
    )
    assert found.race == RaceRule(
        mode="hedge", most=3, delay_s=0.3, within_s=10.0, drain=True, extra_spend=0.1
    )
    assert found.cache == CacheConfig(mode="read", ttl_s=7_200, any_temperature=True)
    assert (found.mid_stream, found.stick_s, found.retries) == ("continue", 600, 3)
    assert (found.timeouts.first_token_s, found.timeouts.total_s) == (5.0, 120.0)


@pytest.mark.parametrize("strategy", ["fallback", "weighted", "cheapest", "fastest", "race"])
def test_a_strategy_needs_nothing_but_its_targets(strategy: str) -> None:
    assert route(f"strategy: {strategy}, {TWO}").strategy == strategy


def test_a_race_without_a_block_is_for_the_first_token() -> None:
    assert route(f"strategy: race, {TWO}").race == RaceRule(mode="first")
    assert route(f"strategy: fallback, {TWO}, race: hedge").race == RaceRule(mode="hedge")
    assert route(f"strategy: fallback, {TWO}").race is None


@pytest.mark.parametrize(
    ("said", "mode"),
    [("on", "on"), ("off", "off"), ("true", "on"), ("false", "off"), ("read", "read"), ("{}", "on")],
)
def test_a_cache_is_switched_in_a_word(said: str, mode: str) -> None:
    assert route(f"{TWO}, strategy: fallback, cache: {said}").cache == CacheConfig(mode=mode)  # pyright: ignore[reportArgumentType]


def test_sticking_can_be_switched_off_and_is_never_rounded_to_nothing() -> None:
    assert [
        route(f"{TWO}, strategy: weighted, stick: {said}").stick_s for said in ("off", "0", "5", "1ms")
    ] == [
        0,
        0,
        5,
        1,
    ]


WRONG: dict[str, tuple[str, str]] = {
    "experiment": (
        f"strategy: experiment, {TWO}",
        ".strategy: experiments are not there yet; known: fallback, weighted, cheapest, fastest, smart, race",
    ),
    "smart without anything to begin at": (
        f"strategy: smart, {TWO}",
        ": a smart route needs a reference, which serves until verdicts say what the others are worth, "
        "or a quality at one of its targets",
    ),
    "reference that is no target": (
        f"strategy: smart, {TWO}, reference: groq/yy",
        '.reference: "groq/yy" is not among the targets, but a smart route falls back to it '
        '(did you mean "groq/y"?)',
    ),
    "smart block elsewhere": (
        f"strategy: cheapest, {TWO}, smart: {{}}",
        ".smart: says how a smart route chooses, but the strategy is another one",
    ),
    "race of one": ("targets: [openai/x], race: first", ".race: a race needs a second target"),
    "unknown mode": (
        f"strategy: race, {TWO}, race: {{mode: hegde}}",
        '.race.mode: must be first, first_complete, best or hedge, not "hegde" (did you mean "hedge"?)',
    ),
    "delay of a race": (
        f"strategy: race, {TWO}, race: {{mode: first, delay: 1s}}",
        ".race.delay: belongs to a hedge, but the mode is first",
    ),
    "quantile beside a delay": (
        f"strategy: race, {TWO}, race: {{mode: hedge, delay: 1s, quantile: 0.9}}",
        ".race.quantile: has no effect beside a delay",
    ),
    "unknown setting": (
        f"strategy: race, {TWO}, race: {{within_s: 3}}",
        '.race: unknown key "within_s" (did you mean "within"?)',
    ),
    "confidence": (
        f"strategy: smart, {TWO}, reference: groq/y, smart: {{confidence: 1}}",
        ".smart.confidence: must be at least 0.5 and below 1: less is a guess, 1 is never",
    ),
    "bar": (
        f"strategy: smart, {TWO}, reference: groq/y, smart: {{bar: 97}}",
        ".smart.bar: must be a number from 0 to 1, not 97",
    ),
    "quality": (
        "targets: [{model: openai/x, quality: good}]",
        ".targets[0].quality: must be a number from 0 to 1, not text",
    ),
    "window": (
        "targets: [{model: openai/x, window: 128k}]",
        ".targets[0].window: must be a whole number from 1 to 100000000, not text",
    ),
    "stick": (
        f"strategy: weighted, {TWO}, stick: 10 minutes",
        ".stick: must be a duration such as 300ms, 30s or 10m, above 0 and up to 86400s, not text",
    ),
    "mid_stream": (
        f"strategy: weighted, {TWO}, mid_stream: go",
        '.mid_stream: must be stop or continue, not "go"',
    ),
    "retries": (
        f"strategy: weighted, {TWO}, retries: 9",
        ".retries: must be a whole number from 0 to 5, not 9",
    ),
    "ttl": (f"strategy: weighted, {TWO}, cache: {{ttl: 10ms}}", ".cache.ttl: must be at least 1s"),
    "cache": (
        f"strategy: weighted, {TWO}, cache: yes",
        '.cache: must be off, on, read or write, not "yes"',
    ),
    "extra spend": (
        f"strategy: race, {TWO}, race: {{extra_spend: 500%}}",
        '.race.extra_spend: must be a share such as 0.05 or 5%, not "500%"',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_nonsense_is_one_problem_with_its_line(case: str) -> None:
    text, expected = WRONG[case]
    assert problem(text) == expected


def test_a_tenant_s_providers_are_known_ones() -> None:
    tenant = parse("tenants: {acme: {providers: [groq], cache: off}}").tenants["acme"]
    assert (tenant.providers, tenant.cache) == (("groq",), False)
    assert parse("tenants: {acme: {cache: true}}").tenants["acme"].cache
    assert problems("tenants:\n  acme:\n    providers:\n      - groqq\n      - groq\n      - groq") == [
        '4: tenants.acme.providers[0]: unknown provider "groqq" (did you mean "groq"?)',
        '6: tenants.acme.providers[2]: "groq" is here already',
    ]
    assert problems("tenants: {acme: {providers: []}}") == [
        "1: tenants.acme.providers: is empty: name the providers, or leave it out for all"
    ]
