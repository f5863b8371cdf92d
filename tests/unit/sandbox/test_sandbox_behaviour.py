"""Names of models and what they ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail_sandbox.behaviour import MODELS, Behaviour, parse


@pytest.mark.parametrize("model", MODELS)
def test_every_listed_name_exists(model: str) -> None:
    assert parse(model) is not None


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("echo", Behaviour()),
        ("status-529", Behaviour(fault="status", status=529)),
        ("status-429+retry-after-7", Behaviour(fault="status", status=429, retry_after_s=7)),
        ("insufficient-quota", Behaviour(fault="refuse", kind="money")),
        ("context-length", Behaviour(fault="refuse", kind="context")),
        ("stall-2s", Behaviour(stall_s=2.0)),
        ("usage-always", Behaviour(unasked_usage=True)),
        ("claude-sonnet-4-6+json", Behaviour(content="json")),
        ("reasoning+gemini-3.1-pro", Behaviour(reasoning=True)),
        ("stall-500ms", Behaviour(stall_s=0.5)),
        ("slow-20ms+cut-5", Behaviour(slow_s=0.02, fault="cut", stop_after=5)),
        ("chunks-100+slow-20ms", Behaviour(content="chunks", size=100, slow_s=0.02)),
        ("error-200", Behaviour(fault="error")),
        ("error-200+after-3", Behaviour(fault="error", stop_after=3)),
        ("bytes-1024", Behaviour(content="bytes", size=1024)),
        ("flaky-3+no-done", Behaviour(flaky=3, no_done=True)),
        ("echo+stall-2s+seldom-50", Behaviour(stall_s=2.0, seldom=50)),
        ("tools+crlf+keepalive", Behaviour(content="tools", crlf=True, keepalive=True)),
        ("reasoning+cached+split-utf8", Behaviour(reasoning=True, cached=True, split_utf8=True)),
    ],
)
def test_a_name_says_what_it_does(model: str, expected: Behaviour) -> None:
    assert parse(model) == expected


def test_the_order_of_parts_does_not_matter() -> None:
    assert parse("slow-20ms+cut-5") == parse("cut-5+slow-20ms")


@pytest.mark.parametrize(
    "model",
    [
        "",
        "+",
        "echo+",
        "gpt-5.4-mini",
        "claude-sonnet-4-6",
        "Echo",
        "status",
        "status-200",
        "status-399",
        "status-600",
        "status-abc",
        "status-500ms",
        "slow-20",
        "stall-601s",
        "cut-",
        "cut--1",
        "flaky-0",
        "chunks-1000001",
    ],
)
def test_anything_else_is_no_model(model: str) -> None:
    assert parse(model) is None


@pytest.mark.parametrize(
    "model",
    [
        "echo+echo",
        "chunks-3+bytes-3",
        "tools+json",
        "status-500+hang",
        "cut-3+after-2",
        "garbage+empty",
        "slow-1ms+slow-2ms",
        "after-3",
        "garbage+after-3",
        "retry-after-3",
        "cut-3+retry-after-3",
    ],
)
def test_parts_that_contradict_each_other_or_say_nothing_are_no_model(model: str) -> None:
    assert parse(model) is None


@given(st.text(max_size=40))
def test_no_name_makes_parsing_fail(model: str) -> None:
    found = parse(model)
    assert found is None or isinstance(found, Behaviour)
