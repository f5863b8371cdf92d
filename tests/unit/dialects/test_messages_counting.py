"""Counting the tokens of a request: the endpoint's body and answer, and the estimate where nobody counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import MessageTokensCount

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import counting, face
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import Audio, Call, Document, Foreign, Image, Result, Text, Thinking
from keyrail.dialects.canonical.request import Format, Message, Request, Tool

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_a_count_needs_no_max_tokens_and_a_message_does() -> None:
    assert counting.check(BODY) is None
    problem = face.check(BODY)
    assert problem is not None
    assert problem.param == "max_tokens"


def test_a_count_is_checked_like_a_message() -> None:
    problem = counting.check({**BODY, "messages": "hi"})
    assert problem is not None
    assert problem.param == "messages"


def test_its_facts_are_those_of_a_message_that_is_no_stream() -> None:
    facts = counting.facts({**BODY, "stream": True})
    assert (facts.model, facts.stream, facts.dialect) == ("m", False, "anthropic-messages")


def test_a_body_for_a_provider_that_counts_is_prepared_like_a_message() -> None:
    written = counting.prepare(json_text.dump(BODY), model="claude-x", quirks=Quirks())
    assert written.body == {**BODY, "model": "claude-x"}


def test_the_answer_is_what_the_official_client_reads() -> None:
    assert MessageTokensCount.model_validate_json(counting.render(2095)).input_tokens == 2095
    assert json.loads(counting.render(7)) == {"input_tokens": 7}
    assert counting.parse_answer(b'{"input_tokens": 2095, "of_tomorrow": 1}', "anthropic") == 2095


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"input_tokens":-1}', b'{"input_tokens":"7"}'])
def test_an_answer_without_a_number_is_garbage(body: bytes) -> None:
    failure = counting.parse_answer(body, "anthropic")
    assert isinstance(failure, Failure)
    assert failure.kind == "garbage"


def test_an_error_in_place_of_a_number_keeps_its_kind() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'
    failure = counting.parse_answer(body, "anthropic")
    assert isinstance(failure, Failure)
    assert failure.kind == "capacity"


def estimate(*parts: Any, **fields: Any) -> int:
    return counting.estimate(Request(messages=[Message("user", list(parts))], **fields))


def test_the_estimate_grows_with_all_that_is_sent() -> None:
    nothing = estimate()
    grown = {
        "text": estimate(Text("x" * 350)),
        "thinking": estimate(Thinking("x" * 350)),
        "call": estimate(Call("a", "f", '{"x":"' + "y" * 244 + '"}')),
        "result": estimate(Result("a", [Text("x" * 350)])),
        "image": estimate(Image(url="u")),
        "text document": estimate(Document(text="x" * 350)),
        "pages": estimate(Document("application/pdf", data="A" * 400_000)),
        "sound": estimate(Audio("A" * 40_000, "mp3")),
        "foreign": estimate(Foreign("x", {"a": "b" * 250})),
        "tool": estimate(tools=[Tool("f", "does")]),
        "format": estimate(format=Format("schema", {"type": "object"})),
    }
    assert {name: tokens - nothing for name, tokens in grown.items()} == {
        "text": 100,
        "thinking": 100,
        "call": 127,
        "result": 125,
        "image": 1_500,
        "text document": 100,
        "pages": 12_000,
        "sound": 11,
        "foreign": 104,
        "tool": 448,
        "format": 107,
    }


def test_scripts_with_more_bytes_a_character_cost_more() -> None:
    assert estimate(Text("語" * 100)) > 2 * estimate(Text("a" * 100))


def test_an_estimate_is_never_zero() -> None:
    assert counting.estimate(Request(messages=[])) == 1
