"""The most that an attempt can cost: never less than what it is said to have cost afterwards."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.contracts.usage import Usage
from keyrail.pricing import catalogue
from keyrail.pricing.cost import price
from keyrail.pricing.most import most

NOW = 1_795_435_200_000  # 2026-11-23T12:00Z
BEFORE_A_RISE = 1_796_083_199_000  # 2026-11-30T23:59:59Z
STEP = Decimal("0.000000000001")


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "tier", "cost"),
    [
        ("openai", "gpt-5.4-mini", (1_000, 100), "default", "0.0012"),
        ("openai", "gpt-5.4-mini", (1_000, 100), None, "0.0024"),  # the project may be set to priority
        ("openai", "gpt-5.4-mini", (1_000, 100), "AUTO", "0.0024"),
        ("openai", "gpt-5.4-mini", (1_000, 100), "flex", "0.0012"),  # it may be served as usual
        ("openai", "gpt-5.4", (272_000, 10), "default", "0.68015"),
        ("openai", "gpt-5.4", (272_001, 10), "default", "1.360230"),
        ("openai", "gpt-5.4", (272_001, 10), "fast", "1.360305"),
        ("groq", "openai/gpt-oss-120b", (1_000, 100), "flex", "0.00021"),
        ("anthropic", "claude-sonnet-5-5", (1_000, 10), None, "0.00451"),  # all kept for an hour, in the US
        ("anthropic", "claude-sonnet-5-5", (1_000, 10), "standard_only", "0.00451"),
        ("openai", "text-embedding-3-small", (1_000, 0), None, "0.00002"),
        ("sandbox", "echo", (1_000, 100), None, "0"),
        ("openai", "gpt-5.4-mini", (0, 0), None, "0"),
    ],
)
def test_it_is_the_dearest_that_may_be_served(
    provider: str, model: str, tokens: tuple[int, int], tier: str | None, cost: str
) -> None:
    assert most(provider, model, *tokens, NOW, tier=tier) == Decimal(cost)


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "tier"),
    [
        ("openai", "no-such-model", (1, 1), None),
        ("nobody", "gpt-5.4", (1, 1), None),
        ("openai", "gpt-5.4", (1, 1), "scale"),
        ("groq", "openai/gpt-oss-120b", (1, 1), "performance"),
        ("openai", "text-embedding-3-small", (1, 1), None),  # no rate for an answer
        ("openai", "whisper-1", (10, 0), None),
    ],
)
def test_what_nobody_can_price_has_no_most(
    provider: str, model: str, tokens: tuple[int, int], tier: str | None
) -> None:
    assert most(provider, model, *tokens, NOW, tier=tier) is None


def test_a_price_that_rises_at_midnight_is_counted_the_day_before() -> None:
    today = most("gemini", "gemini-4-argon", 1_000_000, 0, BEFORE_A_RISE)
    started = BEFORE_A_RISE + 2_000
    paid = price("gemini", "gemini-4-argon", Usage(input_tokens=1_000_000, output_tokens=0), started)
    assert paid.cost_usd is not None
    assert today == paid.cost_usd


def test_a_price_that_changes_by_the_hour_is_counted_at_its_dearest() -> None:
    assert most("deepseek", "deepseek-chat", 1_000_000, 0, NOW) == Decimal("0.27")


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
    assert most("openai", "m", 1_000, 10, NOW, OWN, "whatever") == Decimal("0.000103")
    assert most("openai", "gpt-5.4-mini", 1_000, 10, NOW, OWN) == Decimal("0.00402")
    assert most("openai", "gpt-5.4-mini", 1_000, 10, NOW, ONE, "default") == Decimal("0.000795")


def test_sound_counts_at_the_operators_rate_for_it() -> None:
    heard = ModelPrice(input=Decimal(1), output=Decimal(2), audio_input=Decimal(5), audio_output=Decimal(7))
    assert most("p", "m", 1_000, 10, NOW, OWN.replace(prices={"m": heard})) == Decimal("0.00507")


def test_it_is_rounded_up_to_what_the_ledger_can_hold() -> None:
    tiny = ModelPrice(input=Decimal("0.0000001"), output=Decimal("1E-9"))
    own = OWN.replace(prices={"*": tiny})
    assert most("p", "m", 1, 0, NOW, own) == STEP
    assert most("p", "m", 10, 1, NOW, own) == 2 * STEP


def test_a_nonsensical_limit_is_no_error() -> None:
    found = most("openai", "gpt-5.4-mini", 10**30, 10**30, NOW)
    assert found is not None
    assert found > 1_000_000


def test_a_price_of_the_operators_that_rises_at_midnight_is_counted_the_day_before() -> None:
    midnight = BEFORE_A_RISE + 1_000
    dearer = ModelPrice(input=Decimal(9), output=Decimal(9), since_ms=midnight)
    own = OWN.replace(prices={"m": OWN.prices["m"].replace(later=(dearer,))})
    assert most("p", "m", 1_000, 0, BEFORE_A_RISE, own) == Decimal("0.009")
    assert most("p", "m", 1_000, 0, BEFORE_A_RISE - 2 * catalogue.DAY_MS, own) == Decimal("0.0001")


def test_before_the_operators_first_price_the_list_counts_and_if_it_has_none_nothing_is_known() -> None:
    soon = ModelPrice(input=Decimal("0.1"), output=Decimal(1), since_ms=BEFORE_A_RISE + 1_000)
    own = OWN.replace(prices={"gpt-5.4-mini": soon, "m": soon})
    assert most("openai", "gpt-5.4-mini", 1_000, 0, BEFORE_A_RISE, own, "default") == Decimal("0.00075")
    assert most("openai", "m", 1_000, 0, BEFORE_A_RISE, own, "default") is None


AGREED = OWN.replace(
    prices={},
    discount=Decimal("0.2"),
    multipliers={"tier:flex": Decimal(3), "tier:default": Decimal("1.5"), "tier:scale": Decimal(2)},
)


@pytest.mark.parametrize(
    ("tier", "cost"),
    [
        ("default", "0.0009"),  # 0.00075 x 1.5 x 0.8
        (None, "0.0012"),  # priority, 0.0015 x 0.8
        ("flex", "0.0018"),  # 0.00075 x 3 x 0.8
        ("scale", "0.0012"),  # 0.00075 x 2 x 0.8
    ],
)
def test_what_the_operator_changes_of_list_prices_counts(tier: str | None, cost: str) -> None:
    assert most("openai", "gpt-5.4-mini", 1_000, 0, NOW, AGREED, tier) == Decimal(cost)


def test_the_dearest_region_counts_that_anyone_has_a_price_for() -> None:
    own = AGREED.replace(discount=None, multipliers={"region:moon": Decimal(7)})
    assert most("openai", "gpt-5.4-mini", 1_000, 0, NOW, own, "default") == Decimal("0.00525")
    usage = Usage(input_tokens=1_000, output_tokens=0, region="moon")
    assert price("openai", "gpt-5.4-mini", usage, NOW, own).cost_usd == Decimal("0.00525")


PROVIDERS = ("openai", "anthropic", "gemini", "groq", "cerebras", "mistral", "xai", "openrouter", "deepseek")
MODELS = [(name, model) for name in PROVIDERS for model in catalogue.models(name)]
COUNT = st.integers(0, 400_000) | st.sampled_from([0, 1, 100_000, 100_001, 200_001, 272_001, 2**40])
TIER = st.sampled_from([None, None, "auto", "default", "flex", "priority", "fast"])
SERVED: dict[str | None, tuple[str | None, ...]] = {
    None: (None, "default", "priority"),
    "auto": (None, "default", "priority"),
    "default": (None, "default"),
    "flex": (None, "default", "flex"),
    "priority": (None, "default", "priority"),
    "fast": (None, "default", "priority", "fast"),
}


@st.composite
def usages(draw: st.DrawFn, input_: int, output: int, tier: str | None) -> Usage:
    """Any usage within the bounds, its parts within it."""
    total = draw(st.integers(0, input_) | st.just(input_))
    read = draw(st.integers(0, total))
    write = draw(st.integers(0, total - read))
    return Usage(
        input_tokens=total,
        output_tokens=draw(st.integers(0, output) | st.just(output)),
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=draw(st.integers(0, write) | st.just(write)),
        audio_input_tokens=draw(st.just(0) | st.integers(0, total - read - write)),
        served_tier=draw(st.sampled_from(SERVED[tier])),
        region=draw(st.sampled_from([None, None, "us", "eu"])),
    )


RATE = st.decimals(0, 100, places=3)
FACTOR = st.decimals(0, 10, places=2)
FEW_DAYS = st.integers(-2, 3).map(lambda days: days * catalogue.DAY_MS)


@st.composite
def agreements(draw: st.DrawFn, at_ms: int) -> ProviderConfig | None:
    """Nothing, prices of the operator's (some from a day about now on), a discount, multipliers, or all."""
    if draw(st.booleans()):
        return None
    midnight = at_ms // catalogue.DAY_MS * catalogue.DAY_MS
    days = sorted(draw(st.sets(FEW_DAYS, max_size=3)))
    dated = [
        ModelPrice(
            input=draw(RATE),
            output=draw(RATE),
            cache_read=draw(st.none() | RATE),
            cache_write_1h=draw(st.none() | RATE),
            audio_input=draw(st.none() | RATE),
            since_ms=midnight + day,
        )
        for day in days
    ]
    prices = {"*": dated[0].replace(later=tuple(dated[1:]))} if dated else {}
    names = st.sampled_from(["*", "tier:flex", "tier:default", "tier:priority", "region:us", "region:eu"])
    return ProviderConfig(
        name="p",
        base_url="",
        prices=prices,
        discount=draw(st.none() | st.decimals(0, 1, places=2)),
        multipliers=draw(st.dictionaries(names, FACTOR, max_size=3)),
    )


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(MODELS),
    COUNT,
    COUNT,
    TIER,
    st.data(),
    st.integers(1_750_000_000_000, 1_800_000_000_000),
    st.integers(0, 86_400_000),
)
def test_no_usage_within_the_bounds_costs_more(
    model: tuple[str, str],
    input_: int,
    output: int,
    tier: str | None,
    data: st.DataObject,
    at_ms: int,
    later_ms: int,
) -> None:
    own = data.draw(agreements(at_ms))
    bound = most(*model, input_, output, at_ms, own, tier)
    usage = data.draw(usages(input_, output, tier))
    if usage.served_tier == "priority" and tier in (None, "auto"):
        assume(model[0] == "openai")  # nobody else serves it unasked
    paid = price(*model, usage, at_ms + later_ms, own).cost_usd
    if bound is not None and paid is not None:
        assert paid <= bound
