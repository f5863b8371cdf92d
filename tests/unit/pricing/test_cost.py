"""Prices: whom we believe, in which order, and that the quick way gives the library's own figure."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.contracts.usage import Price, Usage
from keyrail.pricing import catalogue
from keyrail.pricing.cost import price
from keyrail.pricing.rates import rates

NOW = 1_795_435_200_000  # 2026-11-23T12:00Z


def tokens(input_: int, output: int, **more: Any) -> Usage:
    return Usage(input_tokens=input_, output_tokens=output, **more)


def by_hand(text: str) -> Price:
    return Price(cost_usd=Decimal(text), source="catalogue", version=genai_prices.__version__)


def paid(provider: str, model: str, usage: Usage, at_ms: int, *terms: Any) -> Price:
    """What was paid, without what would have been: that has tests of its own."""
    return price(provider, model, usage, at_ms, *terms).replace(uncached_usd=None)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost"),
    [
        ("openai", "gpt-5.4-mini", tokens(1_000, 100), "0.0012"),
        ("openai", "gpt-5.4-mini", tokens(1_000, 100, cache_read_tokens=400), "0.00093"),
        ("openai", "gpt-5.4-mini", tokens(1_000, 100, served_tier="flex"), "0.0006"),
        ("openai", "gpt-5.4-mini", tokens(1_000, 100, served_tier="Priority"), "0.0024"),
        ("openai", "gpt-5.4-mini", tokens(1_000, 100, served_tier="default"), "0.0012"),
        ("openai", "gpt-5.4", tokens(272_000, 10), "0.68015"),
        ("openai", "gpt-5.4", tokens(272_001, 10), "1.360230"),
        ("openai", "gpt-audio", tokens(1_000, 0, audio_input_tokens=500), "0.01725"),
        ("groq", "openai/gpt-oss-120b", tokens(1_000, 100, served_tier="on_demand"), "0.00021"),
        ("groq", "openai/gpt-oss-120b", tokens(1_000, 100, served_tier="flex"), "0.00021"),
        ("openai", "gpt-5.4-mini", tokens(0, 0), "0"),
    ],
)
def test_catalogue_prices_are_those_worked_out_by_hand(
    provider: str, model: str, usage: Usage, cost: str
) -> None:
    assert paid(provider, model, usage, NOW) == by_hand(cost)


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "no-such-model", tokens(1, 1)),
        ("my-own-openai", "gpt-5.4", tokens(1, 1)),
        ("OpenAI", "gpt-5.4", tokens(1, 1)),
        ("openai", "gpt-5.4", Usage(input_tokens=1)),
        ("openai", "gpt-5.4", Usage(output_tokens=1)),
        ("openai", "gpt-5.4", Usage()),
        ("openai", "gpt-5.4", tokens(1, 1, served_tier="scale")),
        ("groq", "openai/gpt-oss-120b", tokens(1, 1, served_tier="performance")),
        ("openai", "gpt-5.4", tokens(10, 1, cache_read_tokens=11)),
        ("openai", "gpt-4o-audio-preview-2024-10-01", tokens(10, 1, audio_input_tokens=5)),
        ("openai", "whisper-1", tokens(10, 1)),
        ("groq", "whisper-large-v3", tokens(10, 1)),
    ],
)
def test_what_nobody_can_price_is_unknown_and_never_zero(provider: str, model: str, usage: Usage) -> None:
    assert price(provider, model, usage, NOW) == Price()


@pytest.mark.parametrize(
    ("raw", "cost"),
    [
        ({"cost": 0.00014}, "0.00014"),
        ({"cost": 0}, "0"),
        ({"cost": 1e-07, "is_byok": False, "cost_details": {"upstream_inference_cost": 5}}, "0.0000001"),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}, "0.002"),
        ({"estimated_cost": 2.5e-06}, "0.0000025"),
        ({"cost_in_usd_ticks": 37_756_000}, "0.0037756"),
        ({"cost": 1.23456789012345e-05}, "0.000012345679"),
    ],
)
def test_the_providers_own_figure_comes_first(raw: dict[str, Any], cost: str) -> None:
    found = paid("openrouter", "anything", Usage(raw=raw), NOW)
    assert found == Price(cost_usd=Decimal(cost), source="provider")


@pytest.mark.parametrize("cost", [-1, True, "0.1", None, 1e300, [], {"total": 1}])
def test_a_nonsense_figure_is_not_believed(cost: Any) -> None:
    usage = tokens(1_000, 100, raw={"cost": cost, "estimated_cost": cost, "cost_in_usd_ticks": cost})
    assert paid("openai", "gpt-5.4-mini", usage, NOW) == by_hand("0.0012")


def test_own_key_at_a_reseller_without_its_bill_falls_back_to_the_catalogue() -> None:
    usage = tokens(1_000, 100, raw={"cost": 0, "is_byok": True})
    assert paid("openai", "gpt-5.4-mini", usage, NOW) == by_hand("0.0012")


def test_the_sandbox_costs_nothing_and_that_is_known() -> None:
    assert paid("sandbox", "echo", Usage(), NOW) == Price(cost_usd=Decimal(0), source="sandbox")


def test_a_price_that_changes_at_midnight_is_the_days_own() -> None:
    def at(moment: str) -> Decimal | None:
        stamp = int(datetime.fromisoformat(moment).timestamp() * 1000)
        return price("gemini", "gemini-4-argon", tokens(1_000_000, 0), stamp).cost_usd

    before, after = at("2026-11-30T23:59:59.999+00:00"), at("2026-12-01T00:00:00+00:00")
    assert before is not None
    assert after == 2 * before


def test_a_price_that_changes_within_the_day_is_left_to_the_library() -> None:
    entry = next(entry for entry in get_snapshot().providers if entry.id == "deepseek")
    changing = [model.id for model in entry.models if catalogue.changes_on_a_day(model)]
    assert changing
    assert all(rates("deepseek", model, None, NOW // catalogue.DAY_MS) is None for model in changing)
    agree("deepseek", changing[0], tokens(1_000_000, 1_000), NOW)


MODELS = [
    (name, model) for name in ("openai", "groq", "mistral", "gemini") for model in catalogue.models(name)
]
COUNT = st.integers(0, 400_000) | st.sampled_from([0, 1, 128_000, 200_000, 200_001, 272_000, 272_001, 2**40])


def agree(provider: str, model: str, usage: Usage, at_ms: int) -> None:
    """Our price is the library's, or unknown where the library would leave something out."""
    ours = price(provider, model, usage, at_ms)
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "input_audio_tokens": usage.audio_input_tokens,
        "output_audio_tokens": usage.audio_output_tokens,
    }
    known = {key: count for key, count in counts.items() if count is not None}
    theirs = catalogue.calculate(provider, model, usage.served_tier, known, at_ms)
    if theirs is None and ours.version is not None and ours.version.endswith("~"):
        assert usage.audio_input_tokens  # of which nobody knows how much was cached: all of it counts as text
        agree(provider, model, usage.replace(audio_input_tokens=None), at_ms)
    elif theirs is None:
        assert ours == Price()
    elif ours.cost_usd is not None:
        assert ours.cost_usd == theirs.total_price.quantize(Decimal("0.000000000001"))
    else:
        priced = catalogue.rates_of(theirs).keys()
        cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
        assert (
            not {"input_mtok", "output_mtok"} <= priced
            or usage.audio_input_tokens
            or usage.audio_output_tokens
            or cached > (usage.input_tokens or 0)  # counts that contradict each other have no price
        )


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(MODELS),
    COUNT,
    COUNT,
    st.none() | COUNT,
    st.none() | COUNT,
    st.sampled_from([None, None, None, 5]),
    st.sampled_from([None, "default", "flex", "priority"]),
    st.integers(1_700_000_000_000, 1_800_000_000_000),
)
def test_the_quick_way_gives_the_librarys_own_price(
    model: tuple[str, str],
    input_: int,
    output: int,
    cache_read: int | None,
    cache_write: int | None,
    audio: int | None,
    tier: str | None,
    at_ms: int,
) -> None:
    usage = tokens(
        input_,
        output,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        audio_input_tokens=audio,
        served_tier=tier,
    )
    agree(*model, usage, at_ms)


