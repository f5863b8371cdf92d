"""Quirks of providers: what a body becomes, what is named as missing, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.contracts.quirks import Quirks
from keyrail.dialects import flavour
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.openai_chat import flavour as chat
from keyrail.dialects.openai_chat.fitting import fit
from keyrail.providers import registry

ASK: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


def fitted(provider: str, request: dict[str, Any]) -> Written:
    written = fit(
        {"model": "route", "messages": ASK, **request}, model="m", quirks=registry.load()[provider].quirks
    )
    assert isinstance(written, Written)
    return written


def test_a_provider_without_quirks_gets_what_the_client_sent() -> None:
    sent = {"model": "x", "unknown": {"a": [1]}, "messages": [{"role": "user", "content": None, "name": "n"}]}
    written = fit(json.loads(json.dumps(sent)), model="m", quirks=Quirks())
    assert isinstance(written, Written)
    assert written == Written({**sent, "model": "m"})
    assert list(written.body) == list(sent)


def test_a_strict_provider_gets_only_what_it_takes_and_the_rest_is_named() -> None:
    written = fitted(
        "cerebras", {"store": True, "metadata": {"a": "b"}, "verbosity": "low", "seed": 1, "user": "u"}
    )
    assert set(written.body) == {"model", "messages", "seed", "user"}
    assert written.dropped == ("store", "metadata", "verbosity")


@pytest.mark.parametrize("name", ["logit_bias", "logprobs", "response_format", "tools", "n", "modalities"])
def test_what_cannot_be_left_out_is_refused_by_name(name: str) -> None:
    values: dict[str, Any] = {"n": 2, "logprobs": True}
    failure = flavour.apply({name: values.get(name, {"a": 1})}, Quirks(allow=("model",)))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status, failure.param) == ("bad_request", 400, name)


@pytest.mark.parametrize(("name", "value"), [("n", 1), ("logprobs", False), ("tools", []), ("user", None)])
def test_what_asks_for_nothing_goes_missing_without_a_word(name: str, value: object) -> None:
    assert flavour.apply({name: value, "model": "m"}, Quirks(allow=("model",))) == Written({"model": "m"})


def test_names_change_and_the_providers_own_wins() -> None:
    assert fitted("mistral", {"max_completion_tokens": 5, "seed": 7}).body == {
        "model": "m",
        "messages": ASK,
        "max_tokens": 5,
        "random_seed": 7,
    }
    assert fitted("mistral", {"max_completion_tokens": 5, "max_tokens": 6}).body["max_tokens"] == 6


def test_usage_of_a_stream_is_asked_for_where_it_has_to_be() -> None:
    assert fitted("openai", {"stream": True}).body["stream_options"] == {"include_usage": True}
    asked = fitted("mistral", {"stream": True, "stream_options": {"include_usage": True}})
    assert ("stream_options" in asked.body, asked.dropped) == (False, ())


def test_messages_take_the_providers_form() -> None:
    history: list[dict[str, Any]] = [
        {"role": "developer", "content": "be brief", "name": "boss"},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [{"id": "call_12345", "type": "function"}],
        },
        {"role": "tool", "tool_call_id": "call_12345", "content": "42", "name": "sum"},
    ]
    short = chat.short_id("call_12345")
    assert (len(short), short.isalnum(), chat.short_id(short)) == (9, True, short)
    mistral = fitted("mistral", {"messages": history})
    assert [message["role"] for message in mistral.body["messages"]] == ["system", "assistant", "tool"]
    assert mistral.body["messages"][1]["tool_calls"][0]["id"] == short
    assert mistral.body["messages"][2]["tool_call_id"] == short
    xai = fitted("xai", {"messages": history})
    assert "name" not in xai.body["messages"][0]
    assert xai.body["messages"][2]["name"] == "sum"
    assert xai.dropped == ("messages[0].name",)


def test_a_result_in_parts_becomes_text_where_it_must() -> None:
    parts = [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]
    history = [{"role": "tool", "tool_call_id": "c", "content": parts}]
    assert fitted("deepinfra", {"messages": history}).body["messages"][0]["content"] == "42"
    assert fitted("openai", {"messages": history}).body["messages"][0]["content"] == parts


def test_no_two_ids_share_their_short_form() -> None:
    assert len({chat.short_id(f"call_{number}") for number in range(20_000)}) == 20_000


def test_thoughts_in_the_other_spelling_go_back_in_the_providers_own() -> None:
    turn = {"role": "assistant", "content": "Ah.", "reasoning_content": "Hm."}
    cerebras = fitted("cerebras", {"messages": [*ASK, turn]})
    assert cerebras.body["messages"][1] == {"role": "assistant", "content": "Ah.", "reasoning": "Hm."}
    both = fitted("cerebras", {"messages": [*ASK, {**turn, "reasoning": "Own."}]})
    assert both.body["messages"][1] == {"role": "assistant", "content": "Ah.", "reasoning": "Own."}
    assert cerebras.dropped == both.dropped == ()


def test_thoughts_that_a_provider_does_not_take_are_named() -> None:
    turn = {"role": "assistant", "content": "Ah.", "reasoning_content": "Hm.", "reasoning": None}
    mistral = fitted("mistral", {"messages": [*ASK, turn]})
    assert mistral.body["messages"][1] == {"role": "assistant", "content": "Ah."}
    assert mistral.dropped == ("messages[1].reasoning_content",)
