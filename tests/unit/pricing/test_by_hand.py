"""Prices worked out by hand from the providers' rules: tokens times US dollars per million, nothing else.

Each usage is an object as the provider sends it, read by the reader of its dialect.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.contracts.usage import Usage
from keyrail.dialects.anthropic_messages.usage import usage_of as messages
from keyrail.dialects.gemini_generate.usage import usage_of as gemini
from keyrail.dialects.openai_chat.usage import usage_of as openai_chat
from keyrail.dialects.openai_responses.usage import usage_of as openai_responses
from keyrail.pricing import catalogue
from keyrail.pricing.cost import price

LIST = catalogue.VERSION
OURS = f"{LIST}+k1"


def at(moment: str) -> int:
    return int(datetime.fromisoformat(moment + "+00:00").timestamp() * 1_000)


NOW = at("2026-11-23T12:00:00")
BEFORE_OUR_DATA = at("2026-03-01T00:00:00")  # the catalogue knows tiers and batches since October 2026


def chat(input_: int, output: int, tier: str | None = None, **more: Any) -> Usage:
    return openai_chat(
        {"prompt_tokens": input_, "completion_tokens": output, "total_tokens": input_ + output, **more},
        served_tier=tier,
    )


def responses(input_: int, output: int, tier: str | None = None, tools: object = None, **more: Any) -> Usage:
    usage = {"input_tokens": input_, "output_tokens": output, "total_tokens": input_ + output, **more}
    return openai_responses(usage, served_tier=tier, tools=tools)


def claude(input_: int, output: int, read: int = 0, **more: Any) -> Usage:
    usage = {"input_tokens": input_, "output_tokens": output, "cache_read_input_tokens": read}
    return messages({"service_tier": "standard", "inference_geo": "global", **usage, **more})


def goog(prompt: int, output: int, **more: Any) -> Usage:
    total = prompt + output + more.get("thoughtsTokenCount", 0) + more.get("toolUsePromptTokenCount", 0)
    return gemini(
        {"promptTokenCount": prompt, "candidatesTokenCount": output, "totalTokenCount": total, **more}
    )


def cached(tokens: int) -> dict[str, Any]:
    return {"prompt_tokens_details": {"cached_tokens": tokens}}


def written(read: int, total: int, **kept: int) -> dict[str, Any]:
    details = {"cached_tokens": read, "cache_write_tokens": total, "cache_write_tokens_details": kept}
    return {"input_tokens_details": details}


def heard(input_: int, output: int) -> dict[str, Any]:
    return {
        "prompt_tokens_details": {"audio_tokens": input_},
        "completion_tokens_details": {"audio_tokens": output},
    }


def split(five_minutes: int, hour: int) -> dict[str, Any]:
    return {
        "cache_creation_input_tokens": five_minutes + hour,
        "cache_creation": {
            "ephemeral_5m_input_tokens": five_minutes,
            "ephemeral_1h_input_tokens": hour,
        },
    }


def by_kind(**tokens: int) -> list[dict[str, Any]]:
    return [{"modality": kind, "tokenCount": number} for kind, number in tokens.items()]


Line = tuple[int, str]


def usd(*lines: Line) -> Decimal:
    """Tokens times a rate per million, summed up."""
    return sum((number * Decimal(rate) for number, rate in lines), Decimal(0)) / 1_000_000


Case = tuple[str, str, str, Usage, Decimal, str]
SEARCHES = {"web_search": {"num_requests": 3}}

OPENAI: list[Case] = [
    ("plain", "openai", "gpt-6-sol", chat(1_000, 50), usd((1_000, "2"), (50, "10")), LIST),
    (
        "reasoning is in the output",
        "openai",
        "gpt-6-sol",
        chat(1_000, 200, completion_tokens_details={"reasoning_tokens": 150}),
        usd((1_000, "2"), (200, "10")),
        LIST,
    ),
    (
        "cached at a twentieth",
        "openai",
        "gpt-6.1-sol",
        chat(1_000, 50, **cached(400)),
        usd((600, "2"), (400, "0.1"), (50, "10")),
        LIST,
    ),
    (
        "cached at a tenth",
        "openai",
        "gpt-5.4",
        chat(1_000, 50, **cached(1_000)),
        usd((1_000, "0.25"), (50, "15")),
        LIST,
    ),
    (
        "written for 30 minutes",
        "openai",
        "gpt-6-sol",
        responses(1_000, 10, **written(300, 500, ttl_30m_tokens=500)),
        usd((200, "2"), (300, "0.2"), (500, "2.5"), (10, "10")),
        LIST,
    ),
    (
        "written for 12 hours, at twice the input",
        "openai",
        "gpt-6-sol",
        responses(1_000, 10, **written(300, 500, ttl_12h_tokens=500)),
        usd((200, "2"), (300, "0.2"), (500, "4"), (10, "10")),
        OURS,
    ),
    (
        "written for both",
        "openai",
        "gpt-6-sol",
        responses(1_000, 10, **written(0, 500, ttl_30m_tokens=200, ttl_12h_tokens=300)),
        usd((500, "2"), (200, "2.5"), (300, "4"), (10, "10")),
        OURS,
    ),
    (
        "written for 12 hours beyond 272k",
        "openai",
        "gpt-6-sol",
        responses(272_001, 10, **written(0, 272_000, ttl_12h_tokens=272_000)),
        usd((1, "4"), (272_000, "8"), (10, "15")),
        OURS,
    ),
    (
        "writes of older models are free",
        "openai",
        "gpt-5.4",
        responses(1_000, 10, **written(0, 500, ttl_30m_tokens=500)),
        usd((1_000, "2.5"), (10, "15")),
        LIST,
    ),
    ("272k", "openai", "gpt-5.4", chat(272_000, 10), usd((272_000, "2.5"), (10, "15")), LIST),
    ("272k and one", "openai", "gpt-5.4", chat(272_001, 10), usd((272_001, "5"), (10, "22.5")), LIST),
    (
        "the cached part counts towards 272k",
        "openai",
        "gpt-6-sol",
        chat(272_001, 10, **cached(272_000)),
        usd((1, "4"), (272_000, "0.4"), (10, "15")),
        LIST,
    ),
    ("flex", "openai", "gpt-5.6-sol", chat(1_000, 10, "flex"), usd((1_000, "2"), (10, "10")), LIST),
    ("priority", "openai", "gpt-5.6-sol", chat(1_000, 10, "priority"), usd((1_000, "8"), (10, "40")), LIST),
    (
        "fast is priority",
        "openai",
        "gpt-5.6-sol",
        chat(1_000, 10, "fast"),
        usd((1_000, "8"), (10, "40")),
        LIST,
    ),
    ("default", "openai", "gpt-5.6-sol", chat(1_000, 10, "default"), usd((1_000, "4"), (10, "20")), LIST),
    (
        "ultrafast is six times",
        "openai",
        "gpt-5.6-sol",
        responses(1_000, 10, "ultrafast"),
        usd((1_000, "24"), (10, "120")),
        OURS,
    ),
    ("batch", "openai", "gpt-6-sol", chat(1_000, 10, "batch"), usd((1_000, "1"), (10, "5")), LIST),
    (
        "searches cost a cent, whatever the tier",
        "openai",
        "gpt-5.6-sol",
        responses(1_000, 10, "flex", SEARCHES),
        usd((1_000, "2"), (10, "10")) + 3 * Decimal("0.01"),
        LIST,
    ),
    (
        "sound, in and out",
        "openai",
        "gpt-audio",
        chat(1_000, 500, **heard(800, 400)),
        usd((200, "2.5"), (800, "32"), (100, "10"), (400, "64")),
        LIST,
    ),
    (
        "sound of an older model",
        "openai",
        "gpt-4o-audio-preview",
        chat(1_000, 500, **heard(800, 400)),
        usd((200, "2.5"), (800, "40"), (100, "10"), (400, "80")),  # 0.0655
        OURS,
    ),
    (
        "sound of an older small model",
        "openai",
        "gpt-4o-mini-audio-preview",
        chat(1_000, 500, **heard(800, 400)),
        usd((200, "0.15"), (800, "10"), (100, "0.6"), (400, "20")),
        OURS,
    ),
    (
        "text at a model that hears",
        "openai",
        "gpt-4o-audio-preview",
        chat(1_000, 500),
        usd((1_000, "2.5"), (500, "10")),
        LIST,
    ),
    (
        "embeddings",
        "openai",
        "text-embedding-3-small",
        Usage(input_tokens=1_000, output_tokens=0),
        usd((1_000, "0.02")),
        LIST,
    ),
]

ANTHROPIC: list[Case] = [
    (
        "read, written for 5 minutes and for an hour",
        "anthropic",
        "claude-sonnet-5-5",
        claude(100, 10, 2_000, **split(300, 400)),
        usd((100, "2"), (2_000, "0.1"), (300, "2.5"), (400, "4"), (10, "10")),
        LIST,
    ),
    (
        "written without a split: 5 minutes",
        "anthropic",
        "claude-sonnet-5-5",
        claude(100, 10, cache_creation_input_tokens=300),
        usd((100, "2"), (300, "2.5"), (10, "10")),
        LIST,
    ),
    (
        "written by a split without its total",
        "anthropic",
        "claude-sonnet-5-5",
        claude(100, 10, cache_creation=split(300, 0)["cache_creation"]),
        usd((100, "2"), (300, "2.5"), (10, "10")),
        LIST,
    ),
    (
        "written by a split that is more than its total",
        "anthropic",
        "claude-sonnet-5-5",
        claude(100, 10, cache_creation_input_tokens=0, cache_creation=split(0, 300)["cache_creation"]),
        usd((100, "2"), (300, "4"), (10, "10")),
        LIST,
    ),
    (
        "read at a fortieth",
        "anthropic",
        "claude-fable-5-2",
        claude(0, 10, 2_000),
        usd((2_000, "0.2"), (10, "40")),
        LIST,
    ),
    (
        "thinking is in the output",
        "anthropic",
        "claude-opus-5-5",
        claude(100, 900, output_tokens_details={"thinking_tokens": 800}),
        usd((100, "4"), (900, "20")),
        LIST,
    ),
    ("100k", "anthropic", "claude-haiku-5-5", claude(100_000, 10), usd((100_000, "0.1"), (10, "0.5")), LIST),
    (
        "100k and one, five times",
        "anthropic",
        "claude-haiku-5-5",
        claude(100_001, 10),
        usd((100_001, "0.5"), (10, "2.5")),
        LIST,
    ),
    (
        "only the cached part passes 100k",
        "anthropic",
        "claude-haiku-5-5",
        claude(1, 10, 100_000),
        usd((1, "0.5"), (100_000, "0.05"), (10, "2.5")),
        LIST,
    ),
    (
        "Opus is flat",
        "anthropic",
        "claude-opus-5-5",
        claude(900_000, 10),
        usd((900_000, "4"), (10, "20")),
        LIST,
    ),
    (
        "searches",
        "anthropic",
        "claude-opus-5-5",
        claude(100, 10, server_tool_use={"web_search_requests": 2, "web_fetch_requests": 5}),
        usd((100, "4"), (10, "20")) + 2 * Decimal("0.01"),
        LIST,
    ),
    (
        "fast is twice, cache included",
        "anthropic",
        "claude-opus-5-5",
        claude(100, 10, 1_000, speed="fast"),
        usd((100, "8"), (1_000, "0.4"), (10, "40")),
        LIST,
    ),
    (
        "batch is half, cache included",
        "anthropic",
        "claude-opus-5-5",
        claude(100, 10, 1_000, service_tier="batch"),
        usd((100, "2"), (1_000, "0.1"), (10, "10")),
        LIST,
    ),
    (
        "in the US a tenth more, but not for searches",
        "anthropic",
        "claude-opus-5-5",
        claude(100, 10, 1_000, inference_geo="us", server_tool_use={"web_search_requests": 1}),
        usd((100, "4.4"), (1_000, "0.22"), (10, "22")) + Decimal("0.01"),
        OURS,
    ),
    (
        "in the US and fast",
        "anthropic",
        "claude-opus-5-5",
        claude(100, 10, inference_geo="us", speed="fast"),
        usd((100, "8.8"), (10, "44")),
        OURS,
    ),
    (
        "4.6 is the first with a region",
        "anthropic",
        "claude-opus-4-6",
        claude(100, 10, inference_geo="us"),
        usd((100, "5.5"), (10, "27.5")),
        OURS,
    ),
    (
        "4.5 has none",
        "anthropic",
        "claude-haiku-4-5-20251001",
        claude(100, 10, inference_geo="us"),
        usd((100, "1"), (10, "5")),
        LIST,
    ),
    (
        "what a compaction took is billed too",
        "anthropic",
        "claude-opus-5-5",
        claude(
            100,
            10,
            iterations=[
                {"type": "compaction", "input_tokens": 5_000, "output_tokens": 300},
                {"type": "message", "input_tokens": 100, "output_tokens": 10},
            ],
        ),
        usd((5_100, "4"), (310, "20")),
        LIST,
    ),
]

HEARD = {"promptTokensDetails": by_kind(TEXT=200, AUDIO=800)}
GEMINI: list[Case] = [
    (
        "thoughts are beside the candidates",
        "gemini",
        "gemini-3.8-flash",
        goog(1_000, 50, thoughtsTokenCount=200),
        usd((1_000, "0.75"), (250, "3.75")),
        LIST,
    ),
    (
        "what tools read is beside the prompt",
        "gemini",
        "gemini-3.8-flash",
        goog(1_000, 50, toolUsePromptTokenCount=300),
        usd((1_300, "0.75"), (50, "3.75")),
        LIST,
    ),
    ("200k", "gemini", "gemini-2.5-pro", goog(200_000, 10), usd((200_000, "1.25"), (10, "10")), LIST),
    ("200k and one", "gemini", "gemini-2.5-pro", goog(200_001, 10), usd((200_001, "2.5"), (10, "15")), LIST),
    (
        "the cached part counts towards 200k",
        "gemini",
        "gemini-2.5-pro",
        goog(200_001, 10, cachedContentTokenCount=200_000),
        usd((1, "2.5"), (200_000, "0.25"), (10, "15")),
        LIST,
    ),
    (
        "sound",
        "gemini",
        "gemini-2.5-flash",
        goog(1_000, 10, **HEARD),
        usd((200, "0.3"), (800, "1"), (10, "2.5")),
        LIST,
    ),
    (
        "sound, some of it cached",
        "gemini",
        "gemini-2.5-flash",
        goog(
            1_000,
            10,
            cachedContentTokenCount=500,
            cacheTokensDetails=by_kind(TEXT=100, AUDIO=400),
            **HEARD,
        ),
        usd((100, "0.3"), (400, "1"), (100, "0.03"), (400, "0.1"), (10, "2.5")),
        LIST,
    ),
    (
        "sound, none of it cached",
        "gemini",
        "gemini-2.5-flash",
        goog(1_000, 10, cachedContentTokenCount=100, cacheTokensDetails=by_kind(TEXT=100), **HEARD),
        usd((100, "0.3"), (800, "1"), (100, "0.03"), (10, "2.5")),
        LIST,
    ),
    (
        "sound, and nobody knows how much of it was cached: as text, and marked",
        "gemini",
        "gemini-2.5-flash",
        goog(1_000, 10, cachedContentTokenCount=500, **HEARD),
        usd((500, "0.3"), (500, "0.03"), (10, "2.5")),
        f"{LIST}~",
    ),
    (
        "sound where it costs what text does",
        "gemini",
        "gemini-2.5-pro",
        goog(1_000, 10, cachedContentTokenCount=500, **HEARD),
        usd((500, "1.25"), (500, "0.125"), (10, "10")),
        LIST,
    ),
    (
        "pictures that it made",
        "gemini",
        "gemini-2.5-flash-image",
        goog(1_000, 1_300, candidatesTokensDetails=by_kind(TEXT=10, IMAGE=1_290)),
        usd((1_000, "0.3"), (10, "2.5"), (1_290, "30")),
        LIST,
    ),
    (
        "flex",
        "gemini",
        "gemini-3.8-flash",
        goog(1_000, 50, serviceTier="FLEX"),
        usd((1_000, "0.375"), (50, "1.875")),
        OURS,
    ),
    (
        "priority is about 1.8 times, and marked",
        "gemini",
        "gemini-3.8-flash",
        goog(1_000, 50, serviceTier="priority"),
        usd((1_000, "1.35"), (50, "6.75")),
        f"{OURS}~",
    ),
    (
        "standard",
        "gemini",
        "gemini-3.8-flash",
        goog(1_000, 50, serviceTier="standard"),
        usd((1_000, "0.75"), (50, "3.75")),
        LIST,
    ),
]

OTHERS: list[Case] = [
    ("below 200k", "xai", "grok-4.7", chat(199_999, 10), usd((199_999, "2"), (10, "6")), LIST),
    ("200k, inclusive", "xai", "grok-4.7", chat(200_000, 10), usd((200_000, "4"), (10, "12")), LIST),
    (
        "reasoning is beside the completion",
        "xai",
        "grok-4.7",
        openai_chat(
            {
                "prompt_tokens": 1_000,
                "completion_tokens": 20,
                "total_tokens": 1_320,
                "completion_tokens_details": {"reasoning_tokens": 300},
                **cached(600),
            }
        ),
        usd((400, "2"), (600, "0.5"), (320, "6")),
        LIST,
    ),
    (
        "reasoning is in the output of Responses",
        "xai",
        "grok-4.7",
        responses(1_000, 320, output_tokens_details={"reasoning_tokens": 300}),
        usd((1_000, "2"), (320, "6")),
        LIST,
    ),
    (
        "cached at half",
        "groq",
        "openai/gpt-oss-120b",
        chat(1_000, 10, "on_demand", **cached(400)),
        usd((600, "0.15"), (400, "0.075"), (10, "0.6")),
        LIST,
    ),
    (
        "flex at the usual rates",
        "groq",
        "openai/gpt-oss-120b",
        chat(1_000, 10, "flex"),
        usd((1_000, "0.15"), (10, "0.6")),
        LIST,
    ),
    (
        "no rate for what is cached",
        "cerebras",
        "gpt-oss-120b",
        chat(1_000, 10, **cached(400)),
        usd((1_000, "0.35"), (10, "0.75")),
        LIST,
    ),
    (
        "cached at a tenth",
        "mistral",
        "mistral-large-4-0",
        chat(1_000, 10, **cached(400)),
        usd((600, "0.7"), (400, "0.07"), (10, "2.1")),
        LIST,
    ),
    (
        "cached, as it was named before",
        "mistral",
        "mistral-large-4-0",
        chat(1_000, 10, num_cached_tokens=400),
        usd((600, "0.7"), (400, "0.07"), (10, "2.1")),
        LIST,
    ),
    (
        "a suffix that says how to route",
        "openrouter",
        "anthropic/claude-sonnet-4.6:nitro",
        chat(1_000, 10),
        usd((1_000, "3"), (10, "15")),
        f"{LIST}~",
    ),
    (
        "a suffix that adds a search, whose price is not in the counts",
        "openrouter",
        "anthropic/claude-sonnet-4.6:online",
        chat(1_000, 10),
        usd((1_000, "3"), (10, "15")),
        f"{LIST}~",
    ),
]

CASES = [*OPENAI, *ANTHROPIC, *GEMINI, *OTHERS]


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost", "version"),
    [pytest.param(*rest, id=f"{rest[0]}: {name}") for name, *rest in CASES],
)
def test_the_price_is_what_the_rule_says(
    provider: str, model: str, usage: Usage, cost: Decimal, version: str
) -> None:
    found = price(provider, model, usage, NOW)
    assert (found.cost_usd, found.source, found.version) == (cost, "catalogue", version)


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "gpt-5.4", chat(1_000, 10, "scale")),
        ("openai", "gpt-5.4-nano", chat(1_000, 10, "priority")),  # has no such tier
        ("anthropic", "claude-opus-5-5", claude(100, 10, service_tier="priority")),  # by contract
        ("anthropic", "claude-sonnet-5-5", claude(100, 10, speed="fast")),  # has no such speed
        ("anthropic", "claude-opus-5-5", claude(100, 10, speed="fast", service_tier="batch")),
        ("groq", "openai/gpt-oss-120b", chat(1_000, 10, "performance")),
        ("cerebras", "gpt-oss-120b", chat(1_000, 10, "priority")),
        ("deepinfra", "meta-llama/Llama-4-Scout", chat(1_000, 10)),  # unless it says so itself
        ("openrouter", "anthropic/claude-sonnet-4.6:free", chat(1_000, 10)),
        ("openrouter", "anthropic/claude-sonnet-4.6:unheard-of", chat(1_000, 10)),
        ("openai", "gpt-6-sol", chat(10, 10, **cached(2_000))),  # a prompt without what was cached
        ("openai", "gpt-6-sol", responses(1_000, 10, **written(900, 900))),
        ("openai", "gpt-5.3-codex", responses(1_000, 10, tools=SEARCHES)),  # no rate for searches
        ("gemini", "gemini-2.5-flash", goog(1_000, 10, cachedContentTokenCount=1_001, **HEARD)),
    ],
)
def test_what_no_rule_prices_is_unknown_never_negative_and_never_less(
    provider: str, model: str, usage: Usage
) -> None:
    assert price(provider, model, usage, NOW).cost_usd is None


@pytest.mark.parametrize(
    ("provider", "model", "usage", "moment", "cost", "version"),
    [
        (
            "gemini",
            "gemini-4-argon",
            goog(1_000, 10),
            "2026-11-30T23:59:59.999",
            usd((1_000, "2"), (10, "10")),
            LIST,
        ),
        (
            "gemini",
            "gemini-4-argon",
            goog(1_000, 10),
            "2026-12-01T00:00:00",
            usd((1_000, "4"), (10, "20")),
            LIST,
        ),
        (
            "openai",
            "gpt-5-mini",
            chat(1_000, 10, "flex"),
            "2026-10-12T00:00:00",
            usd((1_000, "0.125"), (10, "1")),
            LIST,
        ),
        # Before that the library has no rate and would take the standard one.
        (
            "openai",
            "gpt-5-mini",
            chat(1_000, 10, "flex"),
            "2026-10-11T23:59:59",
            usd((1_000, "0.125"), (10, "1")),
            OURS,
        ),
        (
            "anthropic",
            "claude-opus-4-5",
            claude(100, 10, 1_000, service_tier="batch"),
            "2026-03-01T00:00:00",
            usd((100, "2.5"), (1_000, "0.25"), (10, "12.5")),
            OURS,
        ),
    ],
)
def test_the_price_is_that_of_its_time(
    provider: str, model: str, usage: Usage, moment: str, cost: Decimal, version: str
) -> None:
    found = price(provider, model, usage, at(moment))
    assert (found.cost_usd, found.version) == (cost, version)


def test_a_tier_that_had_no_price_yet_is_unknown_and_not_the_standard_one() -> None:
    assert price("openai", "gpt-5-mini", chat(1_000, 10, "priority"), BEFORE_OUR_DATA).cost_usd is None


@pytest.mark.parametrize(
    ("provider", "usage", "cost"),
    [
        ("xai", chat(37_756, 1, cost_in_usd_ticks=37_756_000), "0.0037756"),  # ten-thousand-millionths
        ("deepinfra", chat(1_000, 10, estimated_cost=0.0000025), "0.0000025"),
        ("openrouter", chat(1_000, 10, cost=0.00014, cost_details={"upstream_inference_cost": 9}), "0.00014"),
        (  # 5% of 0.002 as a fee, and the bill of the provider behind
            "openrouter",
            chat(1_000, 10, cost=0.0001, is_byok=True, cost_details={"upstream_inference_cost": 0.002}),
            "0.0021",
        ),
    ],
)
def test_what_the_provider_states_is_the_price(provider: str, usage: Usage, cost: str) -> None:
    found = price(provider, "whatever", usage, NOW)
    assert (found.cost_usd, found.source, found.version) == (Decimal(cost), "provider", None)


def terms(**more: Any) -> ProviderConfig:
    return ProviderConfig(name="p", base_url="", **more)


def rates(input_: str, output: str, **more: Any) -> ModelPrice:
    values: dict[str, Any] = {
        name: Decimal(value) if type(value) is str else value for name, value in more.items()
    }
    return ModelPrice(input=Decimal(input_), output=Decimal(output), **values)


DECEMBER = at("2026-12-01T00:00:00")
DATED = terms(
    prices={
        "m": rates(
            "1", "2", later=(rates("3", "4", since_ms=DECEMBER), rates("5", "6", since_ms=DECEMBER * 2))
        ),
        "gpt-6-sol": rates("7", "8", since_ms=DECEMBER),
    }
)


@pytest.mark.parametrize(
    ("model", "moment", "cost", "source"),
    [
        ("m", DECEMBER - 1, usd((1_000, "1"), (10, "2")), "configured"),
        ("m", DECEMBER, usd((1_000, "3"), (10, "4")), "configured"),
        ("gpt-6-sol", DECEMBER - 1, usd((1_000, "2"), (10, "10")), "catalogue"),
        ("gpt-6-sol", DECEMBER, usd((1_000, "7"), (10, "8")), "configured"),
    ],
)
def test_a_price_of_the_operators_is_in_force_from_its_day(
    model: str, moment: int, cost: Decimal, source: str
) -> None:
    found = price("openai", model, chat(1_000, 10), moment, DATED, 7)
    assert (found.cost_usd, found.source) == (cost, source)
    assert found.version == ("7" if source == "configured" else LIST)


OWN = terms(
    prices={"*": rates("1", "2", cache_read="0.1", audio_input="10", audio_output="20", searches="5")}
)


@pytest.mark.parametrize(
    ("usage", "cost", "version"),
    [
        (chat(1_000, 500, **heard(800, 400)), usd((200, "1"), (800, "10"), (100, "2"), (400, "20")), "7"),
        (responses(1_000, 10, None, SEARCHES), usd((1_000, "1"), (10, "2")) + 3 * Decimal("0.005"), "7"),
        (
            goog(1_000, 10, cachedContentTokenCount=500, cacheTokensDetails=by_kind(AUDIO=400), **HEARD),
            usd((100, "1"), (500, "0.1"), (400, "10"), (10, "2")),
            "7",
        ),
        (
            goog(1_000, 10, cachedContentTokenCount=500, **HEARD),
            usd((500, "1"), (500, "0.1"), (10, "2")),
            "7~",
        ),
        (claude(100, 10, 50, **split(20, 30)), usd((150, "1"), (50, "0.1"), (10, "2")), "7"),
        (chat(1_000, 10, "whatever"), usd((1_000, "1"), (10, "2")), "7"),
    ],
)
def test_the_operators_own_rates(usage: Usage, cost: Decimal, version: str) -> None:
    found = price("p", "m", usage, NOW, OWN, 7)
    assert (found.cost_usd, found.source, found.version) == (cost, "configured", version)


def test_searches_without_a_rate_of_the_operators_are_unknown() -> None:
    given = terms(prices={"*": rates("1", "2")})
    assert price("p", "m", responses(1_000, 10, None, SEARCHES), NOW, given).cost_usd is None


AGREED = terms(
    discount=Decimal("0.15"),
    multipliers={
        "tier:flex": Decimal("0.4"),
        "tier:scale": Decimal(3),
        "region:us": Decimal("1.2"),
        "*": Decimal("1.1"),
    },
)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost", "version"),
    [
        # 1 - 0.15 = 0.85, times 1.1 for every call
        ("openai", "gpt-6-sol", chat(1_000, 10), usd((1_000, "2"), (10, "10")), f"{LIST}+r7"),
        # 0.4 of the standard rate, in place of the list's half
        ("openai", "gpt-6-sol", chat(1_000, 10, "flex"), usd((1_000, "0.8"), (10, "4")), f"{LIST}+r7"),
        # the list's own tier, where no multiplier stands in its place
        ("openai", "gpt-6-sol", chat(1_000, 10, "priority"), usd((1_000, "4"), (10, "20")), f"{LIST}+r7"),
        # a tier of a contract, which no list prices
        ("openai", "gpt-6-sol", chat(1_000, 10, "scale"), usd((1_000, "6"), (10, "30")), f"{LIST}+r7"),
        # 1.2 in place of 1.1
        (
            "anthropic",
            "claude-opus-5-5",
            claude(100, 10, inference_geo="us"),
            usd((100, "4.8"), (10, "24")),
            f"{LIST}+r7",
        ),
        (
            "gemini",
            "gemini-3.8-flash",
            goog(1_000, 10, serviceTier="priority"),
            usd((1_000, "1.35"), (10, "6.75")),
            f"{OURS}+r7~",
        ),
    ],
)
def test_a_discount_and_multipliers_apply_to_list_prices(
    provider: str, model: str, usage: Usage, cost: Decimal, version: str
) -> None:
    found = price(provider, model, usage, NOW, AGREED, 7)
    every_call = Decimal("0.85") * Decimal("1.1")
    assert (found.cost_usd, found.source, found.version) == (cost * every_call, "catalogue", version)


def test_a_discount_does_not_apply_to_the_operators_own_price_or_the_providers_figure() -> None:
    both = AGREED.replace(prices={"m": rates("1", "2")})
    assert price("openai", "m", chat(1_000, 10), NOW, both, 7).cost_usd == usd((1_000, "1"), (10, "2"))
    assert price("openai", "x", chat(1_000, 10, cost=0.5), NOW, both, 7).cost_usd == Decimal("0.5")
