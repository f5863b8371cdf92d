"""Tenants, teams, budgets and the policy for unknown prices in keyrail.yaml."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.config.budgets import parse, written
from keyrail.config.document import parse as parse_document
from keyrail.config.problems import ConfigError
from keyrail.contracts.budgets import Budget, Limits
from keyrail.contracts.config import ConfigView, ProviderConfig, TeamConfig, TenantConfig

BUILTINS = {"openai": ProviderConfig(name="openai", base_url="https://api.openai.com/v1")}

EXAMPLE = """\
unknown_price: allow
output_cap: 4096
routes:
  chat: {targets: [openai/x], unknown_price: allow}
  other: {targets: [openai/x]}
tenants:
  default:
    budgets: ["50/day", 1000/month, 0.1, 7.50]
    teams:
      search: {rpm: 600, tpm: 2000000, concurrent: 20, budgets: ["20/day", "300/month/soft"]}
      "R&D": {}
  "acme/eu west@1": {teams: {}}
"""


def view(text: str) -> ConfigView:
    return parse_document(text, "keyrail.yaml", BUILTINS)


def problems(text: str) -> list[str]:
    """Each problem as `line: message`."""
    with pytest.raises(ConfigError) as caught:
        view(text)
    return [f"{problem.line}: {problem.message}" for problem in caught.value.problems]


def budget(usd: str, per: str, *, soft: bool = False) -> Budget:
    return Budget(usd=Decimal(usd), per="day" if per == "day" else "month", soft=soft)


def test_an_example_becomes_a_view() -> None:
    got = view(EXAMPLE.replace("R&D", "R-D"))
    assert got.tenants == {
        "default": TenantConfig(
            budgets=(
                budget("50", "day"),
                budget("1000", "month"),
                budget("0.1", "month"),
                budget("7.5", "month"),
            ),
            teams={
                "search": TeamConfig(
                    limits=Limits(rpm=600, tpm=2_000_000, concurrent=20),
                    budgets=(budget("20", "day"), budget("300", "month", soft=True)),
                ),
                "R-D": TeamConfig(),
            },
        ),
        "acme/eu west@1": TenantConfig(),
    }
    assert (got.unknown_price, got.output_cap) == ("allow", 4096)
    assert {name: route.unknown_price for name, route in got.routes.items()} == {
        "chat": "allow",
        "other": "refuse",
    }


def test_where_nothing_is_said_unknown_prices_are_refused_and_nothing_is_limited() -> None:
    assert view("tenants:") == view("")
    assert (view("").tenants, view("").unknown_price, view("").output_cap) == ({}, "refuse", 16_384)


def test_a_view_travels() -> None:
    got = view(EXAMPLE.replace("R&D", "R-D"))
    assert ConfigView.decode(got.encode()) == got


NAME = "letters, digits or '._-:/@ '"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EXAMPLE, [f'11: tenants.default.teams."R&D": a team\'s name is 1 to 64 {NAME}']),
        ("tenants: []", ["1: tenants: must be a mapping, not a list"]),
        ("tenants:\n  a:\n    budget: [1]", ['3: tenants.a: unknown key "budget" (did you mean "budgets"?)']),
        ("tenants:\n  a:\n    rpm: 5", ['3: tenants.a: unknown key "rpm"']),
        ("tenants: {a: {budgets: 5}}", ["1: tenants.a.budgets: must be a list, not 5"]),
        ("tenants: {a: {budgets: [true]}}", ["1: tenants.a.budgets[0]: must be text, not true"]),
        (
            "tenants:\n  a:\n    teams:\n      t:\n        rpm: 0",
            ["5: tenants.a.teams.t.rpm: must be a whole number from 1 to 1000000000, not 0"],
        ),
        (
            "tenants: {a: {teams: {t: {tpm: 1.5}}}}",
            ["1: tenants.a.teams.t.tpm: must be a whole number from 1 to 1000000000, not 1.5"],
        ),
        (
            "tenants:\n  a:\n    budgets:\n      - 5\n      - 5.0/month",
            ['5: tenants.a.budgets[1]: "5/month" is here already'],
        ),
        ("unknown_price: ask", ['1: unknown_price: must be refuse or allow, not "ask"']),
        (
            "routes:\n  r:\n    targets: [openai/x]\n    unknown_price: no",
            ['4: routes.r.unknown_price: must be refuse or allow, not "no"'],
        ),
        ("output_cap: 0", ["1: output_cap: must be a whole number from 1 to 10000000, not 0"]),
        ("output_cup: 1", ['1: unknown key "output_cup" (did you mean "output_cap"?)']),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_more_budgets_than_anybody_can_mean_are_refused() -> None:
    amounts = ", ".join(str(n) for n in range(1, 18))
    assert problems(f"tenants: {{a: {{budgets: [{amounts}]}}}}") == [
        "1: tenants.a.budgets: has more than 16 budgets"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25/day", budget("25", "day")),
        ("0.5", budget("0.5", "month")),
        ("300/month/soft", budget("300", "month", soft=True)),
        ("300/soft", budget("300", "month", soft=True)),
        ("10/day/soft", budget("10", "day", soft=True)),
        ("0.000000000001", budget("0.000000000001", "month")),
        ("999999999.999999999999", budget("999999999.999999999999", "month")),
        ("007.500/day", budget("7.5", "day")),
    ],
)
def test_a_budget_is_read_exactly(text: str, expected: Budget) -> None:
    found = parse(text)
    assert found == expected
    assert isinstance(found, Budget)
    assert str(found.usd) == str(expected.usd), "one way to write an amount"
    assert parse(written(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0.0/day", "-1", "+1", "1e3", "1E2/day", ".5", "5.", "1,5", "$5", "5/week", "5/day/"),
        *("5/soft/day", "5/day/hard", " 5", "5 /day", "5\n", "1_000", "1000000000", "0.0000000000001"),
        *("NaN", "Infinity", "\u0665", "9" * 10_000),
    ],
)
def test_what_is_no_budget_is_told(text: str) -> None:
    found = parse(text)
    assert isinstance(found, str)
    assert found.startswith("a budget ")


@given(
    st.decimals("0.000000000001", "999999999", places=12, allow_nan=False),
    st.sampled_from(["day", "month"]),
    st.booleans(),
)
def test_a_budget_is_written_as_it_is_read(usd: Decimal, per: str, soft: bool) -> None:
    one = budget(str(usd), per, soft=soft)
    assert parse(written(one)) == one
