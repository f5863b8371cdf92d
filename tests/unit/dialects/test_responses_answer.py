from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.responses_sdk import answer_of

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Answer, Candidate
from keyrail.dialects.canonical.parts import Call, Foreign, Image, Part, Refusal, Text, Thinking
from keyrail.dialects.openai_responses import face, inbound_items, wire
from keyrail.dialects.openai_responses.usage import usage_in, usage_of

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}
COUNTED = Usage(
    input_tokens=100, output_tokens=20, cache_read_tokens=40, cache_write_tokens=10, reasoning_tokens=5
)


def body(output: list[Any], **fields: Any) -> bytes:
    found = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": "gpt-5.4",
        "status": "completed",
        "output": output,
        "usage": USAGE,
        **fields,
    }
    return json.dumps(found).encode()


def parse(output: list[Any], **fields: Any) -> Answer:
    answer = wire.parse_answer(body(output, **fields), "openai")
    assert isinstance(answer, Answer), answer
    return answer


def render(*parts: Part, **fields: Any) -> dict[str, Any]:
    candidate = Candidate(
        parts=list(parts), finish=fields.pop("finish", "stop"), logprobs=fields.pop("logprobs", None)
    )
    answer = Answer(id="msg_01", candidates=[candidate], usage=fields.pop("usage", COUNTED))
    rendered = face.render_answer(answer, model="claude", **fields)
    assert answer_of(rendered).id == "resp_msg_01"
    return json.loads(rendered)


def test_an_answer_with_everything() -> None:
    logprob = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
    note = {"type": "url_citation", "url": "https://e.org", "title": "E", "start_index": 0, "end_index": 2}
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    summary = [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]
    answer = parse(
        [
            {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "gAAAA"},
            {
                "type": "reasoning",
                "id": "rs_2",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "T"}],
            },
            {"type": "reasoning", "id": "rs_3", "summary": []},
            searched,
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "Hi", "annotations": [note], "logprobs": [logprob]},
                    {"type": "refusal", "refusal": "No."},
                ],
            },
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "p", "input": "free"},
            {"type": "image_generation_call", "id": "ig_1", "result": "QUJD", "output_format": "webp"},
        ],
        service_tier="flex",
        tool_usage={"web_search": {"num_requests": 1}},
    )
    assert (answer.id, answer.model, answer.created) == ("resp_1", "gpt-5.4", 1_700_000_000)
    assert answer.candidates == [
        Candidate(
            parts=[
                Thinking("One.\n\nTwo.", seal="gAAAA", seal_kind="openai", id="rs_1"),
                Thinking("T", id="rs_2"),
                Foreign("web_search_call", searched),
                Text("Hi", citations=[note]),
                Refusal("No."),
                Call("c1", "f", "{}"),
                Call("c2", "p", "free", custom=True),
                Image(media_type="image/webp", data="QUJD"),
            ],
            finish="tool_calls",
            logprobs=[logprob],
        )
    ]
    assert answer.usage == COUNTED.replace(raw=USAGE, served_tier="flex", searches=1)


