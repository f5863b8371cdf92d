"""Whole chat answers: read from any provider of the dialect, written for a client of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import chat

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Answer, Candidate, Finish
from keyrail.dialects.canonical.parts import Call, Foreign, Image, Part, Refusal, Text, Thinking
from keyrail.dialects.openai_chat.completion import parse_answer, render_answer

USAGE = Usage(input_tokens=7, output_tokens=5)


def body_of(message: dict[str, Any], finish: str | None = "stop", **fields: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"id": "c1", "model": "m1", "created": 9, "choices": [choice], **fields}).encode()


def parsed(body: bytes) -> Answer:
    answer = parse_answer(body, "mock")
    assert isinstance(answer, Answer), answer
    return answer


def parts_of(message: dict[str, Any]) -> list[Part]:
    return parsed(body_of(message)).candidates[0].parts


def test_an_answer_is_read_with_all_that_it_names() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    logprobs = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    choices = [
        {"message": {"content": "Hi"}, "finish_reason": "stop", "logprobs": logprobs},
        {"message": {"content": "Ho"}, "finish_reason": "length"},
    ]
    body = {
        "id": "c1",
        "model": "m1",
        "created": 9,
        "service_tier": "flex",
        "choices": choices,
        "usage": usage,
    }
    assert parsed(json.dumps(body).encode()) == Answer(
        id="c1",
        model="m1",
        created=9,
        candidates=[
            Candidate([Text("Hi")], "stop", logprobs=logprobs["content"]),
            Candidate([Text("Ho")], "length"),
        ],
        usage=Usage(input_tokens=7, output_tokens=5, served_tier="flex", raw=usage),
    )


MESSAGES: dict[str, tuple[dict[str, Any], list[Part]]] = {
    "nothing": ({"content": None}, []),
    "Mistral's list": (
        {
            "content": [
                {
                    "type": "thinking",
                    "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "."}],
                },
                {"type": "text", "text": "Hi"},
                {"type": "reference", "reference_ids": [1]},
                {"type": "text", "text": " you"},
            ]
        },
        [Thinking("Hm."), Text("Hi"), Text(" you")],
    ),
    "reasoning": ({"content": "Hi", "reasoning": "Hm."}, [Thinking("Hm."), Text("Hi")]),
    "reasoning_content": ({"content": "Hi", "reasoning_content": "Hm."}, [Thinking("Hm."), Text("Hi")]),
    "all spellings": (
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                {"type": "text", "text": "Hi"},
            ],
            "reasoning": "Hm.",
            "reasoning_content": "Hm.",
        },
        [Thinking("Hm."), Text("Hi")],
    ),
    "a refusal": ({"content": None, "refusal": "No."}, [Refusal("No.")]),
    "sound": ({"content": None, "audio": {"id": "a", "data": "aGk=", "transcript": "Hi"}}, [Text("Hi")]),
    "an image": (
        {
            "content": "",
            "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
        },
        [Image("image/png", "aGk=")],
    ),
    "a call": (
        {
            "content": "",
            "tool_calls": [
                {
                    "id": "t1",
                    "function": {"name": "f", "arguments": '{"a":1}'},
                    "extra_content": {"google": {"thought_signature": "G"}},
                }
            ],
        },
        [Call("t1", "f", '{"a":1}', seal="G")],
    ),
    "a call with an object": (
        {"tool_calls": [{"id": "t1", "function": {"name": "f", "arguments": {"a": 1}}}]},
        [Call("t1", "f", '{"a":1}')],
    ),
    "a custom call": (
        {"tool_calls": [{"id": "t1", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        [Call("t1", "f", "x", custom=True)],
    ),
    "calls that are none": ({"content": "Hi", "tool_calls": [None, {}, {"id": "t"}]}, [Text("Hi")]),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_read_in_whichever_form_it_comes(message: dict[str, Any], expected: list[Part]) -> None:
    assert parts_of(message) == expected


def test_a_function_call_of_earlier_days_is_a_call() -> None:
    (call,) = parts_of({"content": None, "function_call": {"name": "f", "arguments": "{}"}})
    assert isinstance(call, Call)
    assert (call.name, call.arguments) == ("f", "{}")
    assert call.id.startswith("call_")


def test_entries_of_openrouter_are_kept_whole_as_seals() -> None:
    summary = {"type": "reasoning.summary", "summary": "Short.", "format": "openai-responses-v1", "index": 0}
    sealed = {"type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1", "index": 0}
    (thought, text) = parts_of(
        {"content": "Hi", "reasoning": "Short.", "reasoning_details": [summary, sealed]}
    )
    assert text == Text("Hi")
    packed = '{"type":"reasoning.encrypted","data":"E","format":"openai-responses-v1","index":0}'
    assert thought == Thinking("Short.", packed, "openrouter", raw=sealed)


def test_sources_hang_on_the_text() -> None:
    source = {"type": "url_citation", "url_citation": {"url": "https://x", "title": "X"}}
    assert parts_of({"content": "Hi", "annotations": [source]}) == [Text("Hi", citations=[source])]


@pytest.mark.parametrize(
    ("reason", "calls", "finish"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("length", True, "length"),
        ("model_length", False, "context"),
        ("function_call", True, "tool_calls"),
        ("content_filter", False, "content_filter"),
        ("error", False, "error"),
        ("MAX_TOKENS", False, "length"),
        ("whatever", False, "stop"),
        ("", False, None),
        (None, False, None),
        (None, True, "tool_calls"),
    ],
)
def test_finish_reasons_are_read(reason: str | None, calls: bool, finish: Finish | None) -> None:
    message = {"tool_calls": [{"id": "t", "function": {"name": "f"}}]} if calls else {"content": "Hi"}
    assert parsed(body_of(message, reason)).candidates[0].finish == finish


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "garbage", 502),
        (b"<html>", "garbage", 502),
        (b"[]", "garbage", 502),
        (b'{"choices":null}', "garbage", 502),
        (b'{"object":"list"}', "garbage", 502),
        (b'\xff{"choices":[]}', "garbage", 502),
        (b'{"code":"x","error":"The service is not available"}', "capacity", 503),
        (b'{"error":{"message":"boom","code":502},"choices":null}', "server", 502),
    ],
)
def test_what_is_no_answer_is_a_failure(body: bytes, kind: str, status: int) -> None:
    failure = parse_answer(body, "mock")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status, failure.provider) == (kind, status, "mock")


def test_an_answer_without_choices_has_one_empty_candidate() -> None:
    assert parsed(b'{"choices":[]}').candidates == [Candidate([])]


def test_usage_is_counted_once_where_groq_says_it_twice() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    answer = parsed(body_of({"content": "Hi"}, usage=usage, x_groq={"usage": usage}))
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 5)
    alone = parsed(body_of({"content": "Hi"}, x_groq={"usage": usage}))
    assert alone.usage == answer.usage


def rendered(*parts: Part, finish: Finish | None = "stop", **fields: Any) -> dict[str, Any]:
    answer = Answer(id="c1", candidates=[Candidate(list(parts), finish)], usage=USAGE)
    body = render_answer(answer, model="asked", **fields)
    chat.parse(body)
    return json.loads(body)


def test_an_answer_is_written_whole() -> None:
    thinking = [
        Thinking("Hm.", "S", "anthropic"),
        Thinking(seal="R", seal_kind="anthropic-redacted", redacted=True),
    ]
    body = rendered(*thinking, Text("Hi", seal="T"), Call("t1", "f", seal="G"), created=5)
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hi",
                "refusal": None,
                "reasoning_content": "Hm.",
                "reasoning": "Hm.",
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "signature": "S",
                        "format": "anthropic-claude-v1",
                        "index": 0,
                        "text": "Hm.",
                    },
                    {"type": "reasoning.encrypted", "data": "R", "format": "anthropic-claude-v1", "index": 1},
                ],
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "S"},
                    {"type": "redacted_thinking", "data": "R"},
                ],
                "tool_calls": [
                    {
                        "id": "t1",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "G"}},
                    }
                ],
                "extra_content": {"google": {"thought_signature": "T"}},
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ]
    assert (body["id"], body["object"], body["created"], body["model"]) == (
        "c1",
        "chat.completion",
        5,
        "asked",
    )
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("context", "length"),
        ("content_filter", "content_filter"),
        ("pause", "stop"),
        (None, "stop"),
    ],
)
def test_finish_reasons_are_written(finish: Finish | None, reason: str) -> None:
    assert rendered(Text("Hi"), finish=finish)["choices"][0]["finish_reason"] == reason


def test_a_provider_that_gave_up_is_not_shown_as_an_ordinary_stop() -> None:
    answer = Answer(candidates=[Candidate([Text("Hi")], "error")], usage=USAGE)
    assert json.loads(render_answer(answer, model="m"))["choices"][0]["finish_reason"] == "error"


def test_what_the_model_said_stands_where_clients_look_for_it() -> None:
    message = rendered(Refusal("No."), Foreign("server_tool_use"))["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "No.")
    assert rendered()["choices"][0]["message"]["content"] == ""
    called = rendered(Call("t", "f", "x", custom=True))["choices"][0]["message"]
    assert called["content"] is None
    assert called["tool_calls"] == [{"id": "t", "type": "custom", "custom": {"name": "f", "input": "x"}}]
    drawn = rendered(Image("image/png", "aGk=", seal="G"))["choices"][0]["message"]
    assert drawn["images"] == [
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,aGk="},
            "index": 0,
            "extra_content": {"google": {"thought_signature": "G"}},
        }
    ]


def test_sources_of_every_dialect_become_citations_of_their_text() -> None:
    anthropic = {"type": "web_search_result_location", "url": "https://a", "title": "A", "cited_text": "x"}
    gemini = {"web": {"uri": "https://g", "title": "G"}}
    responses = {"type": "url_citation", "url": "https://o", "title": "O", "start_index": 1, "end_index": 2}
    page = {"type": "page_location", "document_index": 0}
    first = Text("One. ", citations=[anthropic, page])
    message = rendered(first, Text("Two.", citations=[gemini, responses]))["choices"][0]["message"]
    assert message["content"] == "One. Two."
    assert [note["url_citation"] for note in message["annotations"]] == [
        {"url": "https://a", "title": "A", "start_index": 0, "end_index": 5},
        {"url": "https://g", "title": "G", "start_index": 5, "end_index": 9},
        {"url": "https://o", "title": "O", "start_index": 1, "end_index": 2},
    ]


def test_several_candidates_are_choices_with_their_logprobs() -> None:
    token = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
    candidates = [Candidate([Text("Hi")], "stop", logprobs=[token]), Candidate([Text("Ho")], "length")]
    answer = chat.parse(render_answer(Answer(candidates=candidates, usage=USAGE), model="m"))
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert [choice.message.content for choice in answer.choices] == ["Hi", "Ho"]
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.content is not None
    assert answer.choices[0].logprobs.content[0].token == "Hi"


@pytest.mark.parametrize(
    ("served", "shown"), [("priority", "priority"), ("on_demand", "default"), ("batch", None), (None, None)]
)
def test_the_tier_is_shown_in_words_that_clients_know(served: str | None, shown: str | None) -> None:
    answer = Answer(candidates=[Candidate([Text("Hi")])], usage=Usage(served_tier=served))
    assert json.loads(render_answer(answer, model="m")).get("service_tier") == shown


def test_an_answer_without_an_id_gets_the_same_one_each_time() -> None:
    answer = Answer(candidates=[Candidate([Text("Hi")])], usage=USAGE)
    first, again = (json.loads(render_answer(answer, model="m"))["id"] for _ in range(2))
    assert first == again
    assert first.startswith("chatcmpl-")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(), None),
        (Usage(input_tokens=5), {"prompt_tokens": 5}),
        (
            Usage(
                input_tokens=10,
                output_tokens=4,
                cache_read_tokens=6,
                cache_write_tokens=2,
                reasoning_tokens=3,
                audio_input_tokens=1,
                audio_output_tokens=0,
            ),
            {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 2, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0},
            },
        ),
    ],
)
def test_usage_is_written_as_far_as_it_is_known(usage: Usage, expected: dict[str, Any] | None) -> None:
    """The prompt of a cached request counts whole: `total_tokens` is the sum of the two."""
    answer = Answer(candidates=[Candidate([Text("Hi")])], usage=usage)
    assert json.loads(render_answer(answer, model="m")).get("usage") == expected


NASTY = st.sampled_from(
    [None, True, 5, -1.5, "", "x", [], {}, [None], [{}], {"content": None}, [{"type": "text"}]]
)
FIELDS = [
    "content",
    "refusal",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "tool_calls",
    "function_call",
    "images",
    "audio",
]


@given(
    st.dictionaries(st.sampled_from(FIELDS), NASTY, max_size=5),
    st.dictionaries(st.sampled_from(["id", "model", "created", "usage", "x_groq", "service_tier"]), NASTY),
    st.dictionaries(st.sampled_from(["index", "finish_reason", "logprobs"]), NASTY),
)
@settings(max_examples=200, deadline=None)
def test_nonsense_counts_as_absent(
    message: dict[str, Any], fields: dict[str, Any], choice: dict[str, Any]
) -> None:
    body = json.dumps({**fields, "choices": [{"message": message, **choice}, None]}).encode()
    answer = parse_answer(body, "mock")
    assert isinstance(answer, Answer)
    assert json.loads(render_answer(answer, model="m"))["choices"][1]["message"]["content"] == ""
