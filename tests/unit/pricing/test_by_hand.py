"""Prices worked out by hand from the providers' rules: tokens times US dollars per million, nothing else.

Each usage is an object as the provider sends it, read by the reader of its dialect.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from support.more_prices_by_hand import GEMINI, OTHERS
from support.prices_by_hand import ANTHROPIC, OPENAI
from support.usages_as_sent import (
    BEFORE_OUR_DATA,
    HEARD,
    LIST,
    NOW,
    OURS,
    SEARCHES,
    at,
    by_kind,
    cached,
    chat,
    claude,
    goog,
    heard,
    responses,
    split,
    usd,
    written,
)

from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.contracts.usage import Usage
from keyrail.pricing.cost import price

CASES = [*OPENAI, *ANTHROPIC, *GEMINI, *OTHERS]


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost", "version"),
    [pytest.param(*rest, id=f"{rest[0]}: {name}") for name, *rest in CASES],
)
def test_the_price_is_what_the_rule_says(
    provider: str, model: str, usage: Usage, cost: Decimal, version: str
) -> None:
    found = price(provider, model, usage, NOW)
    assert (found.cost_usd, found.source, found.version) == (cost, "catalogue", version)


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "gpt-5.4", chat(1_000, 10, "scale")),
        ("openai", "gpt-5.4-nano", chat(1_000, 10, "priority")),  # has no such tier
        ("anthropic", "claude-opus-5-5", claude(100, 10, service_tier="priority")),  # by contract
        ("anthropic", "claude-sonnet-5-5", claude(100, 10, speed="fast")),  # has no such speed
        ("anthropic", "claude-opus-5-5", claude(100, 10, speed="fast", service_tier="batch")),
        ("groq", "openai/gpt-oss-120b", chat(1_000, 10, "performance")),
        ("cerebras", "gpt-oss-120b", chat(1_000, 10, "priority")),
        ("deepinfra", "meta-llama/Llama-4-Scout", chat(1_000, 10)),  # unless it says so itself
        ("openrouter", "anthropic/claude-sonnet-4.6:free", chat(1_000, 10)),
        ("openrouter", "anthropic/claude-sonnet-4.6:unheard-of", chat(1_000, 10)),
        ("openai", "gpt-6-sol", chat(10, 10, **cached(2_000))),  # a prompt without what was cached
        ("openai", "gpt-6-sol", responses(1_000, 10, **written(900, 900))),
        ("openai", "gpt-5.3-codex", responses(1_000, 10, tools=SEARCHES)),  # no rate for searches
        ("gemini", "gemini-2.5-flash", goog(1_000, 10, cachedContentTokenCount=1_001, **HEARD)),
    ],
)
def test_what_no_rule_prices_is_unknown_never_negative_and_never_less(
    provider: str, model: str, usage: Usage
) -> None:
    assert price(provider, model, usage, NOW).cost_usd is None


@pytest.mark.parametrize(
    ("provider", "model", "usage", "moment", "cost", "version"),
    [
        (
            "gemini",
            "gemini-4-argon",
            goog(1_000, 10),
            "2026-11-30T23:59:59.999",
            usd((1_000, "2"), (10, "10")),
            LIST,
        ),
        (
            "gemini",
            "gemini-4-argon",
            goog(1_000, 10),
            "2026-12-01T00:00:00",
            usd((1_000, "4"), (10, "20")),
            LIST,
        ),
        (
            "openai",
            "gpt-5-mini",
            chat(1_000, 10, "flex"),
            "2026-10-12T00:00:00",
            usd((1_000, "0.125"), (10, "1")),
            LIST,
        ),
        # Before that the library has no rate and would take the standard one.
        (
            "openai",
            "gpt-5-mini",
            chat(1_000, 10, "flex"),
            "2026-10-11T23:59:59",
            usd((1_000, "0.125"), (10, "1")),
            OURS,
        ),
        (
            "anthropic",
            "claude-opus-4-5",
            claude(100, 10, 1_000, service_tier="batch"),
            "2026-03-01T00:00:00",
            usd((100, "2.5"), (1_000, "0.25"), (10, "12.5")),
            OURS,
        ),
    ],
)
def test_the_price_is_that_of_its_time(
    provider: str, model: str, usage: Usage, moment: str, cost: Decimal, version: str
) -> None:
    found = price(provider, model, usage, at(moment))
    assert (found.cost_usd, found.version) == (cost, version)


def test_a_tier_that_had_no_price_yet_is_unknown_and_not_the_standard_one() -> None:
    assert price("openai", "gpt-5-mini", chat(1_000, 10, "priority"), BEFORE_OUR_DATA).cost_usd is None


@pytest.mark.parametrize(
    ("provider", "usage", "cost"),
    [
        ("xai", chat(37_756, 1, cost_in_usd_ticks=37_756_000), "0.0037756"),  # ten-thousand-millionths
        ("deepinfra", chat(1_000, 10, estimated_cost=0.0000025), "0.0000025"),
        ("openrouter", chat(1_000, 10, cost=0.00014, cost_details={"upstream_inference_cost": 9}), "0.00014"),
        (  # 5% of 0.002 as a fee, and the bill of the provider behind
            "openrouter",
            chat(1_000, 10, cost=0.0001, is_byok=True, cost_details={"upstream_inference_cost": 0.002}),
            "0.0021",
        ),
    ],
)
def test_what_the_provider_states_is_the_price(provider: str, usage: Usage, cost: str) -> None:
    found = price(provider, "whatever", usage, NOW)
    assert (found.cost_usd, found.source, found.version) == (Decimal(cost), "provider", None)


def terms(**more: Any) -> ProviderConfig:
    return ProviderConfig(name="p", base_url="", **more)


def rates(input_: str, output: str, **more: Any) -> ModelPrice:
    values: dict[str, Any] = {
        name: Decimal(value) if type(value) is str else value for name, value in more.items()
    }
    return ModelPrice(input=Decimal(input_), output=Decimal(output), **values)


DECEMBER = at("2026-12-01T00:00:00")
DATED = terms(
    prices={
        "m": rates(
            "1", "2", later=(rates("3", "4", since_ms=DECEMBER), rates("5", "6", since_ms=DECEMBER * 2))
        ),
        "gpt-6-sol": rates("7", "8", since_ms=DECEMBER),
    }
)


@pytest.mark.parametrize(
    ("model", "moment", "cost", "source"),
    [
        ("m", DECEMBER - 1, usd((1_000, "1"), (10, "2")), "configured"),
        ("m", DECEMBER, usd((1_000, "3"), (10, "4")), "configured"),
        ("gpt-6-sol", DECEMBER - 1, usd((1_000, "2"), (10, "10")), "catalogue"),
        ("gpt-6-sol", DECEMBER, usd((1_000, "7"), (10, "8")), "configured"),
    ],
)
def test_a_price_of_the_operators_is_in_force_from_its_day(
    model: str, moment: int, cost: Decimal, source: str
) -> None:
    found = price("openai", model, chat(1_000, 10), moment, DATED, 7)
    assert (found.cost_usd, found.source) == (cost, source)
    assert found.version == ("7" if source == "configured" else LIST)


OWN = terms(
    prices={"*": rates("1", "2", cache_read="0.1", audio_input="10", audio_output="20", searches="5")}
)


@pytest.mark.parametrize(
    ("usage", "cost", "version"),
    [
        (chat(1_000, 500, **heard(800, 400)), usd((200, "1"), (800, "10"), (100, "2"), (400, "20")), "7"),
        (responses(1_000, 10, None, SEARCHES), usd((1_000, "1"), (10, "2")) + 3 * Decimal("0.005"), "7"),
        (
            goog(1_000, 10, cachedContentTokenCount=500, cacheTokensDetails=by_kind(AUDIO=400), **HEARD),
            usd((100, "1"), (500, "0.1"), (400, "10"), (10, "2")),
            "7",
        ),
        (
            goog(1_000, 10, cachedContentTokenCount=500, **HEARD),
            usd((500, "1"), (500, "0.1"), (10, "2")),
            "7~",
        ),
        (claude(100, 10, 50, **split(20, 30)), usd((150, "1"), (50, "0.1"), (10, "2")), "7"),
        (chat(1_000, 10, "whatever"), usd((1_000, "1"), (10, "2")), "7"),
    ],
)
def test_the_operators_own_rates(usage: Usage, cost: Decimal, version: str) -> None:
    found = price("p", "m", usage, NOW, OWN, 7)
    assert (found.cost_usd, found.source, found.version) == (cost, "configured", version)


def test_searches_without_a_rate_of_the_operators_are_unknown() -> None:
    given = terms(prices={"*": rates("1", "2")})
    assert price("p", "m", responses(1_000, 10, None, SEARCHES), NOW, given).cost_usd is None


AGREED = terms(
    discount=Decimal("0.15"),
    multipliers={
        "tier:flex": Decimal("0.4"),
        "tier:scale": Decimal(3),
        "region:us": Decimal("1.2"),
        "*": Decimal("1.1"),
    },
)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost", "version"),
    [
        # 1 - 0.15 = 0.85, times 1.1 for every call
        ("openai", "gpt-6-sol", chat(1_000, 10), usd((1_000, "2"), (10, "10")), f"{LIST}+r7"),
        # 0.4 of the standard rate, in place of the list's half
        ("openai", "gpt-6-sol", chat(1_000, 10, "flex"), usd((1_000, "0.8"), (10, "4")), f"{LIST}+r7"),
        # the list's own tier, where no multiplier stands in its place
        ("openai", "gpt-6-sol", chat(1_000, 10, "priority"), usd((1_000, "4"), (10, "20")), f"{LIST}+r7"),
        # a tier of a contract, which no list prices
        ("openai", "gpt-6-sol", chat(1_000, 10, "scale"), usd((1_000, "6"), (10, "30")), f"{LIST}+r7"),
        # 1.2 in place of 1.1
        (
            "anthropic",
            "claude-opus-5-5",
            claude(100, 10, inference_geo="us"),
            usd((100, "4.8"), (10, "24")),
            f"{LIST}+r7",
        ),
        (
            "gemini",
            "gemini-3.8-flash",
            goog(1_000, 10, serviceTier="priority"),
            usd((1_000, "1.35"), (10, "6.75")),
            f"{OURS}+r7~",
        ),
    ],
)
def test_a_discount_and_multipliers_apply_to_list_prices(
    provider: str, model: str, usage: Usage, cost: Decimal, version: str
) -> None:
    found = price(provider, model, usage, NOW, AGREED, 7)
    every_call = Decimal("0.85") * Decimal("1.1")
    assert (found.cost_usd, found.source, found.version) == (cost * every_call, "catalogue", version)


def test_a_discount_does_not_apply_to_the_operators_own_price_or_the_providers_figure() -> None:
    both = AGREED.replace(prices={"m": rates("1", "2")})
    assert price("openai", "m", chat(1_000, 10), NOW, both, 7).cost_usd == usd((1_000, "1"), (10, "2"))
    assert price("openai", "x", chat(1_000, 10, cost=0.5), NOW, both, 7).cost_usd == Decimal("0.5")
