"""A row of the ledger holds all that its price was made of: priced again from it, it is the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts.base import encode_all
from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.contracts.events import AttemptSettled, AttemptStarted
from keyrail.contracts.usage import Usage
from keyrail.dialects.anthropic_messages.usage import usage_of as messages
from keyrail.dialects.gemini_generate.usage import usage_of as gemini
from keyrail.dialects.openai_chat.usage import usage_of as chat
from keyrail.dialects.openai_responses.usage import usage_of as responses
from keyrail.pricing.cost import price
from keyrail_cost_accounting.rows import ATTEMPT_COLUMNS, Rows

NOW = 1_795_435_200_000  # 2026-11-23T12:00Z
STARTED = AttemptStarted(
    attempt_id="0190a000-0000-7000-8000-00000000000a",
    request_id="0190a000-0000-7000-8000-00000000000b",
    epoch=1,
    hop=1,
    tenant="t",
    key_id="k",
    strategy="direct",
    revision=7,
    provider="p",
    model="m",
    worker="w",
    started_ms=NOW,
)
TERMS = ProviderConfig(
    name="p",
    base_url="",
    prices={"own": ModelPrice(input=Decimal(1), output=Decimal(2), audio_input=Decimal(3))},
    discount=Decimal("0.15"),
    multipliers={"tier:flex": Decimal("0.3"), "region:us": Decimal("1.3")},
)
COUNT = st.integers(0, 300_000)


def row_of(settled: AttemptSettled) -> dict[str, Any]:
    rows = Rows()
    rows.read(encode_all([settled]))
    assert not rows.rejected
    return dict(zip(ATTEMPT_COLUMNS, rows.attempts[0], strict=True))


def usage_from(row: dict[str, Any]) -> Usage:
    raw = row["usage_raw"]
    columns = {name: row[name] for name in Usage.__struct_fields__ if name != "raw"}
    return Usage(**columns, raw=None if raw is None else msgspec.json.decode(raw))


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, Usage]:
    input_, output = draw(COUNT), draw(COUNT)
    read = draw(st.integers(0, input_))
    rest = draw(st.integers(0, input_ - read))
    kept = draw(st.integers(0, rest))
    tier = draw(st.sampled_from([None, "default", "flex", "priority"]))
    cost = draw(st.none() | st.floats(0, 10))
    sound = draw(st.integers(0, input_))
    prompt = {
        "cached_tokens": read,
        "cache_write_tokens": rest,
        "audio_tokens": draw(st.sampled_from([0, sound])),
    }
    kind = draw(st.sampled_from(["openrouter", "openai", "responses", "anthropic", "gemini"]))
    if kind in ("openrouter", "openai"):
        usage = {"prompt_tokens": input_, "completion_tokens": output, "prompt_tokens_details": prompt}
        usage |= {"cost": cost} if kind == "openrouter" else {}
        model = draw(st.sampled_from(["own", "gpt-6-sol", "gpt-audio", "openai/gpt-5-mini"]))
        return kind, model, chat(usage, served_tier=tier)
    if kind == "responses":
        details = prompt | {"cache_write_tokens_details": {"ttl_12h_tokens": kept}}
        usage = {"input_tokens": input_, "output_tokens": output, "input_tokens_details": details}
        return "openai", "gpt-6-sol", responses(usage, served_tier=tier)
    if kind == "anthropic":
        usage = {
            "input_tokens": input_,
            "output_tokens": output,
            "cache_read_input_tokens": read,
            "cache_creation": {"ephemeral_5m_input_tokens": rest, "ephemeral_1h_input_tokens": kept},
            "inference_geo": draw(st.sampled_from(["us", "global"])),
            "speed": draw(st.sampled_from(["fast", "standard"])),
            "server_tool_use": {"web_search_requests": draw(st.integers(0, 3))},
        }
        return "anthropic", "claude-opus-5-5", messages(usage)
    usage = {
        "promptTokenCount": input_,
        "candidatesTokenCount": output,
        "cachedContentTokenCount": read,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": sound}],
        "serviceTier": tier,
    }
    if draw(st.booleans()):
        usage["cacheTokensDetails"] = [{"modality": "AUDIO", "tokenCount": min(sound, read)}]
    return "gemini", draw(st.sampled_from(["own", "gemini-2.5-flash", "gemini-2.5-pro"])), gemini(usage)


@settings(max_examples=200, deadline=None)
@given(calls(), st.sampled_from([None, TERMS]))
def test_the_price_from_the_row_is_the_price_at_settle(
    call: tuple[str, str, Usage], terms: ProviderConfig | None
) -> None:
    provider, model, usage = call
    paid = price(provider, model, usage, NOW, terms, 7)
    row = row_of(
        AttemptSettled(started=STARTED, status="ok", usage=usage, price=paid, duration_ms=1, settled_ms=NOW)
    )
    again = price(provider, model, usage_from(row), NOW, terms, 7)
    assert again == paid
    assert (row["cost_usd"], row["price_source"], row["price_version"]) == (
        paid.cost_usd,
        paid.source,
        paid.version,
    )


@pytest.mark.parametrize(
    ("raw", "version"),
    [({"cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}]}, "0.2.3"), ({}, "0.2.3~")],
)
def test_what_only_the_raw_object_says_survives(raw: dict[str, Any], version: str) -> None:
    counts = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 1,
        "cachedContentTokenCount": 5,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
    }
    usage = gemini(counts | raw)
    row = row_of(AttemptSettled(started=STARTED, status="ok", usage=usage, duration_ms=1, settled_ms=NOW))
    assert price("gemini", "gemini-2.5-flash", usage_from(row), NOW).version == version