@pytest.mark.parametrize(
    ("fields", "finish"),
    [
        ({}, "stop"),
        ({"status": "complete"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": None}, "length"),
    ],
)
def test_how_a_response_ended(fields: dict[str, Any], finish: str) -> None:
    assert parse([], **fields).candidates[0].finish == finish


@pytest.mark.parametrize(
    ("given_body", "kind"),
    [
        (b"", "garbage"),
        (b"<html>", "garbage"),
        (b"[]", "garbage"),
        (b'{"choices":[]}', "garbage"),
        (body([], status="queued"), "garbage"),
        (body([], status="in_progress"), "garbage"),
        (body([], status="failed", error={"code": "server_error", "message": "No."}), "server"),
        (body([], status="failed", error=None), "server"),
        (b'{"code":"unavailable","error":"The service is not available."}', "capacity"),
        (b'{"error":{"message":"slow down","code":429}}', "rate"),
    ],
)
def test_what_is_no_answer_is_never_an_empty_200(given_body: bytes, kind: str) -> None:
    failure = wire.parse_answer(given_body, "openai")
    assert isinstance(failure, Failure)
    assert failure.kind == kind


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(
    ["message", "reasoning", "function_call", "custom_tool_call", "image_generation_call"]
)
fields = ("id", "content", "summary", "encrypted_content", "call_id", "name", "arguments", "input", "result")
items = (
    st.fixed_dictionaries({}, optional={"type": kinds, **dict.fromkeys(fields, json_values)}) | json_values
)
responses = st.fixed_dictionaries(
    {"output": st.lists(items, max_size=3)},
    optional=dict.fromkeys(
        ("id", "model", "created_at", "status", "usage", "error", "incomplete_details", "tool_usage"),
        json_values,
    ),
)


@settings(max_examples=60, deadline=None)
@given(responses)
def test_a_providers_nonsense_breaks_nothing(response: dict[str, Any]) -> None:
    answer = wire.parse_answer(json.dumps(response).encode(), "openai")
    if isinstance(answer, Answer):
        answer_of(face.render_answer(answer, model="m"))
    else:
        assert isinstance(answer, Failure)


def test_the_response_object_repeats_the_request_and_is_not_stored() -> None:
    request = {
        "model": "anthropic/claude",
        "input": "x",
        "instructions": "Be brief.",
        "store": True,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 99,
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
        "tool_choice": "required",
        "text": {"verbosity": "low"},
        "reasoning": {"effort": "low"},
        "truncation": "auto",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "user": "u",
        "service_tier": "flex",
    }
    found = render(Text("Hi"), request=request, created=1_700_000_000)
    assert found.pop("id") == "resp_msg_01"
    assert found.pop("output")[0]["content"][0]["text"] == "Hi"
    assert found.pop("usage") == USAGE
    assert found == {
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": "claude",
        "previous_response_id": None,
        "reasoning": {"effort": "low", "summary": None},
        "service_tier": None,
        "store": False,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "instructions": "Be brief.",
        "max_output_tokens": 99,
        "max_tool_calls": None,
        "temperature": 0.5,
        "top_p": 0.9,
        "prompt_cache_key": "k",
        "prompt_cache_retention": None,
        "safety_identifier": "s",
        "user": "u",
        "parallel_tool_calls": False,
        "tool_choice": "required",
        "tools": request["tools"],
        "metadata": {"a": "b"},
        "top_logprobs": 0,
        "truncation": "auto",
    }


def test_thoughts_calls_and_words_are_items_in_their_order() -> None:
    found = render(
        Thinking("Hm.\n\nSo.", seal="sig", seal_kind="anthropic"),
        Text("Let me see. "),
        Text("Wait."),
        Call("c1", "f", '{"a":1}'),
        Call("c2", "g"),
        Thinking("Unsealed."),
        Refusal("No."),
        finish="tool_calls",
    )
    output = found["output"]
    assert [item["type"] for item in output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "reasoning",
        "message",
    ]
    assert output[0]["summary"] == [{"type": "summary_text", "text": "Hm.\n\nSo."}]
    assert [part["text"] for part in output[1]["content"]] == ["Let me see. ", "Wait."]
    assert [item["arguments"] for item in output[2:4]] == ['{"a":1}', "{}"]
    assert output[4]["encrypted_content"] is None
    assert output[5]["content"] == [{"type": "refusal", "refusal": "No."}]
    prefixes = [item["id"].split("_")[0] for item in output]
    assert prefixes == ["rs", "msg", "fc", "fc", "rs", "msg"]
    assert len({item["id"] for item in output}) == 6
    assert found == render(
        Thinking("Hm.\n\nSo.", seal="sig", seal_kind="anthropic"),
        Text("Let me see. "),
        Text("Wait."),
        Call("c1", "f", '{"a":1}'),
        Call("c2", "g"),
        Thinking("Unsealed."),
        Refusal("No."),
        finish="tool_calls",
    )


def test_foreign_seals_come_back_as_they_went() -> None:
    parts: list[Part] = [
        Thinking("Hm.", seal="sig", seal_kind="anthropic"),
        Thinking(seal="xyz", seal_kind="anthropic-redacted", redacted=True),
        Thinking("t", seal="abc", seal_kind="openrouter", raw={"type": "reasoning.text", "text": "t"}),
        Text("Hi", seal="gem-1"),
        Call("c1", "f", "{}", seal="gem-2"),
        Image(media_type="image/png", data="QUJD", seal="gem-3"),
    ]
    turns = inbound_items.Turns()
    turns.read(render(*parts)["output"])
    assert turns.messages[0].parts == parts


@pytest.mark.parametrize(
    ("finish", "status", "reason", "last"),
    [
        ("stop", "completed", None, "completed"),
        ("stop_sequence", "completed", None, "completed"),
        ("tool_calls", "completed", None, "completed"),
        ("pause", "completed", None, "completed"),
        (None, "completed", None, "completed"),
        ("length", "incomplete", "max_output_tokens", "incomplete"),
        ("context", "incomplete", "max_output_tokens", "incomplete"),
        ("content_filter", "incomplete", "content_filter", "incomplete"),
        ("error", "failed", None, "completed"),
    ],
)
def test_what_a_finish_is_called_here(finish: Any, status: str, reason: str | None, last: str) -> None:
    found = render(Text("Hi"), finish=finish)
    assert found["status"] == status
    assert (found["incomplete_details"] or {}).get("reason") == reason
    assert found["output"][0]["status"] == last
    assert (found["error"] is not None) == (status == "failed")


def test_a_custom_tool_that_was_called_as_a_function_is_one_again() -> None:
    request = {"model": "m", "input": "x", "tools": [{"type": "custom", "name": "p"}]}
    found = render(
        Call("c1", "p", '{"input":"*** Begin"}'), Call("c2", "p", "free", custom=True), request=request
    )
    assert [(item["type"], item["input"]) for item in found["output"]] == [
        ("custom_tool_call", "*** Begin"),
        ("custom_tool_call", "free"),
    ]


def test_citations_become_annotations_where_they_have_an_address() -> None:
    chat = {
        "type": "url_citation",
        "url_citation": {"url": "https://e.org", "title": "E", "start_index": 1, "end_index": 2},
    }
    claude = {"type": "web_search_result_location", "url": "https://f.org", "title": "F", "cited_text": "x"}
    page = {"type": "page_location", "cited_text": "x"}
    part = render(Text("Hello", citations=[chat, claude, page, "nonsense"]))["output"][0]["content"][0]
    assert [(note["url"], note["start_index"], note["end_index"]) for note in part["annotations"]] == [
        ("https://e.org", 1, 2),
        ("https://f.org", 0, 5),
    ]


def test_log_probabilities_are_with_the_text() -> None:
    logprobs = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]
    assert render(Text("Hi"), logprobs=logprobs)["output"][0]["content"][0]["logprobs"] == logprobs


def test_unknown_usage_is_null_and_never_zero_tokens() -> None:
    assert render(Text("Hi"), usage=Usage())["usage"] is None
    assert render(Text("Hi"), usage=Usage(output_tokens=5))["usage"] is None
    assert usage_in(Usage(input_tokens=1, output_tokens=2)) == {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 3,
    }


def test_usage_of_xai_counts_reasoning_inside_and_keeps_the_billed_ticks() -> None:
    raw = {
        "input_tokens": 32,
        "input_tokens_details": {"cached_tokens": 6},
        "output_tokens": 200,
        "output_tokens_details": {"reasoning_tokens": 190},
        "total_tokens": 232,
        "num_sources_used": 0,
        "cost_in_usd_ticks": 158_500,
    }
    usage = usage_of(raw)
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (32, 200, 190)
    assert usage.raw == raw
    beside = usage_of({**raw, "output_tokens": 10, "total_tokens": 232})
    assert beside.output_tokens == 200


@pytest.mark.parametrize(
    "value", [None, [], "x", {"input_tokens": -1, "output_tokens": True}, {"input_tokens": 1e9}]
)
def test_usage_that_is_nonsense_is_unknown(value: object) -> None:
    usage = usage_of(value, served_tier=7, tools=[])
    assert (usage.input_tokens, usage.output_tokens, usage.served_tier, usage.searches) == (None,) * 4
