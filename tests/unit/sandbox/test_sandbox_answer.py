"""What is answered, before any fault or delay."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail_sandbox.answer import Answer, compose, split
from keyrail_sandbox.ask import Ask, Tool
from keyrail_sandbox.behaviour import parse
from keyrail_sandbox.schema import example


def _answer(
    model: str, text: str = "one two three", *, limit: int | None = None, tool: Tool | None = None
) -> Answer:
    behaviour = parse(model)
    assert behaviour is not None
    tools = (tool,) if tool else ()
    return compose(Ask(model, text, prompt_tokens=10, limit=limit, tools=tools), behaviour)


@given(st.text())
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(split(text)) == text


def test_echo_is_one_token_for_a_word() -> None:
    answer = _answer("echo")
    assert (list(answer.pieces), answer.completion_tokens, answer.finish) == (
        ["one", " two", " three"],
        3,
        "stop",
    )


def test_an_answer_longer_than_the_limit_is_cut_to_it() -> None:
    answer = _answer("echo", limit=2)
    assert ("".join(answer.pieces), answer.completion_tokens, answer.finish) == ("one two", 2, "length")


def test_an_answer_as_long_as_the_limit_is_complete() -> None:
    assert _answer("echo", limit=3).finish == "stop"


def test_reasoning_counts_against_the_limit_first() -> None:
    answer = _answer("reasoning", limit=6)
    assert (len(answer.reasoning), list(answer.pieces), answer.finish) == (5, ["one"], "length")


@pytest.mark.parametrize("size", [0, 1, 100])
def test_chunks_n_has_exactly_n_pieces(size: int) -> None:
    assert len(_answer(f"chunks-{size}").pieces) == size


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 100_000])
def test_bytes_n_has_exactly_n_bytes(size: int) -> None:
    assert len("".join(_answer(f"bytes-{size}").pieces).encode()) == size


@pytest.mark.parametrize("text", ["", "hi", "one two three four five six seven"])
def test_a_fault_after_five_chunks_has_five_chunks_to_send_first(text: str) -> None:
    assert len(_answer("cut-5", text).pieces) >= 5


def test_split_utf8_has_characters_to_split() -> None:
    assert not "".join(_answer("split-utf8").pieces).isascii()
    assert "".join(_answer("split-utf8", "grüß dich").pieces) == "grüß dich"


def test_cached_counts_half_of_the_prompt() -> None:
    assert (_answer("cached").cached_tokens, _answer("echo").cached_tokens) == (5, 0)


def test_without_a_tool_to_call_tools_echoes() -> None:
    answer = _answer("tools")
    assert ("".join(answer.pieces), answer.calls, answer.finish) == ("one two three", (), "stop")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "text"),
        ({"type": "integer"}, 1),
        ({"type": ["number", "null"]}, 1.5),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 3}, 3),
        ({"type": "object"}, {}),
        (
            {"properties": {"q": {"type": "string"}, "deep": {"type": "boolean"}}},
            {"q": "text", "deep": True},
        ),
        (
            {
                "type": "object",
                "properties": {"q": {"type": "string"}, "n": {"type": "integer"}},
                "required": ["q"],
            },
            {"q": "text"},
        ),
    ],
)
def test_arguments_fit_the_schema_of_the_tool(schema: dict[str, Any], value: Any) -> None:
    assert example(schema, "text") == value


@pytest.mark.parametrize("model", ["full", "full+reasoning"])
def test_full_uses_exactly_what_the_client_allows(model: str) -> None:
    answer = _answer(model, limit=40)
    assert (answer.completion_tokens, answer.finish) == (40, "length")
    assert "".join(_answer("full").pieces) == "one two three"
