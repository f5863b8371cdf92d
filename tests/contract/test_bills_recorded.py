"""What OpenRouter billed for recorded calls, against our own reckoning: no library's figures are involved."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keyrail.contracts.config import ModelPrice, ProviderConfig
from keyrail.contracts.usage import Usage
from keyrail.dialects.openai_chat.usage import usage_of as chat
from keyrail.dialects.openai_responses.usage import usage_of as responses
from keyrail.pricing.cost import listed, price

WIRE = Path(__file__).parents[2] / "../shared/data/wire/openrouter.jsonl.gz"

pytestmark = pytest.mark.skipif(not WIRE.exists(), reason=f"recorded provider traffic is not here: {WIRE}")


def rates(input_: str, output: str, **more: str) -> ModelPrice:
    given: dict[str, Any] = {name: Decimal(text) for name, text in more.items()}
    return ModelPrice(input=Decimal(input_), output=Decimal(output), **given)


# Bills that the catalogue's rates do not make: with the rates that were billed, our reckoning makes them.
OTHER_RATES: dict[str, ModelPrice] = {
    # Prices that have been lowered since, of which the catalogue keeps no history.
    "08861b74676a-f77e93b3": rates("5", "30", cache_read="0.5", cache_write="6.25"),
    "08861b74676a-b4f544a0": rates("5", "30", cache_read="0.5", cache_write="6.25"),
    "8af975738c55-5736b494": rates("1.5", "7.5"),
    "b9874b0a33b5-a8a7b92b": rates("0.05", "0.2"),
    "4840718007e9-94fa8ced": rates("0.3", "2.5", cache_read="0.03"),
    # Routed to a host with rates of its own.
    "1b08f2f88ea8-b4cefaad": rates("0.1", "0.3"),
    "83a6b86337f6-1ed82c24": rates("0.6", "2.2"),
    # With a search; the two first were routed too.
    "2302cc35bc1b-e3374b1c": rates("0.2574", "1.0287", searches="7"),
    "ec570b0d613a-f1dbe1a2": rates("0.2574", "1.0287", searches="7"),
    "c81e2ed23c7a-a123ccc5": rates("0.4", "1.6", searches="10"),
    # A model that the catalogue does not have.
    "a41ece5bbb6d-a0ed0929": rates("3", "15", cache_read="0.75"),
}
# Bills that no rates for the counts make.
INEXPLICABLE = {
    "1b0b17b75cb0-473053eb": "a plugin, billed beside the tokens: no count says how much of it there was",
    "c28045b60677-3b9b08c7": "2161 of 2168 tokens were both read from the cache and written to it",
}
OWN_KEY = {"45da7b29ecd6-1d63626b", "59f3a30dec0a-a37bc16b"}


def documents(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(row.get("response"), dict):
        yield row["response"]
    for line in (row.get("sse") or "").splitlines():
        if line.startswith("data:") and line[5:].strip() != "[DONE]":
            found = json.loads(line[5:])
            yield found
            if isinstance(found.get("response"), dict):
                yield found["response"]


def bills() -> Iterator[tuple[str, str, Usage, int]]:
    """Exchange, model, usage and time of each answer that says what it cost."""
    for line in gzip.decompress(WIRE.read_bytes()).splitlines():
        row = json.loads(line)
        known: dict[str, Any] = {}
        for document in documents(row):
            known |= {name: value for name, value in document.items() if value is not None}
        usage = known.get("usage")
        if not usage or "cost" not in usage:
            continue
        reader = chat if "prompt_tokens" in usage else responses
        at_s = known.get("created") or known["created_at"]
        yield (
            row["id"],
            known["model"],
            reader(usage, served_tier=known.get("service_tier")),
            int(at_s * 1_000),
        )


def test_the_bill_itself_comes_first() -> None:
    found = {row: price("openrouter", model, usage, at_ms) for row, model, usage, at_ms in bills()}
    assert len(found) == 43
    assert {each.source for each in found.values()} == {"provider"}
    assert found["8ef4f8fb1952-c4fbdabe"].cost_usd == Decimal("0.000102")
    # With the caller's own key: the fee, 0 here, and the bill of the provider behind.
    assert found["45da7b29ecd6-1d63626b"].cost_usd == Decimal("0.0003253")


def test_without_it_the_catalogue_makes_the_same_or_there_is_a_reason() -> None:
    equal: set[str] = set()
    for row, model, usage, at_ms in bills():
        billed = price("openrouter", model, usage, at_ms).cost_usd
        ours = listed("openrouter", model, usage, at_ms, None)
        if ours is not None and ours.cost == billed:
            equal.add(row)
            continue
        assert row in OTHER_RATES or row in INEXPLICABLE, (row, billed, ours)
        if row in OTHER_RATES:
            terms = ProviderConfig(name="openrouter", base_url="", prices={model: OTHER_RATES[row]})
            by_rates = listed("openrouter", model, usage, at_ms, terms)
            assert by_rates is not None
            assert by_rates.cost == billed, row
    assert len(equal) == 30
    assert equal >= OWN_KEY


def test_what_was_saved_by_the_cache_is_the_difference_of_the_lists() -> None:
    # 2649 tokens, 2569 read and 79 written: 1 x 3 + 2569 x 0.3 + 79 x 3.75 + 100 x 15 was billed.
    for row, model, usage, at_ms in bills():
        if row == "3448c0a12ec9-43f3962f":
            found = price("openrouter", model, usage, at_ms)
            assert found.cost_usd == Decimal("0.00256995")
            assert found.uncached_usd == Decimal("0.009447")  # 2649 x 3 + 100 x 15
            return
    pytest.fail("the exchange is not there")
