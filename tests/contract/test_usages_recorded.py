"""Usage objects that providers sent: each is read, its counts add up, and costs what the catalogue says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keyrail.contracts.usage import Usage
from keyrail.dialects.anthropic_messages.usage import usage_of as anthropic
from keyrail.dialects.gemini_generate.usage import usage_of as gemini
from keyrail.dialects.openai_chat.usage import usage_of as chat
from keyrail.dialects.openai_responses.usage import usage_of as responses
from keyrail.pricing.cost import listed

RECORDED = Path(__file__).parents[2] / "../shared/data/pricing/usages.json"
AT = 1_762_430_400_000  # 2025-11-06T12:00Z, when the recorded prices were worked out

pytestmark = pytest.mark.skipif(
    not RECORDED.exists(), reason=f"recorded usage objects are not here: {RECORDED}"
)

Reader = Callable[[object], Usage]
Source = tuple[str, str, str]  # provider here, provider there, the flavour of its reader there
GEMINI = ("gemini", "google", "default")
ANTHROPIC = ("anthropic", "anthropic", "default")
OPENAI = ("openai", "openai", "chat")
EMBEDDINGS = ("openai", "openai", "embeddings")
RESPONSES = ("openai", "openai", "responses")
GROQ = ("groq", "groq", "default")
MISTRAL = ("mistral", "mistral", "default")
CEREBRAS = ("cerebras", "cerebras", "chat")
OPENROUTER = ("openrouter", "openrouter", "chat")
NOT_OURS = "a provider whose dialect nobody speaks here (Bedrock, Cohere)"
DECLARED = "chat, of a provider that is not built in: which the library prices is not said"

COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "input_audio_tokens": "audio_input_tokens",
    "output_audio_tokens": "audio_output_tokens",
    "web_searches": "searches",
}

# Model and what it should cost instead of what was recorded, with the reason. All others are equal.
OTHER_PRICES: dict[tuple[str, str], str] = {
    ("openai", "gpt-4o-audio-preview-2024-12-17"): "sound has its own rate: the library counts it as text",
    ("mistral", "mistral-medium-latest"): "num_cached_tokens: the library does not read them",
    ("mistral", "ministral-8b-latest"): "the catalogue's rate was corrected after the recording",
    ("cerebras", "zai-glm-4.7"): "the catalogue had no price when it was recorded",
    ("cerebras", "qwen-3-coder-480b"): "the catalogue has no rates: unknown, where the library says 0",
    ("openrouter", "openai/gpt-5-mini-2025-08-07"): "the catalogue had no price when it was recorded",
}


def rows() -> list[dict[str, Any]]:
    return json.loads(RECORDED.read_text())


def usage_in(row: dict[str, Any]) -> dict[str, Any]:
    body = row["body"]
    return body.get("usage") or body.get("usageMetadata") or body["meta"]


def origin(row: dict[str, Any]) -> tuple[Reader | None, Source | str]:
    """Who sent it, by its own words, its file and its model."""
    usage, file, model = usage_in(row), row["body"]["file"], row.get("model", "")
    if "usageMetadata" in row["body"]:
        return gemini, GEMINI
    if "prompt_tokens" in usage:
        return chat, _of_chat(usage, file, model)
    if "input_tokens" in usage:
        return (responses, RESPONSES) if "total_tokens" in usage else (anthropic, ANTHROPIC)
    return None, NOT_OURS


def _of_chat(usage: dict[str, Any], file: str, model: str) -> Source | str:
    if "queue_time" in usage:
        return GROQ
    if "openrouter" in file or "cost" in usage:
        return OPENROUTER
    if "mistral" in file or "num_cached_tokens" in usage or "magistral" in model:
        return MISTRAL
    if "cerebras" in file:
        return CEREBRAS
    if model.startswith("text-embedding"):
        return EMBEDDINGS
    return OPENAI if model.startswith(("gpt-4", "gpt-5", "o1", "o3")) else DECLARED


def read(row: dict[str, Any]) -> tuple[Usage, Source | str]:
    reader, source = origin(row)
    assert reader is not None
    usage = reader(usage_in(row))
    return (usage.replace(output_tokens=0) if source == EMBEDDINGS else usage), source


def recorded(row: dict[str, Any], source: Source) -> tuple[dict[str, int], Decimal | None]:
    """What the library's reader for this provider made of it, and the price that it gave."""
    for found in row["extracted"]:
        for entry in found["extractors"]:
            if (entry["provider_id"], entry["api_flavor"]) == source[1:]:
                if "input_price" not in entry:
                    return found["usage"], None
                parts = Decimal(entry["input_price"]) + Decimal(entry["output_price"])
                return found["usage"], Decimal(entry["total_price"]) if "total_price" in entry else parts
    raise AssertionError(row)


