"""Whole answers and their usage, from Anthropic and for clients of Anthropic."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import face, wire
from keyrail.dialects.anthropic_messages.usage import raw_of, usage_of
from keyrail.dialects.canonical.answer import Answer, Candidate
from keyrail.dialects.canonical.parts import Call, Foreign, Part, Refusal, Text, Thinking

CITATION = {
    "type": "char_location",
    "cited_text": "x",
    "document_index": 0,
    "document_title": "t",
    "start_char_index": 0,
    "end_char_index": 1,
}


def message(*content: Any, **fields: Any) -> bytes:
    return json_text.dump(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": list(content),
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 2},
            **fields,
        }
    )


def parse(body: bytes) -> Answer:
    answer = wire.parse_answer(body, "anthropic")
    assert isinstance(answer, Answer), answer
    return answer


def rendered(*parts: Part, **fields: Any) -> dict[str, Any]:
    candidate = Candidate(list(parts), fields.pop("finish", "stop"), fields.pop("stop_sequence", None))
    given: dict[str, Any] = {"id": "a-1", "model": "m", "candidates": [candidate], "usage": Usage(), **fields}
    answer = Answer(**given)
    body = face.render_answer(answer, model="fallback")
    Message.model_validate_json(body, strict=True)
    return json.loads(body)


def test_every_kind_of_block_is_read() -> None:
    server = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    answer = parse(
        message(
            {"type": "thinking", "thinking": "t", "signature": "sig"},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "text", "text": "x", "citations": [CITATION]},
            {"type": "text", "text": "y", "citations": None},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"b": 1, "a": 12345678901234567890123}},
            server,
            stop_reason="tool_use",
        )
    )
    assert answer.candidates[0].parts == [
        Thinking("t", "sig", "anthropic"),
        Thinking("", "d", "anthropic-redacted", redacted=True),
        Text("x", citations=[CITATION]),
        Text("y"),
        Call("c", "f", '{"b":1,"a":12345678901234567890123}'),
        Foreign("server_tool_use", server),
    ]
    assert (answer.id, answer.model, answer.candidates[0].finish) == ("msg_1", "claude-x", "tool_calls")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop_sequence"),
        ("pause_turn", "pause"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "context"),
        ("of_tomorrow", "stop"),
        (None, None),
        (7, None),
    ],
)
def test_each_stop_reason_has_its_finish(reason: Any, finish: Any) -> None:
    answer = parse(message({"type": "text", "text": "x"}, stop_reason=reason, stop_sequence="END"))
    assert (answer.candidates[0].finish, answer.candidates[0].stop_sequence) == (finish, "END")


def test_a_refusal_without_words_has_the_explanation_for_words() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "No."}
    answer = parse(message(stop_reason="refusal", stop_details=details))
    assert answer.candidates[0].parts == [Refusal("No.")]


def test_the_tool_that_stands_for_structured_output_is_the_answers_text() -> None:
    block = {"type": "tool_use", "id": "c", "name": "keyrail_json_answer", "input": {"x": 1}}
    answer = parse(message(block, stop_reason="tool_use"))
    assert answer.candidates[0] == Candidate([Text('{"x":1}')], "stop")


def test_an_error_inside_a_200_is_a_failure() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    failure = wire.parse_answer(body, "anthropic")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.upstream_status) == ("capacity", 200)


@pytest.mark.parametrize("body", [b"", b"  ", b"<html>", b"[]", b"null", b"{}", b'{"content":"x"}', b"\xff"])
def test_what_is_no_message_is_garbage(body: bytes) -> None:
    failure = wire.parse_answer(body, "anthropic")
    assert isinstance(failure, Failure)
    assert failure.kind == "garbage"


def test_fields_of_wrong_types_count_as_absent() -> None:
    answer = parse(
        json_text.dump(
            {
                "id": 7,
                "content": [
                    None,
                    {"type": "text", "text": None},
                    {"type": "text", "text": "x", "citations": 1},
                    {"type": "tool_use", "id": None, "name": 4, "input": [1]},
                    {"type": "thinking"},
                    {"type": ["?"]},
                ],
                "usage": [],
                "stop_sequence": {},
            }
        )
    )
    assert (answer.id, answer.model, answer.usage) == (None, None, Usage())
    assert answer.candidates[0].parts[0] == Text("x")
    call = answer.candidates[0].parts[1]
    assert isinstance(call, Call)
    assert (call.name, call.arguments) == ("", "[1]")
    assert call.id.startswith("toolu_")


def test_an_answer_is_rendered_as_the_client_knows_it() -> None:
    usage = Usage(
        input_tokens=100,
        output_tokens=20,
        cache_read_tokens=60,
        cache_write_tokens=10,
        cache_write_1h_tokens=4,
        reasoning_tokens=8,
        searches=2,
        served_tier="standard",
    )
    body = rendered(
        Thinking("t", "sig", "anthropic"),
        Text("x", citations=[CITATION, {"url": "other"}]),
        Call("c", "f", '{"q":1}'),
        usage=usage,
        finish="tool_calls",
    )
    assert body == {
        "id": "a-1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "t", "signature": "sig"},
            {"type": "text", "text": "x", "citations": [CITATION]},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"q": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 30,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 60,
            "output_tokens": 20,
            "cache_creation": {"ephemeral_5m_input_tokens": 6, "ephemeral_1h_input_tokens": 4},
            "output_tokens_details": {"thinking_tokens": 8},
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
            "service_tier": "standard",
        },
    }


def test_an_answer_without_id_and_model_gets_them_the_same_every_time() -> None:
    first = rendered(Text("x"), id=None, model=None)
    assert first["model"] == "fallback"
    assert first["id"].startswith("msg_")
    assert rendered(Text("x"), id=None, model=None)["id"] == first["id"]
    assert rendered(Text("y"), id=None, model=None)["id"] != first["id"]


def test_calls_end_an_answer_with_tool_use_whatever_the_provider_said() -> None:
    assert rendered(Call("c", "f"), finish="stop")["stop_reason"] == "tool_use"
    assert rendered(Call("c", "f"), finish=None)["stop_reason"] == "tool_use"
    assert rendered(Call("c", "f"), finish="length")["stop_reason"] == "max_tokens"


def test_arguments_that_are_no_object_are_kept_under_a_key() -> None:
    inputs = [
        rendered(Call("c", "f", text))["content"][0]["input"] for text in ("", "{oops", '"x"', '{"a":1}')
    ]
    assert inputs == [{}, {"raw_arguments": "{oops"}, {"raw_arguments": '"x"'}, {"a": 1}]


def test_a_refusal_is_text_with_its_reason_beside() -> None:
    body = rendered(Refusal("No."), finish="stop")
    assert body["content"] == [{"type": "text", "text": "No."}]
    assert (body["stop_reason"], body["stop_details"]["explanation"]) == ("refusal", "No.")


def test_empty_texts_and_parts_of_other_dialects_are_not_rendered() -> None:
    assert rendered(Text(""), Foreign("executableCode", {"type": "executableCode"}))["content"] == []


def test_no_candidate_is_an_empty_message() -> None:
    assert rendered(candidates=[])["content"] == []


def test_a_tier_of_another_provider_is_not_copied() -> None:
    assert "service_tier" not in rendered(Text("x"), usage=Usage(served_tier="flex"))["usage"]


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                "input_tokens": 5,
                "cache_creation_input_tokens": 20,
                "cache_read_input_tokens": 100,
                "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
                "output_tokens": 50,
                "output_tokens_details": {"thinking_tokens": 30},
                "server_tool_use": {"web_search_requests": 2},
                "service_tier": "priority",
            },
            Usage(
                input_tokens=125,
                output_tokens=50,
                cache_read_tokens=100,
                cache_write_tokens=20,
                cache_write_1h_tokens=5,
                reasoning_tokens=30,
                searches=2,
                served_tier="priority",
            ),
        ),
        (
            {"input_tokens": 5, "cache_creation_input_tokens": 20, "output_tokens": 1},
            Usage(input_tokens=25, output_tokens=1, cache_write_tokens=20),
        ),
        (
            {"input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 7}},
            Usage(input_tokens=12, cache_write_tokens=7, cache_write_1h_tokens=7),
        ),
        ({"output_tokens": -1, "input_tokens": "5", "cache_read_input_tokens": 3.5}, Usage()),
        ({"cache_read_input_tokens": 9}, Usage(cache_read_tokens=9)),
        ({"input_tokens": 2**80, "server_tool_use": []}, Usage()),
    ],
    ids=["all", "total-without-split", "split-without-total", "nonsense", "part-without-input", "huge"],
)
def test_cached_tokens_are_counted_once_and_the_unknown_stays_unknown(
    raw: dict[str, Any], usage: Usage
) -> None:
    assert usage_of(raw).replace(raw=None) == usage
    assert usage_of(raw).raw == raw


def test_input_is_never_negative_when_a_provider_counts_its_cache_twice() -> None:
    raw = raw_of(Usage(input_tokens=10, cache_read_tokens=30, output_tokens=1))
    assert raw["input_tokens"] == 0


def test_usage_survives_the_way_there_and_back() -> None:
    usage = Usage(
        input_tokens=100,
        output_tokens=20,
        cache_read_tokens=60,
        cache_write_tokens=10,
        cache_write_1h_tokens=4,
        reasoning_tokens=8,
        searches=1,
        served_tier="batch",
    )
    assert usage_of(raw_of(usage)).replace(raw=None) == usage
