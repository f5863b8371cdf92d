"""Canonical events, written as the stream of a chat client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import chat

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    Boundary,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    ImagePiece,
    Ping,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Image, Thinking
from keyrail.dialects.openai_chat import thoughts
from keyrail.dialects.openai_chat.reader import Reader
from keyrail.dialects.openai_chat.writer import writer

USAGE = Counted(Usage(input_tokens=7, output_tokens=5, served_tier="flex"))
BEGIN = Begin("c1", "m1", 9)


def stream(*events: Event, usage: bool = False) -> bytes:
    return writer(Facts(model="asked", stream=True, include_usage=usage), model="asked").write(list(events))


def payloads(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.decode().split("\n\n") if line.startswith("data: {")]


def deltas(*events: Event) -> list[dict[str, Any]]:
    """What the chunks between the first and the last add."""
    body = stream(BEGIN, *events, End("stop"), Done())
    chat.chunks(body)
    return [choice["delta"] for event in payloads(body)[1:-1] for choice in event["choices"]]


def test_a_stream_is_written_as_openai_writes_it() -> None:
    body = stream(BEGIN, TextPiece("Hi"), End("stop"), USAGE, Done())
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 9, "model": "m1"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    assert payloads(body) == [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "Hi"}),
        chunk({}, "stop"),
    ]
    assert body.endswith(b"data: [DONE]\n\n")


def test_usage_comes_last_and_only_when_asked_for() -> None:
    events = [BEGIN, TextPiece("Hi"), End("stop"), USAGE, Done()]
    *before, last = payloads(stream(*events, usage=True))
    assert all(event["usage"] is None for event in before)
    assert last["choices"] == []
    assert last["service_tier"] == "flex"
    assert last["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert all("usage" not in event for event in payloads(stream(*events)))
    answer = chat.assembled(stream(*events, usage=True))
    assert answer.usage is not None
    assert answer.usage.total_tokens == 12


def test_the_first_chunk_names_the_role_even_if_nothing_began() -> None:
    first, *_ = payloads(stream(TextPiece("Hi")))
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert first["model"] == "asked"
    assert first["id"].startswith("chatcmpl-")
    assert stream(BEGIN, Begin("c2")) == stream(BEGIN)


def test_thoughts_are_written_in_both_spellings_and_can_be_given_back() -> None:
    """A thought without its seal, or joined to another, is a 400 at its maker as soon as a tool is called."""
    found = deltas(
        ThinkingPiece("H"),
        ThinkingPiece("m."),
        Seal("S1", "anthropic"),
        Seal("R", "anthropic-redacted", redacted=True),
        ThinkingPiece("Next."),
        Seal("S2", "anthropic"),
        TextPiece("Hi"),
    )
    assert found[0] == {
        "reasoning_content": "H",
        "reasoning": "H",
        "reasoning_details": [{"type": "reasoning.text", "text": "H", "index": 0}],
    }
    assert found[2] == {
        "reasoning_details": [
            {"type": "reasoning.text", "signature": "S1", "format": "anthropic-claude-v1", "index": 0}
        ]
    }
    kept = [entry for delta in found for entry in delta.get("reasoning_details", ())]
    back = thoughts.read({"reasoning": "Hm.Next.", "reasoning_details": kept}, from_provider=False)
    for part in back:
        part.raw = None
    assert back == [
        Thinking("Hm.", "S1", "anthropic"),
        Thinking(seal="R", seal_kind="anthropic-redacted", redacted=True),
        Thinking("Next.", "S2", "anthropic"),
    ]


def test_seals_name_their_maker() -> None:
    entry = {"type": "reasoning.encrypted", "data": "X", "format": "unheard-of", "index": 0}
    found = deltas(
        ThinkingPiece("Short.", id="rs_1"),
        Seal("E", "openai", id="rs_1"),
        Seal("G", "gemini"),
        Seal("packed", "openrouter", raw=entry),
    )
    assert [delta["reasoning_details"][0] for delta in found] == [
        {"type": "reasoning.summary", "summary": "Short.", "index": 0},
        {
            "type": "reasoning.encrypted",
            "data": "E",
            "id": "rs_1",
            "format": "openai-responses-v1",
            "index": 0,
        },
        {"type": "reasoning.text", "signature": "G", "format": "google-gemini-v1", "index": 1},
        entry,
    ]


def test_interleaved_calls_keep_their_places() -> None:
    body = stream(
        BEGIN,
        TextPiece("Wait."),
        CallBegin(0, "t1", "f", seal="G"),
        CallBegin(1, "t2", "g", '{"b":'),
        ArgumentsPiece(0, '{"a":'),
        ArgumentsPiece(1, "2}"),
        ArgumentsPiece(0, "1}"),
        CallBegin(2, "t3", "h"),
        End("tool_calls"),
        Done(),
    )
    answer = chat.assembled(body)
    assert answer.choices[0].finish_reason == "tool_calls"
    message = answer.choices[0].message
    assert message.content == "Wait."
    assert message.tool_calls is not None
    calls = [made.model_dump() for made in message.tool_calls]
    assert [(made["id"], made["function"]["name"], made["function"]["arguments"]) for made in calls] == [
        ("t1", "f", '{"a":1}'),
        ("t2", "g", '{"b":2}'),
        ("t3", "h", "{}"),
    ]
    first = payloads(body)[2]["choices"][0]["delta"]["tool_calls"][0]
    assert first["extra_content"] == {"google": {"thought_signature": "G"}}


def test_a_custom_call_is_told_as_input() -> None:
    body = stream(BEGIN, CallBegin(0, "t", "f", custom=True), ArgumentsPiece(0, "free"))
    found = [event["choices"][0]["delta"] for event in payloads(body)[1:]]
    assert [delta["tool_calls"][0] for delta in found] == [
        {"index": 0, "id": "t", "type": "custom", "custom": {"name": "f", "input": ""}},
        {"index": 0, "custom": {"input": "free"}},
    ]


@pytest.mark.parametrize(
    ("finish", "reason"), [("stop", "tool_calls"), (None, "tool_calls"), ("length", "length")]
)
def test_a_stream_with_calls_does_not_end_as_if_there_were_none(finish: Any, reason: str) -> None:
    body = stream(BEGIN, CallBegin(0, "t", "f", "{}"), End(finish), Done())
    assert payloads(body)[-1]["choices"][0]["finish_reason"] == reason


def test_the_reason_to_finish_is_there_with_logprobs_too() -> None:
    token = {"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    body = stream(BEGIN, TextPiece("Hi", logprobs=[token]), End("stop"), Done())
    assert payloads(body)[1]["choices"][0]["logprobs"] == {"content": [token], "refusal": None}
    answer = chat.assembled(body)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].logprobs is not None


def test_the_other_pieces_have_their_places() -> None:
    source = {"type": "web_search_result_location", "url": "https://a", "title": "A"}
    found = deltas(
        RefusalPiece("No."),
        TextPiece("Hi", seal="G"),
        CitationPiece(source),
        CitationPiece({"type": "page_location"}),
        ImagePiece(Image("image/png", "aGk=")),
        Boundary(),
    )
    citation = {"url": "https://a", "title": "A", "start_index": 0, "end_index": 2}
    assert found == [
        {"refusal": "No."},
        {"content": "Hi", "extra_content": {"google": {"thought_signature": "G"}}},
        {"annotations": [{"type": "url_citation", "url_citation": citation, "index": 0}]},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}, "index": 0}]},
    ]


def test_a_sign_of_life_is_a_comment() -> None:
    assert stream(BEGIN, Ping()).endswith(b": ping\n\n")
    assert len(chat.chunks(stream(BEGIN, Ping(), End("stop"), Done()))) == 2


def test_several_candidates_are_choices() -> None:
    body = stream(BEGIN, TextPiece("a"), TextPiece("b", 1), End("stop"), End("length", candidate=1), Done())
    told = [
        (choice.index, choice.delta.content, choice.finish_reason)
        for chunk in chat.chunks(body)
        for choice in chunk.choices
    ]
    assert told == [
        (0, "", None),
        (0, "a", None),
        (1, "", None),
        (1, "b", None),
        (0, None, "stop"),
        (1, None, "length"),
    ]


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
PIECES = st.lists(
    st.one_of(
        st.builds(TextPiece, TEXT),
        st.builds(ThinkingPiece, TEXT),
        st.builds(RefusalPiece, TEXT),
    ),
    max_size=8,
)


@given(PIECES, st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=3)), max_size=3))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_again_as_it_was(
    pieces: list[Any], calls: list[tuple[str, list[str]]]
) -> None:
    events: list[Event] = [*pieces]
    for position, (name, arguments) in enumerate(calls):
        events.append(CallBegin(position, f"t{position}", name))
        events += [ArgumentsPiece(position, text) for text in arguments or ["{}"]]
    whole = [BEGIN, *events, End("tool_calls" if calls else "stop"), Done()]
    reader = Reader("mock")
    assert reader.feed(stream(*whole)) == whole
