"""Whatever comes in: a view with all that was written, or a list of problems."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.config.document import parse
from keyrail.config.problems import ConfigError
from keyrail.contracts.config import ConfigView, ProviderConfig

BUILTINS = {
    "openai": ProviderConfig(name="openai", base_url="https://api.openai.com/v1"),
    "groq": ProviderConfig(name="groq", base_url="https://api.groq.com/openai/v1"),
    "sandbox": ProviderConfig(name="sandbox", base_url="http://127.0.0.1:9009/v1", needs_key=False),
}
EXAMPLE = """\
providers:
  openai: {base_url: "http://127.0.0.1:9001/v1", needs_key: true}
routes:
  fast:
    strategy: weighted
    targets: [groq/llama-3.3-70b-versatile, {model: openai/gpt-5.4-mini, weight: 3}]
    timeouts: {connect: 5, first_byte: 60.5}
aliases:
  big: bigger
  bigger: fast
unknown_price: allow
tenants:
  a: {budgets: [5/day, 0.5], teams: {t: {rpm: 5, budgets: [1/month/soft]}}}
"""
SIGNS = [
    "\n",
    "\n  ",
    "- ",
    ": ",
    ", ",
    "[",
    "]",
    "{",
    "}",
    "&a",
    "*a",
    "!t",
    "'",
    '"',
    "#",
    "? ",
    "---",
    "...",
    "%",
]
PIECES = [*EXAMPLE.split(), *SIGNS, "\\", "\t", "|", "0", "-1", "true", "<<", "\u0085", "\u2028", "\ud800"]
SEVERAL = st.lists(st.sampled_from(PIECES))


def outcome(text: str) -> ConfigView | None:
    try:
        return parse(text, "keyrail.yaml", BUILTINS)
    except ConfigError as error:
        problems = error.problems
    lines = len(text.splitlines()) + 2
    assert problems
    assert all(1 <= problem.line <= lines for problem in problems)
    assert all(problem.message.isprintable() for problem in problems)
    return None


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters()) | SEVERAL.map(" ".join) | SEVERAL.map("".join))
def test_any_text_at_all_is_a_view_or_a_list_of_problems(text: str) -> None:
    outcome(text)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 12), st.sampled_from([*PIECES, ""]))
def test_a_damaged_example_is_a_view_or_a_list_of_problems(at: int, cut: int, inserted: str) -> None:
    outcome(EXAMPLE[:at] + inserted + EXAMPLE[at + cut :])


NAMES = st.sampled_from(["a", "b", "fast", "openai", "mine", "A", "x/y", ""])
TARGETS = st.sampled_from(["openai/x", "mine/y", "zzz/x", "a", "b", "fast", "", 5, None, {}])
WEIGHED = st.fixed_dictionaries({"model": TARGETS}, optional={"weight": st.integers(-1, 2)})
VALUES = TARGETS | st.lists(TARGETS | WEIGHED, max_size=3)
PROVIDERS = st.fixed_dictionaries({}, optional={"base_url": st.sampled_from(["http://x", "x", None])})
STRATEGIES = st.sampled_from(["fallback", "weighted", "x", None])
ROUTES = st.fixed_dictionaries({"targets": VALUES}, optional={"strategy": STRATEGIES, "timeouts": VALUES})
BUDGETS = st.lists(st.sampled_from([5, "5/day", "1/soft", 0, "x", None]), max_size=3)
LIMITS = {"rpm": st.integers(0, 2), "concurrent": st.sampled_from([1, "x", None])}
TEAMS = st.dictionaries(
    NAMES, st.fixed_dictionaries({}, optional=LIMITS | {"budgets": BUDGETS}) | VALUES, max_size=2
)
TENANTS = st.fixed_dictionaries({}, optional={"budgets": BUDGETS, "teams": TEAMS})
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "providers": st.dictionaries(NAMES, PROVIDERS | VALUES, max_size=2),
        "routes": st.dictionaries(NAMES, ROUTES | VALUES, max_size=2),
        "aliases": st.dictionaries(NAMES, VALUES, max_size=3),
        "tenants": st.dictionaries(NAMES, TENANTS | VALUES, max_size=2),
    },
)
GOOD_TARGETS = st.sampled_from(["openai/x", "groq/y", "mine/z", {"model": "mine/v", "weight": 2}])
GOOD_DOCUMENTS = st.fixed_dictionaries(
    {
        "providers": st.just({"mine": {"base_url": "http://x"}}),
        "routes": st.dictionaries(
            st.sampled_from(["r", "s", "gpt-4.1"]),
            st.fixed_dictionaries(
                {"strategy": STRATEGIES.filter({"fallback", "weighted"}.__contains__)}
                | {"targets": st.lists(GOOD_TARGETS, min_size=1, max_size=4)}
            ),
        ),
        "aliases": st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["openai/x", "A", "B", "C", "r"])),
    }
)


def assert_complete(view: ConfigView, document: dict[str, Any]) -> None:
    assert view.providers.keys() == BUILTINS.keys() | (document.get("providers") or {}).keys()
    assert view.routes.keys() == document.get("routes", {}).keys()
    assert view.aliases.keys() == document.get("aliases", {}).keys()
    for name, tenant in (document.get("tenants") or {}).items():
        assert len(view.tenants[name].budgets) == len((tenant or {}).get("budgets", ()))
        assert view.tenants[name].teams.keys() == ((tenant or {}).get("teams") or {}).keys()
    for name, route in view.routes.items():
        assert len(route.targets) == len(document["routes"][name]["targets"])
        assert all(item.target.provider in view.providers for item in route.targets)
    assert all("/" in end or end in view.routes for end in view.aliases.values())


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
def test_nothing_that_was_written_is_missing_from_a_view(document: dict[str, Any]) -> None:
    view = outcome(json.dumps(document, indent=1))
    if view is not None:
        assert_complete(view, document)


@settings(max_examples=200, deadline=None)
@given(GOOD_DOCUMENTS)
def test_a_document_without_mistakes_is_a_view_unless_its_aliases_lead_nowhere(
    document: dict[str, Any],
) -> None:
    view = outcome(json.dumps(document, indent=1))
    if view is None:
        assert any(len(end) == 1 for end in document["aliases"].values())
    else:
        assert_complete(view, document)
