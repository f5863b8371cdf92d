"""What whole answers say, streamed or not, and whether they hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyrail.contracts.slips import Facts
from keyrail_racer import answers
from keyrail_racer.answers import Grade


def whole(content: str | None, finish: str = "stop", **more: Any) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish}]}).encode()


def streamed(*deltas: dict[str, Any], finish: str = "stop") -> bytes:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return b"".join(b"data: %b\n\n" % json.dumps(c).encode() for c in chunks) + b"data: [DONE]\n\n"


def call(arguments: str) -> list[dict[str, Any]]:
    return [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]


def graded(body: bytes, **more: Any) -> Grade:
    facts = Facts(model="m", **more)
    return answers.grade(facts, answers.read(facts, body))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("content", "finish", "wants", "expected"),
    [
        ("hi", "stop", False, Grade.VALID),
        ("hi", "length", False, Grade.CUT),
        ("hi", "content_filter", False, Grade.FILTERED),
        ("", "stop", False, Grade.EMPTY),
        ("hi", "stop", True, Grade.MALFORMED),
        ('{"a": 1}', "stop", True, Grade.VALID),
        ('{"a": 1', "length", True, Grade.CUT),
    ],
)
def test_an_answer_holds_or_not(
    stream: bool, content: str, finish: str, wants: bool, expected: Grade
) -> None:
    body = streamed({"content": content}, finish=finish) if stream else whole(content, finish)
    assert graded(body, stream=stream, json_mode=wants) == expected


@pytest.mark.parametrize(("arguments", "expected"), [('{"a":1}', Grade.VALID), ('{"a":', Grade.MALFORMED)])
def test_arguments_of_calls_are_json(arguments: str, expected: Grade) -> None:
    half = len(arguments) // 2
    first, rest = call(arguments[:half]), [{"index": 0, "function": {"arguments": arguments[half:]}}]
    body = streamed({"tool_calls": first}, {"tool_calls": rest}, finish="tool_calls")
    assert graded(body, stream=True) == expected
    assert graded(whole(None, "tool_calls", tool_calls=call(arguments))) == expected


def test_answers_mean_the_same_in_any_order_case_and_spacing() -> None:
    facts = Facts(model="m")

    def meaning(content: str) -> str:
        body = whole(content)
        return answers.meaning(answers.read(facts, body), body)

    assert meaning('{"a":1,"b":2}') == meaning('{ "b": 2, "a": 1 }')
    assert meaning("Yes, it is.") == meaning(" yes,  it is ")
    assert meaning("yes") != meaning("no")


def test_what_nobody_here_can_read_counts_as_holding() -> None:
    assert graded(b"[]", dialect="openai-embeddings") == Grade.VALID
