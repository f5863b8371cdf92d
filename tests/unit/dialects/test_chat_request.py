"""Reading, checking, describing and preparing a chat request."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.openai_chat import request, wire

HELLO: dict[str, Any] = {"model": "openai/gpt-5.4-mini", "messages": [{"role": "user", "content": "Hello"}]}
PLAIN = Quirks()


def body(**changes: Any) -> dict[str, Any]:
    return {**HELLO, **changes}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "empty"),
        (b"null", "object"),
        (b"[1]", "object"),
        (b'"x"', "object"),
        (b'{"a":1} x', "trailing"),
        (b'{"a":1', "truncated"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a":1}'.encode("utf-16"), "byte order mark"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":NaN}', "invalid character"),
        (b'{"a":1e999}', "out of range"),
        (b'{"a":' + b"1" * 5_000 + b"}", "out of range"),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, "nested"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "nested"),
    ],
)
def test_an_unreadable_body_is_the_callers_fault_and_the_message_says_why(text: bytes, reason: str) -> None:
    failure = request.read(text)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status) == ("bad_request", 400)
    assert reason in failure.message
    assert not failure.falls_over


def test_wide_bodies_may_hold_many_brackets() -> None:
    text = json.dumps({"a": [{"b": [[]]}] * 500}).encode()
    assert request.read(text) == json.loads(text)


def test_re_serialising_keeps_huge_integers_and_settles_duplicate_keys() -> None:
    value = request.read(b'{"model":"a","big":123456789012345678901234567890,"model":"b"}')
    assert isinstance(value, dict)
    assert request.dump(value) == b'{"model":"b","big":123456789012345678901234567890}'


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_what_is_read_and_dumped_means_the_same(value: Any) -> None:
    text = json.dumps({"value": value}).encode()
    read = request.read(text)
    assert isinstance(read, dict)
    assert json.loads(request.dump(read)) == {"value": value}


ACCEPTED: list[dict[str, Any]] = [
    {},
    {"unknown": {"x": 1}, "reasoning_effort": "low"},
    {"temperature": None, "stop": None, "tools": None, "stream": None},
    {"temperature": 0, "top_p": 1, "n": 128, "max_tokens": 1, "max_completion_tokens": 100.0},
    {
        "stop": "x",
        "seed": -(2**63),
        "user": "u",
        "metadata": {"a": {"b": 1}},
        "logprobs": True,
        "top_logprobs": 5,
    },
    {"stop": ["a"] * 16, "tool_choice": "auto", "parallel_tool_calls": False, "logit_bias": {"50256": -100}},
    {"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": [{"type": "function"}]},
    {"response_format": {"type": "json_object"}, "stream": True, "stream_options": {"include_usage": True}},
    {"model": "ft:gpt-4o:acme::x/модель-😀"},
    {"messages": [{"role": role, "content": "x"} for role in ("system", "developer", "tool", "function")]},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
    {"messages": [{"role": "assistant", "tool_calls": None}]},
    {"messages": [{"role": "user", "content": [{"type": "something_new", "x": 1}]}]},
]


@pytest.mark.parametrize("changes", ACCEPTED)
def test_what_some_provider_accepts_passes(changes: dict[str, Any]) -> None:
    assert request.check(body(**changes)) is None


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": 5}, "model"),
    ({"model": ""}, "model"),
    ({"model": "x" * 257}, "model"),
    ({"model": "a\x00b"}, "model"),
    ({"model": "a\r\nb"}, "model"),
    ({"model": "a\u202eb"}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": [{"role": "user", "content": "x"}] * 100_001}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": "x"}, {"content": "x"}]}, "messages[1].role"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
    ({"messages": [{"role": "assistant", "tool_calls": [1]}]}, "messages[0].tool_calls[0]"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": []}, "stream_options"),
    ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": 1e12}, "max_tokens"),
    ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
    ({"temperature": 1e308}, "temperature"),
    ({"temperature": "0"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"top_p": 1.1}, "top_p"),
    ({"n": 10**9}, "n"),
    ({"n": 0}, "n"),
    ({"stop": 5}, "stop"),
    ({"stop": ["x"] * 10_000}, "stop"),
    ({"stop": ["x", 1]}, "stop[1]"),
    ({"tools": {}}, "tools"),
    ({"tools": ["x"]}, "tools[0]"),
    ({"tools": [{}] * 10_000}, "tools"),
    ({"tool_choice": 1}, "tool_choice"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {"type": 1}}, "response_format.type"),
    ({"logit_bias": []}, "logit_bias"),
    ({"logit_bias": {str(n): 0 for n in range(10_001)}}, "logit_bias"),
    ({"logprobs": "yes"}, "logprobs"),
    ({"top_logprobs": -1}, "top_logprobs"),
    ({"seed": 2**63}, "seed"),
    ({"user": 1}, "user"),
    ({"user": "x" * 1_000_000}, "user"),
    ({"metadata": "x"}, "metadata"),
]


@pytest.mark.parametrize(
    ("changes", "param"), REFUSED, ids=[f"{n}-{case[1]}" for n, case in enumerate(REFUSED)]
)
def test_nonsense_is_refused_with_the_name_of_the_parameter(changes: dict[str, Any], param: str) -> None:
    failure = request.check(body(**changes))
    assert failure is not None
    assert (failure.kind, failure.status, failure.param) == ("bad_request", 400, param)
    assert f"'{param}'" in failure.message
    assert len(failure.message) < 400


def test_facts_say_what_the_router_asks() -> None:
    facts = request.facts(
        body(
            stream=True,
            stream_options={"include_usage": True},
            tools=[{"type": "function", "function": {"name": "f"}}],
            response_format={"type": "json_schema", "json_schema": {"name": "x"}},
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
                    ],
                }
            ],
        )
    )
    assert facts.model == "openai/gpt-5.4-mini"
    assert (facts.stream, facts.include_usage, facts.tools, facts.images, facts.json_schema) == (True,) * 5
    assert 10 < facts.input_tokens_estimate < 60  # the image's base64 is not text


def test_facts_of_a_plain_request_are_plain() -> None:
    facts = request.facts(
        body(
            stream_options={"include_usage": True},
            messages=[
                {"role": "user", "content": "x" * 400},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"function": {"arguments": "y" * 40}}, {}],
                },
            ],
        )
    )
    assert (facts.stream, facts.include_usage, facts.tools, facts.images, facts.json_schema) == (False,) * 5
    assert facts.input_tokens_estimate == 440 // 4 + 8


def prepare(text: bytes, quirks: Quirks, model: str = "m") -> dict[str, Any]:
    written = wire.prepare(text, model=model, quirks=quirks)
    assert isinstance(written, Written)
    return written.body


def test_preparing_changes_the_model_and_nothing_else() -> None:
    text = (
        b'{"temperature":0.5,"model":"openai/gpt-5.4-mini",'
        b'"messages":[{"role":"user","content":"\xc3\xa9"}],"x":{"b":1,"a":2}}'
    )
    assert request.dump(prepare(text, PLAIN, "gpt-5.4-mini")) == text.replace(b"openai/", b"")


def test_a_stream_is_asked_for_its_usage() -> None:
    streamed = request.dump(body(stream=True, stream_options={"include_obfuscation": False}))
    prepared = prepare(streamed, PLAIN)
    assert prepared["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    prepared = prepare(streamed, Quirks(send_stream_options=False))
    assert "stream_options" not in prepared
    prepared = prepare(request.dump(body(stream=False)), PLAIN)
    assert "stream_options" not in prepared


def test_quirks_drop_and_rename_in_place() -> None:
    quirks = Quirks(
        drop=("user", "store"), rename={"max_completion_tokens": "max_tokens", "seed": "random_seed"}
    )
    text = request.dump({"max_completion_tokens": 5, "user": "u", **HELLO, "seed": 1})
    prepared = prepare(text, quirks)
    assert list(prepared) == ["max_tokens", "model", "messages", "random_seed"]
    assert prepared["max_tokens"] == 5
    for both in (body(max_completion_tokens=5, max_tokens=7), body(max_tokens=7, max_completion_tokens=5)):
        prepared = prepare(request.dump(both), quirks)
        assert prepared["max_tokens"] == 7


def test_a_quirk_takes_nulls_out_of_messages_but_leaves_null_content() -> None:
    message = {"role": "assistant", "content": None, "function_call": None, "refusal": None}
    text = request.dump(body(messages=[message, HELLO["messages"][0]]))
    prepared = prepare(text, Quirks(drop_message_nulls=True))
    assert prepared["messages"] == [{"role": "assistant", "content": None}, HELLO["messages"][0]]
    assert prepare(text, PLAIN)["messages"][0] == message


def test_preparing_what_no_edge_has_checked_is_a_value_error() -> None:
    for text in (b"", b"[]", b"{", msgspec.json.encode("x")):
        with pytest.raises(ValueError, match=r".+"):
            prepare(text, PLAIN)
