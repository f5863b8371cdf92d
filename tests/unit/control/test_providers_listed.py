"""What is said of each provider."""

from __future__ import annotations

from keyrail.config import document
from keyrail.keys.base import KeyName
from keyrail.providers import registry
from keyrail_control.providers import Row, rows

CONFIG = """\
providers:
  sandbox: {base_url: "http://127.0.0.1:9/v1"}
  my-vllm:
    base_url: "http://10.0.0.5:8000/v1"
    prices: {"*": {input: 0.1, output: 0.2}}
  inside: {base_url: "http://10.0.0.6", dialect: anthropic-messages, auth: x-api-key}
"""
VIEW = document.parse(CONFIG, "keyrail.yaml", registry.configs())
STORED = [KeyName("default", "openai", "b"), KeyName("default", "openai", "a"), KeyName("other", "groq", "x")]


def listed() -> dict[str, Row]:
    return {str(row["provider"]): row for row in rows(VIEW, registry.load(), STORED, "default")}


def test_each_provider_says_whether_it_can_be_called() -> None:
    found = listed()
    assert list(found) == sorted(found) == sorted(VIEW.providers)
    assert (found["openai"]["key"], found["openai"]["keys"]) == ("yes", ["a", "b"])
    assert (found["groq"]["key"], found["groq"]["keys"]) == ("missing", [])
    assert found["my-vllm"]["key"] == found["sandbox"]["key"] == "not needed"
    assert found["inside"]["key"] == "missing"


def test_each_provider_says_what_it_supports() -> None:
    found = listed()
    assert found["openai"]["native"] == ["openai-chat", "openai-responses", "openai-embeddings"]
    assert found["anthropic"]["faces"] == ["chat", "responses", "messages", "count_tokens"]
    assert found["gemini"]["faces"] == ["chat", "responses", "messages", "count_tokens", "embeddings"]
    assert found["openrouter"]["prices"] == ["provider", "catalogue"]
    assert found["deepinfra"]["prices"] == ["provider"]
    assert found["my-vllm"]["prices"] == ["configured"]
    assert found["inside"]["prices"] == []
    assert found["sandbox"]["prices"] == ["sandbox"]
