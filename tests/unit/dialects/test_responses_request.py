from __future__ import annotations

import json
from typing import Any

import pytest

from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.seals import wrap
from keyrail.dialects.openai_responses import face, stateless, wire

BASE: dict[str, Any] = {"model": "openai/gpt-5.4", "input": "Hello"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}, "input": None}, "prompt"),
        ({"input": [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "rs_1"}]}, "input[1]"),
        ({"input": [{"id": "rs_1"}]}, "input[0]"),
    ],
)
def test_what_needs_a_memory_is_refused_by_name(change: dict[str, Any], param: str) -> None:
    failure = face.check({**BASE, **change})
    assert failure is not None
    assert (failure.status, failure.param, failure.code) == (400, param, "unsupported_parameter")


@pytest.mark.parametrize(
    "change",
    [
        {"store": True},
        {"background": False, "previous_response_id": None, "conversation": None, "prompt": None},
        {"input": [{"role": "developer", "content": [{"type": "input_text", "text": "a"}]}]},
        {"input": [CALL, OUTPUT]},
        {"input": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]},
        {"tools": [{"type": "web_search"}], "unheard_of": 1, "max_output_tokens": 100.0},
    ],
)
def test_what_a_provider_may_know_passes(change: dict[str, Any]) -> None:
    assert face.check({**BASE, **change}) is None


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"]}, "input[0]"),
        ({"input": [{"type": 1}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"text": "a"}]}]}, "input[0].content[0].type"),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id"),
        ({"input": [{**OUTPUT, "output": None}]}, "input[0].output"),
        ({"instructions": ["a"]}, "instructions"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"include": ["a", 1]}, "include[1]"),
        ({"text": {"format": "json"}}, "text.format"),
        ({"tools": [1]}, "tools[0]"),
        ({"reasoning": "high"}, "reasoning"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_wrong_types_and_absurd_values_are_refused_by_name(change: dict[str, Any], param: str) -> None:
    failure = face.check({**BASE, **change})
    assert failure is not None
    assert (failure.kind, failure.status, failure.param) == ("bad_request", 400, param)


def test_facts_say_what_the_router_needs() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 4_000}
    body = {
        **BASE,
        "stream": True,
        "instructions": "a" * 400,
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "b" * 400}, image]},
            CALL,
            OUTPUT,
        ],
        "tools": [{"type": "function", "name": "f"}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    }
    facts = face.facts(body)
    assert (facts.dialect, facts.model, facts.stream) == ("openai-responses", "openai/gpt-5.4", True)
    assert (facts.tools, facts.images, facts.json_schema, facts.include_usage) == (True, True, True, True)
    assert 200 < facts.input_tokens_estimate < 300


def prepared(body: dict[str, Any], quirks: Quirks | None = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    written = wire.prepare(json.dumps(body).encode(), model="gpt-5.4", quirks=quirks or Quirks())
    return written.body, written.dropped


def test_nothing_is_stored_at_the_provider_and_the_rest_stays_in_its_order() -> None:
    body = {"store": True, "unheard_of": {"b": 1, "a": 2}, **BASE}
    found, dropped = prepared(body)
    assert found == {"store": False, "unheard_of": {"b": 1, "a": 2}, "model": "gpt-5.4", "input": "Hello"}
    assert list(found) == list(body)
    assert dropped == ()
    assert prepared(BASE)[0]["store"] is False


def test_thoughts_of_another_maker_never_reach_this_provider() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    own = {**reasoning, "encrypted_content": "gAAAA"}
    open_text = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    items = [
        {"role": "user", "content": "a"},
        {**reasoning, "encrypted_content": wrap("anthropic", "sig")},
        own,
        reasoning,  # it would have to be stored there
        open_text,
        CALL,
    ]
    found, dropped = prepared({**BASE, "input": items})
    assert found["input"] == [items[0], own, open_text, CALL]
    assert dropped == ("input[1]", "input[3]")


def test_quirks_drop_and_rename() -> None:
    quirks = Quirks(drop=("truncation",), rename={"max_output_tokens": "max_tokens"})
    found, dropped = prepared({**BASE, "truncation": "auto", "max_output_tokens": 9}, quirks)
    assert found == {"model": "gpt-5.4", "input": "Hello", "max_tokens": 9, "store": False}
    assert dropped == ("truncation",)


@pytest.mark.parametrize("body", [b"[]", b"{", b'"a"'])
def test_a_body_that_is_no_object_can_not_be_prepared(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"it is|truncated"):
        wire.prepare(body, model="m", quirks=Quirks())


@pytest.mark.parametrize(
    ("method", "path", "word"),
    [
        ("POST", "/v1/responses/compact", "compacted"),
        ("POST", "/v1/responses/input_tokens", "counted"),
        ("GET", "/v1/responses/resp_1", "stored"),
        ("DELETE", "/v1/responses/resp_1", "stored"),
        ("POST", "/v1/responses/resp_1/cancel", "cancelled"),
    ],
)
def test_the_other_endpoints_are_refused_with_a_reason(method: str, path: str, word: str) -> None:
    failure = stateless.unserved(method, path)
    assert (failure.status, failure.code) == (404, "not_supported")
    assert word in failure.message
    assert f"({method} {path})" in failure.message