def test_each_object_is_read_and_its_counts_add_up() -> None:
    seen: Counter[str] = Counter()
    for row in rows():
        reader, source = origin(row)
        seen[source if isinstance(source, str) else source[0]] += 1
        if reader is None:
            for each in (chat, responses, anthropic, gemini):
                assert each(usage_in(row)).output_tokens is None, row  # nothing is made up
            continue
        usage, _ = read(row)
        assert usage.input_tokens is not None, row
        assert usage.output_tokens is not None or row["body"]["file"].startswith("cassettes/test_embed"), row
        cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
        assert cached <= usage.input_tokens, row
        assert (usage.cache_write_1h_tokens or 0) <= (usage.cache_write_tokens or 0), row
        assert (usage.audio_input_tokens or 0) <= usage.input_tokens, row
        spoken = (usage.reasoning_tokens or 0) + (usage.audio_output_tokens or 0)
        assert spoken <= (usage.output_tokens or 0), row
        total = usage_in(row).get("total_tokens") or usage_in(row).get("totalTokenCount")
        if total is not None and source not in (NOT_OURS, DECLARED):
            assert total == usage.input_tokens + (usage.output_tokens or 0), row
    assert sum(seen.values()) == 1_018
    assert seen == {
        "openai": 285,
        "gemini": 304,
        "anthropic": 128,
        "groq": 48,
        "mistral": 41,
        "openrouter": 32,
        "cerebras": 7,
        DECLARED: 18,
        NOT_OURS: 155,
    }


def test_counts_are_those_of_the_librarys_own_readers() -> None:
    compared = 0
    for row in rows():
        _, source = origin(row)
        if isinstance(source, str):
            continue
        usage, _ = read(row)
        theirs, _ = recorded(row, source)
        ours = {name: getattr(usage, field) or 0 for name, field in COUNTS.items()}
        if source == MISTRAL and (older := usage_in(row).get("num_cached_tokens")):
            assert ours.pop("cache_read_tokens") == older  # which the library does not read
        assert ours == {name: theirs.get(name, 0) for name in ours}, row
        compared += 1
    assert compared == 845


def test_prices_are_the_librarys_own_or_differ_for_a_reason() -> None:
    equal: Counter[str] = Counter()
    other: Counter[tuple[str, str]] = Counter()
    for row in rows():
        _, source = origin(row)
        if isinstance(source, str) or "model" not in row:
            continue
        usage, _ = read(row)
        theirs = recorded(row, source)[1]
        ours = listed(source[0], row["model"], usage, AT, None)
        if (None if ours is None else ours.cost) == theirs:
            equal[source[0]] += 1
        else:
            assert (source[0], row["model"]) in OTHER_PRICES, (row, ours)
            other[source[0], row["model"]] += 1
    assert equal == {
        "anthropic": 128,
        "gemini": 297,
        "openai": 279,
        "groq": 48,
        "mistral": 24,
        "openrouter": 30,
        "cerebras": 4,
    }
    assert other.keys() == OTHER_PRICES.keys()
    assert other.total() == 24


@pytest.mark.parametrize(
    ("provider", "model", "counts", "cost"),
    [
        # 69 of 81 are sound: 12 x 2.5 + 69 x 40 + 72 x 10
        ("openai", "gpt-4o-audio-preview-2024-12-17", (81, 72, 0, 69), "0.00351"),
        # 20 x 2.5 + 44 x 40 + 9 x 10
        ("openai", "gpt-4o-audio-preview-2024-12-17", (64, 9, 0, 44), "0.0019"),
        # (254 - 48) x 0.4 + 48 x 0.04 + 99 x 2
        ("mistral", "mistral-medium-latest", (254, 99, 48, None), "0.00028232"),
        ("mistral", "ministral-8b-latest", (28, 6, None, None), "0.0000034"),  # 34 x 0.1
        ("cerebras", "zai-glm-4.7", (17, 415, 0, None), "0.0011795"),  # 17 x 2.25 + 415 x 2.75
        ("openrouter", "openai/gpt-5-mini-2025-08-07", (37, 92, 0, 0), "0.00019325"),  # what was billed
    ],
)
def test_what_differs_is_what_it_costs_by_hand(
    provider: str, model: str, counts: tuple[int | None, ...], cost: str
) -> None:
    matching = [
        found.cost
        for row in rows()
        if row.get("model") == model
        and origin(row)[1][0] == provider
        and (usage := read(row)[0])
        and (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.audio_input_tokens)
        == counts
        and (found := listed(provider, model, usage, AT, None)) is not None
    ]
    assert matching
    assert set(matching) == {Decimal(cost)}
