"""keyrail.yaml in, a ConfigView or a list of problems out."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import yaml

from keyrail.config import tree
from keyrail.config.document import parse
from keyrail.config.problems import ConfigError, Problem
from keyrail.contracts.config import ConfigView, ProviderConfig, RouteConfig, WeightedTarget
from keyrail.contracts.slips import Target, Timeouts

BUILTINS = {
    "openai": ProviderConfig(name="openai", base_url="https://api.openai.com/v1"),
    "groq": ProviderConfig(name="groq", base_url="https://api.groq.com/openai/v1"),
    "sandbox": ProviderConfig(name="sandbox", base_url="http://127.0.0.1:9009/v1", needs_key=False),
}

EXAMPLE = """\
providers:
  openai: {base_url: "http://127.0.0.1:9001/v1"}
  local: {dialect: openai-chat, base_url: "http://127.0.0.1:8000/v1"}
routes:
  fast:
    strategy: fallback
    targets: [groq/llama-3.3-70b-versatile, openai/gpt-5.4-mini]
    timeouts: {connect: 5, first_byte: 60.5, between_chunks: 1e1, total: 600}
  split:
    strategy: weighted
    targets: [{model: openai/gpt-5.4-mini, weight: 3}, {model: local/some-model, weight: 1}]
  only:
    targets: [groq/openai/gpt-oss-120b]
aliases:
  claude-sonnet-5-5: local/some-model
  Big: bigger
  bigger: fast
