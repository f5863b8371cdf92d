"""How much to think: between this dialect's words, the canonical form and what each model takes."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail.dialects.anthropic_messages import face, wire
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import Call, Result, Text, Thinking
from keyrail.dialects.canonical.request import Choice, Message, Reasoning, Request, Tool, Written

BASE: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]}
ADAPTIVE = {"type": "adaptive"}


def write(reasoning: Reasoning | None, model: str, **fields: Any) -> Written:
    messages = fields.pop("messages", [Message("user", [Text("q")])])
    request = Request(messages=messages, reasoning=reasoning, **fields)
    written = wire.write_request(request, model=model, quirks=Quirks())
    assert isinstance(written, Written), written
    return written


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({}, None),
        ({"output_config": {"effort": "low"}}, Reasoning(effort="low")),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
            Reasoning(enabled=True, budget=2_000, show=True),
        ),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
            Reasoning(enabled=True, effort="max", show=False),
        ),
        ({"thinking": {"type": "adaptive"}}, Reasoning(enabled=True)),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, Reasoning(enabled=True, show=True)),
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False)),
        ({"thinking": {"type": "between_tools"}}, Reasoning(enabled=False)),
    ],
)
def test_each_form_of_thinking_is_read(fields: dict[str, Any], reasoning: Reasoning | None) -> None:
    request = face.read_request({**BASE, **fields})
    assert isinstance(request, Request)
    assert request.reasoning == reasoning


@pytest.mark.parametrize(
    ("reasoning", "model", "thinking", "effort"),
    [
        (None, "claude-opus-5", None, None),
        (Reasoning(), "claude-opus-5", None, None),
        (Reasoning(effort="high"), "claude-opus-5", ADAPTIVE, "high"),
        (Reasoning(effort="minimal"), "claude-sonnet-4-6", ADAPTIVE, "low"),
        (Reasoning(effort="xhigh"), "claude-sonnet-4-6", ADAPTIVE, "max"),
        (Reasoning(effort="xhigh"), "claude-opus-4-7", ADAPTIVE, "xhigh"),
        (Reasoning(enabled=True), "claude-opus-4-8", ADAPTIVE, None),
        (
            Reasoning(enabled=True, show=True),
            "claude-opus-4-8",
            {**ADAPTIVE, "display": "summarized"},
            None,
        ),
        (Reasoning(enabled=True, show=True), "claude-opus-4-6", ADAPTIVE, None),
        (Reasoning(enabled=True, show=False), "claude-opus-4-6", {**ADAPTIVE, "display": "omitted"}, None),
        (Reasoning(effort="none"), "claude-opus-5", {"type": "disabled"}, None),
        (Reasoning(enabled=False), "claude-sonnet-5-5", {"type": "between_tools"}, None),
        (Reasoning(budget=0), "claude-sonnet-4-5", {"type": "disabled"}, None),
        (Reasoning(enabled=False), "claude-3-5-haiku-latest", None, None),
        (Reasoning(budget=3_000), "claude-opus-4-6", {"type": "enabled", "budget_tokens": 3_000}, None),
        (Reasoning(budget=500), "claude-sonnet-4-5", {"type": "enabled", "budget_tokens": 1_024}, None),
        (Reasoning(effort="low"), "claude-sonnet-4-5", {"type": "enabled", "budget_tokens": 2_048}, None),
        (Reasoning(effort="max"), "claude-opus-4-5", {"type": "enabled", "budget_tokens": 32_768}, "high"),
        (Reasoning(enabled=True), "claude-haiku-4-5", {"type": "enabled", "budget_tokens": 10_000}, None),
    ],
)
def test_each_model_is_asked_in_its_own_words(
    reasoning: Reasoning | None, model: str, thinking: Any, effort: str | None
) -> None:
    written = write(reasoning, model)
    assert written.body.get("thinking") == thinking
    assert written.body.get("output_config", {}).get("effort") == effort
    assert written.dropped == ()


def test_a_budget_becomes_an_effort_where_budgets_are_refused_and_is_named() -> None:
    efforts = {
        budget: write(Reasoning(budget=budget), "claude-opus-4-7").body["output_config"]["effort"]
        for budget in (1_024, 2_048, 9_000, 16_000, 30_000, 60_000)
    }
    assert list(efforts.values()) == ["low", "low", "medium", "high", "xhigh", "max"]
    assert write(Reasoning(budget=9_000), "claude-opus-4-7").dropped == ("reasoning.budget",)


def test_thinking_that_nothing_switches_off_is_kept_low_and_named() -> None:
    for model in ("claude-fable-5", "claude-mythos-5-1", "claude-opus-5-5"):
        written = write(Reasoning(enabled=False), model)
        assert "thinking" not in written.body
        assert written.body["output_config"] == {"effort": "low"}
        assert written.dropped == ("reasoning",)


def test_models_that_can_not_think_are_not_asked() -> None:
    written = write(Reasoning(effort="high"), "claude-3-5-sonnet-20241022")
    assert "thinking" not in written.body
    assert written.dropped == ("reasoning",)


@pytest.mark.parametrize(
    ("max_tokens", "budget"), [(None, 16_384), (20_000, 16_384), (16_384, 8_192), (1_500, 1_024)]
)
def test_the_budget_stays_below_max_tokens(max_tokens: int | None, budget: int) -> None:
    body = write(Reasoning(effort="high"), "claude-sonnet-4-5", max_tokens=max_tokens).body
    assert body["thinking"]["budget_tokens"] == budget < body["max_tokens"]


def test_a_probe_with_few_tokens_is_answered_without_thinking() -> None:
    written = write(Reasoning(effort="high"), "claude-sonnet-4-5", max_tokens=500)
    assert "thinking" not in written.body
    assert (written.body["max_tokens"], written.dropped) == (500, ("reasoning",))


def test_the_usual_max_tokens_has_room_for_the_budget_and_keeps_the_limit() -> None:
    body = write(Reasoning(effort="high"), "claude-opus-4-1").body
    assert (body["max_tokens"], body["thinking"]["budget_tokens"]) == (24_576, 16_384)
    body = write(Reasoning(effort="max"), "claude-opus-4-1").body
    assert (body["max_tokens"], body["thinking"]["budget_tokens"]) == (24_192, 16_000)


def test_sampling_is_left_out_while_thinking_is_on() -> None:
    written = write(Reasoning(effort="low"), "claude-sonnet-4-5", temperature=0.2, top_k=4)
    assert not {"temperature", "top_k"} & written.body.keys()
    assert written.dropped == ("temperature", "top_k")
    off = write(Reasoning(enabled=False), "claude-sonnet-4-5", temperature=0.2)
    assert off.body["temperature"] == 0.2


def test_a_forced_call_wins_over_thinking_with_a_budget_and_lives_with_adaptive() -> None:
    fields: dict[str, Any] = {"tools": [Tool("f")], "choice": Choice("required")}
    forced = write(Reasoning(effort="low"), "claude-sonnet-4-5", **fields)
    assert "thinking" not in forced.body
    assert forced.dropped == ("reasoning",)
    adaptive = write(Reasoning(effort="low"), "claude-sonnet-4-6", **fields)
    assert adaptive.body["thinking"] == ADAPTIVE
    assert adaptive.dropped == ()


def history(*thoughts: Thinking) -> list[Message]:
    return [
        Message("user", [Text("q")]),
        Message("assistant", [*thoughts, Call("a", "f", "{}")]),
        Message("user", [Result("a", [Text("r")])]),
    ]


def test_thoughts_lost_by_the_client_do_not_break_the_next_step_of_a_tool_loop() -> None:
    lost = write(Reasoning(effort="low"), "claude-sonnet-4-5", messages=history())
    assert "thinking" not in lost.body
    assert lost.dropped == ("reasoning",)
    kept = write(
        Reasoning(effort="low"), "claude-sonnet-4-5", messages=history(Thinking("t", "s", "anthropic"))
    )
    assert kept.body["thinking"]["type"] == "enabled"
    assert kept.body["messages"][1]["content"][0]["type"] == "thinking"
    adaptive = write(Reasoning(effort="low"), "claude-opus-4-6", messages=history())
    assert adaptive.body["thinking"] == ADAPTIVE
    new_turn = write(
        Reasoning(effort="low"),
        "claude-sonnet-4-5",
        messages=[*history(), Message("assistant", [Text("a")]), Message("user", [Text("next")])],
    )
    assert new_turn.body["thinking"]["type"] == "enabled"


def test_names_with_a_maker_dots_or_a_date_are_the_same_model() -> None:
    for model in ("anthropic/claude-opus-4.7", "claude-opus-4-7-20260416", "Claude-Opus-4-7"):
        assert write(Reasoning(effort="xhigh"), model).body["output_config"] == {"effort": "xhigh"}
