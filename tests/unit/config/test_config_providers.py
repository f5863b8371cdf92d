"""Providers declared without code, and overrides of built-in ones."""

from __future__ import annotations

from decimal import Decimal

import pytest

from keyrail.config.document import parse
from keyrail.config.problems import ConfigError
from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.contracts.quirks import Quirks
from keyrail.providers import registry

DECLARED = """\
providers:
  my-vllm:
    base_url: "http://10.0.0.5:8000/v1/"
    dialect: openai-chat
    speaks: [openai-embeddings, openai-responses]
    auth: api-key
    quirks:
      allow: [model, messages, stream, max_tokens]
      drop: [user]
      rename: {max_completion_tokens: max_tokens}
      roles: {developer: system}
      drop_in_messages: [name]
      send_stream_options: false
      drop_message_nulls: true
      thoughts: reasoning_content
      takes: [cache_control]
      text_results: true
      short_call_ids: true
    prices:
      llama-70b: {input: 0.1, output: 0.30, cache_read: 1e-2}
      "*": {input: 1, output: 2}
"""


def view(text: str) -> dict[str, ProviderConfig]:
    return parse(text, "keyrail.yaml", registry.configs()).providers


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        view(text)
    return [f"{problem.line}: {problem.message}" for problem in caught.value.problems]


def test_a_provider_is_declared_without_code() -> None:
    assert view(DECLARED)["my-vllm"] == ProviderConfig(
        name="my-vllm",
        base_url="http://10.0.0.5:8000/v1",
        speaks=("openai-embeddings", "openai-responses"),
        needs_key=True,
        auth="api-key",
        quirks=Quirks(
            allow=("model", "messages", "stream", "max_tokens"),
            drop=("user",),
            rename={"max_completion_tokens": "max_tokens"},
            roles={"developer": "system"},
            drop_in_messages=("name",),
            send_stream_options=False,
            drop_message_nulls=True,
            thoughts="reasoning_content",
            takes=("cache_control",),
            text_results=True,
            short_call_ids=True,
        ),
        prices={
            "llama-70b": ModelPrice(input=Decimal("0.1"), output=Decimal("0.30"), cache_read=Decimal("0.01")),
            "*": ModelPrice(input=Decimal(1), output=Decimal(2)),
        },
    )


def test_what_is_not_said_of_a_built_in_provider_stays() -> None:
    anthropic = view('providers: {anthropic: {base_url: "http://127.0.0.1:1"}}')["anthropic"]
    assert anthropic == registry.configs()["anthropic"].replace(base_url="http://127.0.0.1:1")
    assert (anthropic.dialect, anthropic.auth, anthropic.needs_key) == (
        "anthropic-messages",
        "x-api-key",
        True,
    )


def test_another_dialect_speaks_nothing_else_unless_it_says_so() -> None:
    moved = view('providers: {openai: {base_url: "http://x", dialect: gemini-generate}}')["openai"]
    assert (moved.dialect, moved.speaks) == ("gemini-generate", ())


def test_a_provider_without_auth_needs_no_key() -> None:
    keyless = 'a: {base_url: "http://x", auth: none}'
    declared = view(f'providers: {{{keyless}, b: {{base_url: "http://x", auth: bearer}}}}')
    assert (declared["a"].needs_key, declared["b"].needs_key) == (False, True)


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("dialect: openai-embeddings", 'unknown dialect "openai-embeddings"'),
        ("speaks: [klingon]", 'unknown dialect "klingon"'),
        ("auth: basic", 'unknown auth style "basic"'),
        ("quirks: {alow: [a]}", 'unknown key "alow" (did you mean "allow"?)'),
        ('quirks: {drop: ["a b"]}', "is not the name of a field"),
        ("quirks: {thoughts: loud}", 'unknown field "loud"'),
        ("prices: {m: {input: 1}}", "output is missing: US dollars per million tokens"),
        ("prices: {m: {input: -1, output: 1}}", "must be US dollars per million tokens"),
        ('prices: {m: {input: "1", output: 1}}', "must be US dollars per million tokens"),
        ("prices: {m: {input: .inf, output: 1}}", "must be US dollars per million tokens"),
        ("prices: {m: {in: 1, output: 1}}", 'unknown key "in"'),
        ("api_key: sk-1", "provider keys go into the key store"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(field: str, problem: str) -> None:
    found = problems(f'providers:\n  a:\n    base_url: "http://x"\n    {field}\n')
    assert found[0].startswith("4: ")
    assert problem in found[0]


@pytest.mark.parametrize("end", ["/chat/completions", "/v1/messages", "/models/", "/responses"])
def test_a_base_url_that_goes_too_far_is_refused(end: str) -> None:
    assert "must end before" in problems(f'providers: {{a: {{base_url: "http://x{end}"}}}}')[0]