"""


def view(text: str) -> ConfigView:
    return parse(text, "keyrail.yaml", BUILTINS)


def problems(text: str) -> list[str]:
    """Each problem as `line: message`."""
    with pytest.raises(ConfigError) as caught:
        view(text)
    return [f"{problem.line}: {problem.message}" for problem in caught.value.problems]


def target(provider: str, model: str, weight: int = 1) -> WeightedTarget:
    return WeightedTarget(target=Target(provider=provider, model=model), weight=weight)


def test_an_example_becomes_a_view() -> None:
    assert view(EXAMPLE) == ConfigView(
        revision=0,
        providers={
            "openai": ProviderConfig(name="openai", base_url="http://127.0.0.1:9001/v1"),
            "groq": ProviderConfig(name="groq", base_url="https://api.groq.com/openai/v1"),
            "sandbox": ProviderConfig(name="sandbox", base_url="http://127.0.0.1:9009/v1", needs_key=False),
            "local": ProviderConfig(name="local", base_url="http://127.0.0.1:8000/v1", needs_key=False),
        },
        routes={
            "fast": RouteConfig(
                name="fast",
                strategy="fallback",
                targets=(target("groq", "llama-3.3-70b-versatile"), target("openai", "gpt-5.4-mini")),
                timeouts=Timeouts(connect_s=5, first_byte_s=60.5, between_chunks_s=10, total_s=600),
            ),
            "split": RouteConfig(
                name="split",
                strategy="weighted",
                targets=(target("openai", "gpt-5.4-mini", 3), target("local", "some-model", 1)),
            ),
            "only": RouteConfig(
                name="only", strategy="fallback", targets=(target("groq", "openai/gpt-oss-120b"),)
            ),
        },
        aliases={"claude-sonnet-5-5": "local/some-model", "Big": "fast", "bigger": "fast"},
        models=(
            "fast",
            "split",
            "only",
            "claude-sonnet-5-5",
            "Big",
            "bigger",
            "groq/llama-3.3-70b-versatile",
            "openai/gpt-5.4-mini",
            "local/some-model",
            "groq/openai/gpt-oss-120b",
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "null",
        "{}",
        "\ufeff",
        "providers:\nroutes:\naliases:\n",
        "routes: {}",
    ],
)
def test_an_empty_file_has_the_built_in_providers_and_nothing_else(text: str) -> None:
    got = view(text)
    assert got.providers == BUILTINS
    assert (got.routes, got.aliases, got.models, got.revision) == ({}, {}, (), 0)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("openai:", ("https://api.openai.com/v1", True)),
        ("openai: {needs_key: false}", ("https://api.openai.com/v1", False)),
        ("openai: {base_url: 'http://localhost:1/v1///'}", ("http://localhost:1/v1", True)),
        ("sandbox: {base_url: 'http://[::1]:99'}", ("http://[::1]:99", False)),
        ("sandbox: {needs_key: true}", ("http://127.0.0.1:9009/v1", True)),
        ("mine: {base_url: https://llm.example.com, needs_key: True}", ("https://llm.example.com", True)),
        ("mine: {base_url: https://llm.example.com}", ("https://llm.example.com", False)),
    ],
)
def test_a_provider_is_overridden_or_declared(declared: str, expected: tuple[str, bool]) -> None:
    got = view("providers:\n  " + declared).providers[declared.partition(":")[0]]
    assert (got.base_url, got.needs_key) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("strategy: weighted\n    targets: [{model: openai/a, weight: 0}, openai/b]", [0, 1]),
        ("targets: [{model: openai/a}]", [1]),
        ("strategy: fallback\n    targets:\n    - model: openai/a\n      weight: 7\n    - openai/b", [7, 1]),
    ],
)
def test_weights_default_to_one_and_may_be_zero_beside_others(text: str, expected: list[int]) -> None:
    assert [t.weight for t in view("routes:\n  r:\n    " + text).routes["r"].targets] == expected


@pytest.mark.parametrize("name", ["no", "yes", "on", "1:30", "2026-01-01", "0x10", "null2"])
def test_words_that_older_yaml_turns_into_something_else_stay_names(name: str) -> None:
    assert list(view(f"aliases: {{{name!r}: openai/x, {name}2: openai/{name}}}").aliases) == [
        name,
        f"{name}2",
    ]


PROVIDER_RULE = "a provider's name is 1 to 64 of a-z, 0-9 and -, beginning with a letter or a digit"
ROUTE_RULE = "a route's name is 1 to 64 of a-z, 0-9, ., _ and -, beginning with a letter or a digit"

ONE_PROBLEM: dict[str, tuple[str, str]] = {
    "unknown section": ("route: {}", '1: unknown key "route" (did you mean "routes"?)'),
    "unknown section without a hint": ("\nxyz: 1", '2: unknown key "xyz"'),
    "root is a list": ("- a", "1: must be a mapping, not a list"),
    "root is text": ("hello", "1: must be a mapping, not text"),
    "section is a list": ("routes: [a]", "1: routes: must be a mapping, not a list"),
    "section is a number": ("\nproviders: 5", "2: providers: must be a mapping, not 5"),
    "duplicate section": ("routes:\naliases:\nroutes:", "3: routes: duplicate key (it is on line 1 already)"),
    "duplicate route": (
        "routes:\n  a: {targets: [openai/x]}\n  a: {targets: [openai/y]}",
        "3: routes.a: duplicate key (it is on line 2 already)",
    ),
    "duplicate in a target": (
        "routes: {a: {targets: [{model: openai/x, model: openai/y}]}}",
        "1: routes.a.targets[0].model: duplicate key (it is on line 1 already)",
    ),
    "complex key": ("routes: {[a]: b}", "1: a key must be a single value"),
    "unknown key of a provider": (
        "providers:\n  openai:\n    baseurl: http://x",
        '3: providers.openai: unknown key "baseurl" (did you mean "base_url"?)',
    ),
    "a key in the file": (
        "providers: {openai: {key: sk-canary}}",
        '1: providers.openai: unknown key "key": provider keys go into the key store, never into this file',
    ),
    "provider name with a dot": (
        "providers: {a.b: {base_url: http://x}}",
        "1: providers.a.b: " + PROVIDER_RULE,
    ),
    "provider name with a wildcard": (
        "providers: {'a.>': {base_url: http://x}}",
        '1: providers."a.>": ' + PROVIDER_RULE,
    ),
    "provider without a URL": (
        "providers:\n  grok: {needs_key: true}",
        "2: providers.grok: base_url is missing, and "
        '"grok" is not a built-in provider (did you mean "groq"?)',
    ),
    "provider is text": ("providers: {openai: x}", "1: providers.openai: must be a mapping, not text"),
    "needs_key is text": (
        "providers: {openai: {needs_key: yes}}",
        "1: providers.openai.needs_key: must be true or false, not text",
    ),
    "unknown dialect": (
        "providers: {openai: {dialect: klingon}}",
        '1: providers.openai.dialect: unknown dialect "klingon"; '
        "known: openai-chat, anthropic-messages, gemini-generate, openai-responses",
    ),
    "empty dialect": (
        "providers: {openai: {dialect: }}",
        "1: providers.openai.dialect: must be text, not empty",
    ),
    "route without targets": ("routes:\n\n  a: {strategy: fallback}", "3: routes.a: targets is missing"),
    "route is empty": ("routes:\n  a:", "2: routes.a: targets is missing"),
    "route is a list": ("routes:\n  a: [openai/x]", "2: routes.a: must be a mapping, not a list"),
    "no targets": ("routes: {a: {targets: []}}", "1: routes.a.targets: is empty: a route needs a target"),
    "targets is text": ("routes: {a: {targets: openai/x}}", "1: routes.a.targets: must be a list, not text"),
    "target is a number": ("routes: {a: {targets: [5]}}", "1: routes.a.targets[0]: must be text, not 5"),
    "target is empty": ("routes: {a: {targets: ['']}}", "1: routes.a.targets[0]: must be text, not empty"),
    "target is a list": (
        "routes: {a: {targets: [[openai/x]]}}",
        "1: routes.a.targets[0]: must be a mapping, not a list",
    ),
    "target is an empty mapping": (
        "routes: {a: {targets: [{}]}}",
        "1: routes.a.targets[0]: model is missing",
    ),
    "target without a model": (
        "routes: {a: {targets: [{weight: 1}]}}",
        "1: routes.a.targets[0]: model is missing",
    ),
    "target without a provider": (
        "routes: {a: {targets: [gpt-5.4-mini]}}",
        '1: routes.a.targets[0]: "gpt-5.4-mini" has no provider: write provider/model',
    ),
    "unknown provider": (
        "routes:\n  fast:\n    targets:\n    - grok/x",
        '4: routes.fast.targets[0]: unknown provider "grok" (did you mean "groq"?)',
    ),
    "target with no name of a model": (
        "routes: {a: {targets: [openai/]}}",
        "1: routes.a.targets[0]: a model's name is 1 to 200 characters without blanks",
    ),
    "model with a blank": (
        "routes: {a: {targets: ['openai/a b']}}",
        "1: routes.a.targets[0]: a model's name is 1 to 200 characters without blanks",
    ),
    "unknown strategy": (
        "routes: {a: {strategy: weigted, targets: [openai/x]}}",
        '1: routes.a.strategy: unknown strategy "weigted" (did you mean "weighted"?); '
        "known: fallback, weighted, cheapest, fastest, smart, race",
    ),
    "strategy that only requests have": (
        "routes: {a: {strategy: direct, targets: [openai/x]}}",
        '1: routes.a.strategy: unknown strategy "direct"; '
        "known: fallback, weighted, cheapest, fastest, smart, race",
    ),
    "strategy is empty": (
        "routes: {a: {strategy: , targets: [openai/x]}}",
        "1: routes.a.strategy: must be text, not empty",
    ),
    "strategy is missing": (
        "routes: {a: {targets: [openai/x, openai/y]}}",
        "1: routes.a: strategy is missing; known: fallback, weighted, cheapest, fastest, smart, race",
    ),
    "all weights are zero": (
        "routes:\n  a:\n    strategy: weighted\n    targets: [{model: openai/x, weight: 0}]",
        "4: routes.a.targets: at least one weight must be above 0",
    ),
    "route named like a provider": (
        "routes: {openai: {targets: [openai/x]}}",
        "1: routes.openai: a provider has this name",
    ),
    "route named like a declared provider": (
        "providers: {mine: {base_url: http://x}}\nroutes: {mine: {targets: [openai/x]}}",
        "2: routes.mine: a provider has this name",
    ),
    "route with a slash": (
        "routes: {a/b: {targets: [openai/x]}}",
        '1: routes."a/b": a route\'s name has no /: that is how provider/model is told from a route',
    ),
    "route in capitals": (
        "routes: {Fast: {targets: [openai/x]}}",
        "1: routes.Fast: " + ROUTE_RULE,
    ),
    "unknown timeout": (
        "routes: {a: {targets: [openai/x], timeouts: {conect: 5}}}",
        '1: routes.a.timeouts: unknown key "conect" (did you mean "connect"?)',
    ),
    "alias of nothing": (
        "routes: {fast: {targets: [openai/x]}}\naliases:\n  a: fats",
        '3: aliases.a: unknown target "fats": no route or alias has this name (did you mean "fast"?)',
    ),
    "alias of an unknown provider": ("aliases: {a: zzz/x}", '1: aliases.a: unknown provider "zzz"'),
    "alias of a provider": (
        "aliases: {a: openai}",
        '1: aliases.a: unknown target "openai": no route or alias has this name',
    ),
    "alias is a list": ("aliases: {a: [openai/x]}", "1: aliases.a: must be text, not a list"),
    "alias with a slash": (
        "aliases: {a/b: openai/x}",
        '1: aliases."a/b": an alias is a bare name of 1 to 128 letters, digits, ., _, :, @ and -',
    ),
    "alias named like a route": (
        "routes: {a: {targets: [openai/x]}}\naliases: {a: openai/y}",
        "2: aliases.a: a route has this name",
    ),
    "alias named like a provider": ("aliases: {groq: openai/y}", "1: aliases.groq: a provider has this name"),
    "alias of itself": ("aliases: {a: a}", "1: aliases.a: goes in a circle: a -> a"),
    "aliases in a circle": (
        "aliases:\n  x: a\n  a: b\n  b: c\n  c: a\n  y: b",
        "3: aliases.a: goes in a circle: a -> b -> c -> a",
    ),
    "anchor": ("routes: &r {}", "1: anchors (&name) are not supported"),
    "tag": ("aliases: {a: !!str openai/x}", "1: tags (!name) are not supported"),
    "code in a tag": ("aliases: {a: !!python/name:os.system openai/x}", "1: tags (!name) are not supported"),
    "second document": (
        "routes: {}\n---\nroutes: {}",
        "2: a second document begins here: there can be one only",
    ),
    "unreadable character": ("routes: {}\n# \x07", "2: the character U+0007 is not allowed in YAML"),
    "lone surrogate": ("\n\n\ud800", "3: the character U+D800 is not allowed in YAML"),
    "merge key": ("routes: {a: {<<: {}, targets: [openai/x]}}", '1: routes.a: unknown key "<<"'),
}


@pytest.mark.parametrize("case", ONE_PROBLEM)
def test_a_mistake_is_one_problem_with_its_line(case: str) -> None:
    text, expected = ONE_PROBLEM[case]
    assert problems(text) == [expected]


@pytest.mark.parametrize(
    "bad", ["0", "-1", "true", "abc", "'5'", ".inf", ".nan", "1e999", "86401", "[5]", ""]
)
def test_timeouts_are_seconds_above_zero(bad: str) -> None:
    (problem,) = problems(f"routes: {{a: {{targets: [openai/x], timeouts: {{total: {bad}}}}}}}")
    assert problem.startswith(
        "1: routes.a.timeouts.total: must be a duration such as 300ms, 30s or 10m, "
        "above 0 and up to 86400s, not "
    )


@pytest.mark.parametrize("bad", ["-1", "1.5", "1.0", "true", "'3'", "1e3", "1000001", "9" * 5000, "", "[1]"])
def test_weights_are_whole_numbers(bad: str) -> None:
    (problem,) = problems(f"routes: {{a: {{targets: [{{model: openai/x, weight: {bad}}}]}}}}")
    assert problem.startswith("1: routes.a.targets[0].weight: must be a whole number from 0 to 1000000, not ")


BAD_URLS: dict[str, str] = {
    "ftp://x": "must begin with http:// or https://",
    "api.openai.com/v1": "must begin with http:// or https://",
    "HTTP://x": "must begin with http:// or https://",
    "file:///etc/passwd": "must begin with http:// or https://",
    "http://canary@x/v1": "must not carry a user name or password",
    "http://user:canary@x": "must not carry a user name or password",
    "http://x/v1?key=canary": "must not carry a query or a fragment",
    "http://x/v1?": "must not carry a query or a fragment",
    "http://x#canary": "must not carry a query or a fragment",
    "http://": "is not a URL of the form https://host:port/path",
    "http:///v1": "is not a URL of the form https://host:port/path",
    "http://a b": "is not a URL of the form https://host:port/path",
    "http://x/\\t": "is not a URL of the form https://host:port/path",
    "http://x\\\\y": "is not a URL of the form https://host:port/path",
    "http://x:port": "is not a URL of the form https://host:port/path",
    "http://x:0": "has a port that does not exist",
    "http://x:65536": "has a host or port that does not exist",
    "http://[::zz]": "is not a URL of the form https://host:port/path",
    "http://[1:2]": "has a host or port that does not exist",
    "https://x/v1/chat/completions": "must end before /chat/completions",
    "https://x/v1/chat/completions/": "must end before /chat/completions",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_base_url_is_plain_http_and_problems_do_not_repeat_it(url: str) -> None:
    assert problems(f'providers: {{openai: {{base_url: "{url}"}}}}') == [
        f"1: providers.openai.base_url: {BAD_URLS[url]}"
    ]


@pytest.mark.parametrize(
    "text", ["a: [", "a: b: c", "\ta", '"\\U00110000"', "a: 'x", "- a\nb: c", "%YAML 9.9\n--- a"]
)
@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader])
def test_what_is_no_yaml_is_a_problem_with_either_parser(
    text: str, loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_LOADER", loader)
    (problem,) = problems(text)
    assert "not valid YAML: " in problem


def test_invalid_yaml_is_explained_with_both_lines() -> None:
    assert problems("routes:\n  a: [openai/x,\n\naliases: {}\n") == [
        "5: not valid YAML: did not find expected ',' or ']'"
        " (while parsing a flow sequence that begins on line 2)"
    ]


def test_all_problems_are_found_at_once_in_the_order_of_their_lines() -> None:
    text = (
        EXAMPLE.replace("groq/llama", "grok/llama")
        .replace("connect: 5", "conect: 5, total: 0")
        .replace("strategy: weighted", "stratgy: weighted")
        .replace("bigger: fast", "bigger: Big")
        .replace("http://127.0.0.1:9001", "http://me@127.0.0.1:9001")
    )
    with pytest.raises(ConfigError) as caught:
        view(text.replace(", total: 600", ""))
    assert str(caught.value) == "\n".join(
        [
            "keyrail.yaml:2: providers.openai.base_url: must not carry a user name or password",
            'keyrail.yaml:7: routes.fast.targets[0]: unknown provider "grok" (did you mean "groq"?)',
            'keyrail.yaml:8: routes.fast.timeouts: unknown key "conect" (did you mean "connect"?)',
            "keyrail.yaml:8: routes.fast.timeouts.total: must be a duration such as 300ms, 30s or 10m, "
            "above 0 and up to 86400s, not 0",
            "keyrail.yaml:9: routes.split: strategy is missing; "
            "known: fallback, weighted, cheapest, fastest, smart, race",
            'keyrail.yaml:10: routes.split: unknown key "stratgy" (did you mean "strategy"?)',
            "keyrail.yaml:16: aliases.Big: goes in a circle: Big -> bigger -> Big",
        ]
    )


def test_a_wrong_target_does_not_hide_that_the_strategy_is_missing() -> None:
    assert problems("routes:\n  a:\n    targets: [openai/x, y]") == [
        "2: routes.a: strategy is missing; known: fallback, weighted, cheapest, fastest, smart, race",
        '3: routes.a.targets[1]: "y" has no provider: write provider/model',
    ]


def test_anchors_are_reported_beside_other_problems() -> None:
    text = "providers:\n  openai: &o {base_url: http://x}\n  groq: *o\nroutes: {a: {targets: [zzz/x]}}"
    assert problems(text) == [
        "2: anchors (&name) are not supported",
        "3: aliases (*name) are not supported",
        '4: routes.a.targets[0]: unknown provider "zzz"',
    ]


def test_a_thousand_laughs_stay_one_short_report() -> None:
    laughs = "a: &a [x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
    )
    found = problems(laughs)
    assert sum("anchors" in problem for problem in found) == 21
    assert sum("aliases (" in problem for problem in found) == 180


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000])
def test_deep_nesting_is_refused_early(text: str) -> None:
    assert problems(text) == ["1: nested deeper than 16 levels"]


@pytest.mark.parametrize("character", ["#", "\u00e9", "\U0001f600", "\ud800"])
def test_a_file_over_one_mebibyte_is_refused_unread(character: str) -> None:
    size = len(character.encode("utf-8", "surrogatepass"))
    assert problems(character * (1024 * 1024 // size + 1)) == ["1: the file is larger than 1048576 bytes"]


def test_a_file_of_one_mebibyte_is_read() -> None:
    assert view("#" * (1024 * 1024)).routes == {}


def test_long_names_are_shortened_and_control_characters_escaped() -> None:
    (problem,) = problems('"x\\n\\e[2J' + "y" * 500 + '": 1')
    assert len(problem) < 150
    assert problem.isprintable()


def test_a_config_error_survives_pickling() -> None:
    error = ConfigError("f.yaml", [Problem(3, "routes: bad")])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.problems) == ("f.yaml:3: routes: bad", error.problems)


def test_a_view_survives_its_way_over_the_bus() -> None:
    got = view(EXAMPLE)
    assert ConfigView.decode(got.encode()) == got
