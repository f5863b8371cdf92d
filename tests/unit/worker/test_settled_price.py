"""What a settled attempt says that it cost, would have cost without a cache, and at its route's reference."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig
from keyrail.contracts.events import AttemptStarted
from keyrail.contracts.usage import Usage
from keyrail.pricing.cost import price
from keyrail_provider_worker import settle
from keyrail_provider_worker.settle import NOT_BILLED, Course

NOW = 1_795_435_200_000  # 2026-11-23T12:00Z
CACHED = Usage(input_tokens=1_000, output_tokens=10, cache_read_tokens=400)


def started(provider: str, model: str, reference: str | None = None) -> AttemptStarted:
    return AttemptStarted(
        attempt_id="a",
        request_id="r",
        epoch=1,
        hop=1,
        tenant="t",
        key_id="k",
        strategy="fallback",
        revision=7,
        provider=provider,
        model=model,
        worker="w",
        started_ms=NOW,
        reference=reference,
    )


def flat(input_: int) -> ProviderConfig:
    rates = ModelPrice(input=Decimal(input_), output=Decimal(input_))
    return ProviderConfig(name="p", base_url="", prices={"*": rates})


def paid(attempt: AttemptStarted, usage: Usage, **providers: ProviderConfig) -> tuple[Decimal | None, ...]:
    course = Course(written=True, http_status=200, usage=usage)
    found = settle.price(attempt, course, ConfigView(revision=7, providers=providers))
    return found.cost_usd, found.uncached_usd, found.reference_usd


def usd(*lines: tuple[int, str]) -> Decimal:
    return sum((number * Decimal(rate) for number, rate in lines), Decimal(0)) / 1_000_000


def test_without_a_route_there_is_nothing_to_compare_with() -> None:
    spent = usd((600, "2"), (400, "0.2"), (10, "10"))
    assert paid(started("openai", "gpt-6-sol"), CACHED) == (spent, usd((1_000, "2"), (10, "10")), None)


def test_at_its_own_reference_the_price_is_the_reference() -> None:
    cost, _, reference = paid(started("openai", "gpt-6-sol", "openai/gpt-6-sol"), CACHED)
    assert reference == cost == usd((600, "2"), (400, "0.2"), (10, "10"))


def test_at_another_model_the_same_tokens_count_those_cached_too() -> None:
    cost, uncached, reference = paid(started("openai", "gpt-6-luna", "anthropic/claude-opus-5-5"), CACHED)
    assert cost == usd((600, "0.1"), (400, "0.01"), (10, "0.5"))
    assert uncached == usd((1_000, "0.1"), (10, "0.5"))
    assert reference == usd((600, "4"), (400, "0.2"), (10, "20"))


@pytest.mark.parametrize(
    ("provider", "model", "rates"),
    [
        ("openai", "gpt-6-sol", ("1", "0.1", "5")),  # its flex tier
        ("anthropic", "claude-opus-5-5", ("4", "0.2", "20")),  # flex means nothing there
    ],
)
def test_the_tier_is_compared_within_a_provider_alone(
    provider: str, model: str, rates: tuple[str, str, str]
) -> None:
    usage = CACHED.replace(served_tier="flex")
    reference = paid(started("openai", "gpt-6-luna", f"{provider}/{model}"), usage)[2]
    assert reference == usd((600, rates[0]), (400, rates[1]), (10, rates[2]))


def test_the_reference_has_the_prices_that_the_operator_gave_its_provider() -> None:
    attempt = started("mine", "m", "theirs/m")
    assert paid(attempt, CACHED, mine=flat(1), theirs=flat(3))[::2] == (
        usd((1_010, "1")),
        usd((1_010, "3")),
    )


def test_the_version_is_the_revision_that_the_price_was_taken_from() -> None:
    course = Course(written=True, http_status=200, usage=CACHED)
    view = ConfigView(revision=8, providers={"mine": flat(1)})  # the plan was made under 7
    assert settle.price(started("mine", "m"), course, view).version == "8"


def test_what_a_provider_reports_is_never_taken_for_the_reference() -> None:
    usage = CACHED.replace(raw={"cost": 0.5})
    attempt = started("openrouter", "openai/gpt-6-luna", "openai/gpt-6-sol")
    assert paid(attempt, usage)[2] == usd((600, "2"), (400, "0.2"), (10, "10"))


@pytest.mark.parametrize(
    ("usage", "uncached"),
    [
        (CACHED.replace(cache_read_tokens=0, raw={"cost": 0.5}), "0.5"),  # nothing was cached
        # 400 tokens at 2 instead of 0.2 beside what was billed, whatever else was in it
        (CACHED.replace(raw={"cost": 0.5}), "0.50072"),
        (CACHED.replace(cache_write_tokens=600, cache_read_tokens=0, raw={"cost": 0}), "0"),
    ],
)
def test_beside_a_reported_cost_the_lists_say_what_the_cache_saved(usage: Usage, uncached: str) -> None:
    assert paid(started("openai", "gpt-6-sol"), usage)[1] == Decimal(uncached)


def test_beside_a_reported_cost_nothing_is_known_where_no_list_has_the_model() -> None:
    usage = CACHED.replace(raw={"estimated_cost": 0.5})
    assert paid(started("deepinfra", "m"), usage)[:2] == (Decimal("0.5"), None)
    assert paid(started("deepinfra", "m", "deepinfra/m"), usage)[2] == Decimal("0.5")


def test_an_unknown_price_has_a_reference_where_that_is_known() -> None:
    found = paid(started("deepinfra", "m", "openai/gpt-6-sol"), CACHED)
    assert found == (None, None, usd((600, "2"), (400, "0.2"), (10, "10")))
    assert paid(started("openai", "gpt-6-sol", "deepinfra/m"), CACHED)[2] is None
    assert paid(started("deepinfra", "m", "deepinfra/m"), CACHED) == (None, None, None)


@pytest.mark.parametrize("course", [Course(), Course(written=True, http_status=429)])
def test_what_nobody_bills_costs_nothing_and_saves_nothing(course: Course) -> None:
    found = settle.price(started("openai", "gpt-6-sol", "openai/gpt-6-luna"), course, ConfigView())
    assert found == NOT_BILLED


@pytest.mark.parametrize(
    ("provider", "model", "more"),
    [
        ("openai", "gpt-6-sol", {}),
        ("gemini", "gemini-2.5-flash", {"audio_input_tokens": 50}),
        ("gemini", "gemini-3.8-flash", {"served_tier": "priority"}),
        ("anthropic", "claude-opus-5-5", {"region": "us", "searches": 2}),
    ],
)
def test_what_was_not_cached_costs_the_same_uncached(provider: str, model: str, more: dict[str, Any]) -> None:
    found = price(provider, model, CACHED.replace(cache_read_tokens=0, **more), NOW)
    assert found.cost_usd is not None
    assert found.uncached_usd == found.cost_usd
