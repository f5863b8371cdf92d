"""Reading whole answers and their usage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects.openai_chat.answer import Answer, read_answer
from keyrail.dialects.openai_chat.usage import estimate_usage, usage_of

USAGE: dict[str, Any] = {
    "prompt_tokens": 100,
    "completion_tokens": 30,
    "total_tokens": 130,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0, "cache_write_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 0},
}
CHOICES = [{"index": 0, "message": {"role": "assistant", "content": "é"}, "finish_reason": "stop"}]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def read(value: object) -> Answer:
    answer = read_answer(json.dumps(value, ensure_ascii=False).encode(), "openai")
    assert isinstance(answer, Answer)
    return answer


def test_an_answer_goes_through_byte_for_byte() -> None:
    body = ' {"choices" : [{"finish_reason":"stop"}],\n"usage":null, "x": "é"} '.encode()
    answer = read_answer(body, "openai")
    assert isinstance(answer, Answer)
    assert answer.body == body
    assert answer.usage == Usage()


def test_usage_model_tier_and_finish_are_read() -> None:
    answer = read({"model": "gpt-5.4", "choices": CHOICES, "usage": USAGE, "service_tier": "flex"})
    assert (answer.finish, answer.model) == ("stop", "gpt-5.4")
    assert answer.usage == Usage(
        input_tokens=100,
        output_tokens=30,
        cache_read_tokens=64,
        cache_write_tokens=8,
        reasoning_tokens=20,
        audio_input_tokens=0,
        audio_output_tokens=0,
        served_tier="flex",
        raw=USAGE,
    )


def test_groq_usage_counts_once() -> None:
    only = read({"choices": CHOICES, "x_groq": {"id": "r", "usage": USAGE}})
    both = read({"choices": CHOICES, "x_groq": {"id": "r", "usage": USAGE}, "usage": USAGE})
    assert only.usage == both.usage
    assert both.usage.input_tokens == 100


def test_fields_of_the_wrong_type_do_not_cost_the_answer() -> None:
    answer = read(
        {
            "choices": [{"finish_reason": 5}, 7, {"finish_reason": "length"}],
            "usage": "a lot",
            "x_groq": {"usage": USAGE},
            "model": 1,
            "service_tier": {},
        }
    )
    assert (answer.finish, answer.model) == ("length", None)
    assert answer.usage.input_tokens == 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"<html>Bad gateway</html>",
        b"{",
        b"[]",
        b"5",
        b"{}",
        b'{"choices":null}',
        b'{"choices":{}}',
        b'{"choices":[],"x":"\xff"}',
        b'{"choices":[],"x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_chat_completion_is_garbage(body: bytes) -> None:
    failure = read_answer(body, "groq")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status, failure.provider) == ("garbage", 502, "groq")
    assert failure.falls_over


def test_an_error_inside_a_200_is_classified() -> None:
    failure = read_answer(b'{"error":{"message":"Slow down","type":"rate_limit_error","code":null}}', "groq")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status, failure.upstream_status) == ("rate", 429, 200)
    failure = read_answer(b'{"code":"internal","error":"Service unavailable"}', "xai")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.message) == ("capacity", "Service unavailable")


def test_an_empty_error_is_none() -> None:
    assert read({"choices": CHOICES, "error": None}).finish == "stop"
    assert read({"choices": CHOICES, "error": {}}).finish == "stop"


@pytest.mark.parametrize("value", [-1, 1.5, "12", True, None, 2**53, [], {}])
def test_a_nonsense_count_is_unknown_and_never_zero(value: Any) -> None:
    usage = usage_of({"prompt_tokens": value, "completion_tokens": 3, "completion_tokens_details": value})
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (None, 3, None)


@given(anything, anything)
def test_no_usage_object_raises(usage: Any, tier: Any) -> None:
    usage_of(usage, served_tier=tier)
    usage_of(
        {"prompt_tokens": usage, "prompt_tokens_details": tier, "completion_tokens_details": usage, "x": tier}
    )


def test_reasoning_counted_beside_the_output_is_added() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 20}}
    beside = usage_of({"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 150, **details})
    inside = usage_of({"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130, **details})
    left_out = usage_of({"prompt_tokens": 100, "completion_tokens": 5, **details})
    assert (beside.output_tokens, inside.output_tokens, left_out.output_tokens) == (50, 30, 25)


def test_older_names_of_cached_tokens_are_read() -> None:
    assert usage_of({"num_cached_tokens": 7}).cache_read_tokens == 7
    assert usage_of({"prompt_cache_hit_tokens": 8}).cache_read_tokens == 8


def test_a_huge_or_deep_usage_object_is_not_kept() -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"x": deep}
    assert usage_of({"prompt_tokens": 1, "x": "y" * 20_000}) == Usage(input_tokens=1)
    assert usage_of({"prompt_tokens": 1, **deep}) == Usage(input_tokens=1)


def test_an_estimate_says_so() -> None:
    assert estimate_usage(50, 41, 3) == Usage(input_tokens=50, output_tokens=11, estimated=True)
    assert estimate_usage(50, 4, 3).output_tokens == 3
    assert estimate_usage(50, 0, 0).output_tokens == 0
