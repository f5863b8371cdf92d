"""What a provider costs, in keyrail.yaml: prices and those to come, a discount, multipliers, a reference."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from keyrail.config.document import parse
from keyrail.config.problems import ConfigError
from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig
from keyrail.contracts.slips import Target

BUILTINS = {"openai": ProviderConfig(name="openai", base_url="https://api.openai.com/v1")}
HEAD = "providers:\n  openai:\n"


def view(text: str) -> ConfigView:
    return parse(text, "keyrail.yaml", BUILTINS)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        view(text)
    return [f"{problem.line}: {problem.message}" for problem in error.value.problems]


def day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def test_all_rates_are_read_as_they_were_written() -> None:
    text = """\
    prices:
      m: {input: 0.1, output: 10, cache_read: 0.01, cache_write: 0.125, cache_write_1h: 0.2,
          audio_input: 10, audio_output: 2e1, searches: 5}
"""
    assert view(HEAD + text).providers["openai"].prices == {
        "m": ModelPrice(
            input=Decimal("0.1"),
            output=Decimal(10),
            cache_read=Decimal("0.01"),
            cache_write=Decimal("0.125"),
            cache_write_1h=Decimal("0.2"),
            audio_input=Decimal(10),
            audio_output=Decimal(20),
            searches=Decimal(5),
        )
    }


def test_prices_may_follow_each_other() -> None:
    text = """\
    prices:
      m:
        - {input: 1, output: 2}
        - {input: 3, output: 4, from: 2026-12-01}
        - from: 2027-01-01
          input: 5
          output: 6
      n: {input: 7, output: 8, from: 2026-12-01}
"""
    prices = view(HEAD + text).providers["openai"].prices
    later = [
        (each.since_ms, each.input, each.output) for each in (prices["m"], *prices["m"].later, prices["n"])
    ]
    assert later == [
        (0, 1, 2),
        (day("2026-12-01"), 3, 4),
        (day("2027-01-01"), 5, 6),
        (day("2026-12-01"), 7, 8),
    ]


def test_a_discount_and_multipliers() -> None:
    text = '    discount: 0.15\n    multipliers: {"tier:flex": 0.4, "region:us-east1": 1.1, "*": 1.05}\n'
    found = view(HEAD + text).providers["openai"]
    assert found.discount == Decimal("0.15")
    assert found.multipliers == {
        "tier:flex": Decimal("0.4"),
        "region:us-east1": Decimal("1.1"),
        "*": Decimal("1.05"),
    }


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("    discount: 1.5", "3: providers.openai.discount: must be the share taken off"),
        ("    discount: 15%", "3: providers.openai.discount: must be the share taken off"),
        ("    discount: -0.1", "3: providers.openai.discount: must be the share taken off"),
        (
            "    multipliers:\n      tier:flex: 0.5\n      flex: 0.5",
            "5: providers.openai.multipliers.flex: is not tier:NAME, region:NAME or *",
        ),
        (
            "    multipliers:\n      tier:Flex: 0.5",
            "4: providers.openai.multipliers.tier:Flex: is not tier:NAME",
        ),
        (
            '    multipliers:\n      "*": 1001',
            '4: providers.openai.multipliers."*": must be what list prices',
        ),
        ("    prices:\n      m: []", "4: providers.openai.prices.m: is empty"),
        ("    prices:\n      m: 3", "4: providers.openai.prices.m: must be a mapping"),
        (
            "    prices:\n      m:\n        - {input: 1, output: 1}\n        - {input: 1, output: 1}",
            "6: providers.openai.prices.m[1]: must have a from: after that of the price before it",
        ),
        (
            "    prices:\n      m:\n        - {input: 1, output: 1, from: 2026-12-02}\n"
            "        - {input: 1, output: 1, from: 2026-12-01}",
            "6: providers.openai.prices.m[1]: must have a from: after that of the price before it",
        ),
        (
            "    prices:\n      m:\n        - input: 1\n          output: 1\n          from: 2026-02-30",
            "7: providers.openai.prices.m[0].from: must be a day (UTC), as 2026-12-01",
        ),
        (
            "    prices: {m: {input: 1, output: 1, from: 1970}}",
            "3: providers.openai.prices.m.from: must be a day (UTC), as 2026-12-01",
        ),
        (
            "    prices: {m: {input: 1, output: 1, searches: -1}}",
            "3: providers.openai.prices.m.searches: must be US dollars per thousand searches",
        ),
        (
            "    prices: {m: {input: 1, output: 1, audio_input: 1000001}}",
            "3: providers.openai.prices.m.audio_input: must be US dollars per million tokens",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(lines: str, problem: str) -> None:
    found = problems(HEAD + lines + "\n")
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_route_may_name_what_it_is_compared_with() -> None:
    text = "routes: {r: {targets: [openai/small], reference: openai/large}, s: {targets: [openai/small]}}"
    routes = view(text).routes
    assert routes["r"].reference == Target(provider="openai", model="large")
    assert routes["s"].reference is None


@pytest.mark.parametrize("reference", ["large", "nobody/large", "[openai/large]"])
def test_a_reference_is_a_provider_and_a_model(reference: str) -> None:
    found = problems(f"routes:\n  r:\n    targets: [openai/small]\n    reference: {reference}\n")
    assert found[0].startswith("4: routes.r.reference: ")


def test_the_documents_example_is_valid() -> None:
    text = (Path(__file__).parents[3] / "docs/prices.md").read_text()
    block = text.split("## Your own prices")[1].split("\n- ")[0]
    found = view("\n".join(line[4:] for line in block.splitlines()))
    assert found.providers["openai"].prices["gpt-6-sol"].later[0].since_ms == day("2026-12-01")
    assert found.routes["chat"].reference == Target(provider="openai", model="gpt-6-sol")