def test_most_models_go_the_quick_way() -> None:
    quick = [model for model in MODELS if rates(*model, None, NOW // catalogue.DAY_MS) is not None]
    assert len(quick) > 0.8 * len(MODELS)


def test_models_of_a_provider_are_listed() -> None:
    assert "gpt-5.4-mini" in catalogue.models("openai")
    assert catalogue.models("gemini") == catalogue.models("google")
    assert catalogue.models("nobody") == []


OWN = ProviderConfig(
    name="p",
    base_url="",
    prices={
        "m": ModelPrice(input=Decimal("0.1"), output=Decimal("0.3"), cache_read=Decimal("0.01")),
        "*": ModelPrice(
            input=Decimal(1), output=Decimal(2), cache_write=Decimal(3), cache_write_1h=Decimal(4)
        ),
    },
)
ONE = OWN.replace(prices={"m": OWN.prices["m"]})


def test_the_operators_price_counts_before_the_catalogue() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=10, cache_read_tokens=400)
    assert paid("openai", "m", usage, 0, OWN, 7) == Price(
        cost_usd=Decimal("0.000067"), source="configured", version="7"
    )
    assert price("openai", "gpt-5.4-mini", usage, NOW, OWN, 7).source == "configured"
    assert price("openai", "gpt-5.4-mini", usage, NOW, ONE, 7).source == "catalogue"


def test_what_the_provider_bills_counts_before_the_operators_price() -> None:
    usage = Usage(input_tokens=1, output_tokens=1, raw={"cost": 0.5})
    assert paid("openrouter", "m", usage, 0, OWN, 7) == Price(cost_usd=Decimal("0.5"), source="provider")


def test_the_operators_price_of_unknown_usage_is_unknown() -> None:
    assert price("openai", "m", Usage(input_tokens=5), 0, OWN, 7) == Price()


def test_an_hour_in_the_cache_has_its_own_rate() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=10, cache_write_tokens=300, cache_write_1h_tokens=100)
    assert price("p", "x", usage, 0, OWN, 1).cost_usd == Decimal("0.00172")
    known = price("anthropic", "claude-sonnet-5-5", usage, NOW)
    expected = 700 * Decimal(2) + 200 * Decimal("2.5") + 100 * Decimal(4) + 10 * Decimal(10)
    assert known.cost_usd == expected / 1_000_000


def test_searches_are_paid_for() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=10, searches=2)
    assert price("anthropic", "claude-sonnet-5-5", usage, NOW).cost_usd == Decimal("0.0221")
