"""Usage objects as each provider sends them, read by the reader of its dialect, and sums by hand."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from keyrail.contracts.usage import Usage
from keyrail.dialects.anthropic_messages.usage import usage_of as messages
from keyrail.dialects.gemini_generate.usage import usage_of as gemini
from keyrail.dialects.openai_chat.usage import usage_of as openai_chat
from keyrail.dialects.openai_responses.usage import usage_of as openai_responses
from keyrail.pricing import catalogue

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
HEARD: dict[str, Any] = {"promptTokensDetails": by_kind(TEXT=200, AUDIO=800)}
