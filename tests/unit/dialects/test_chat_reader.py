"""Chat streams of any provider, read into canonical events."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Finish
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    ImagePiece,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Image
from keyrail.dialects.openai_chat.reader import Reader

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
COUNTED = Counted(Usage(input_tokens=7, output_tokens=5, raw=USAGE))


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def delta(finish: str | None = None, index: int | None = 0, **fields: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": fields, "finish_reason": finish}
    return {"id": "c1", "model": "m1", "created": 9, "choices": [choice]}


def call(
    index: int | None = None, name: str | None = None, arguments: str | None = None, **fields: Any
) -> Any:
    piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}, **fields}
    return piece if index is None else {"index": index, **piece}


def run(*parts: bytes) -> tuple[list[Event], Reader]:
    reader = Reader("mock")
    events = [event for part in parts for event in reader.feed(part)]
    return events + reader.end(), reader


def pieces(*events: dict[str, Any]) -> list[Event]:
    """What these chunks tell, without what begins and ends every stream."""
    found, reader = run(sse(*events) + DONE)
    assert reader.failure is None
    assert isinstance(found[0], Begin)
    assert isinstance(found[-1], Done)
    return [event for event in found if not isinstance(event, Begin | Done | End | Counted)]


def test_a_stream_is_told_in_order() -> None:
    events, reader = run(
        sse(
            delta(role="assistant", content=""),
            delta(content="Hi"),
            delta("stop"),
            {"choices": [], "usage": USAGE, "service_tier": "flex"},
        )
        + DONE
    )
    assert events == [
        Begin("c1", "m1", 9),
        TextPiece("Hi"),
        End("stop"),
        Counted(Usage(input_tokens=7, output_tokens=5, served_tier="flex", raw=USAGE)),
        Done(),
    ]
    assert reader.failure is None


def test_nothing_follows_the_end() -> None:
    events, reader = run(
        sse(delta(content="Hi")) + DONE + sse(delta(content="more")), sse(delta(content="x"))
    )
    assert [type(event) for event in events] == [Begin, TextPiece, End, Done]
    assert reader.failure is None


def test_azure_begins_with_a_chunk_that_names_nothing() -> None:
    filtered = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}
    events, _ = run(sse(filtered, delta(content="Hi")) + DONE)
    assert events[0] == Begin("c1", "m1", 9)


def test_thoughts_in_several_spellings_are_told_once() -> None:
    detail = {"type": "reasoning.text", "text": "Hm", "index": 0}
    assert pieces(
        delta(reasoning_content="Hm", reasoning="Hm", reasoning_details=[detail]),
        delta(reasoning_content=".", reasoning="."),
        delta(reasoning="Hm."),
    ) == [ThinkingPiece("Hm"), ThinkingPiece(".")]
    assert pieces(delta(reasoning_details=[detail])) == [ThinkingPiece("Hm")]
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
    assert pieces(
        delta(content=[thinking]), delta(content=[{"type": "text", "text": "Hi"}]), delta(content=" you")
    ) == [
        ThinkingPiece("Hm"),
        TextPiece("Hi"),
        TextPiece(" you"),
    ]


def test_entries_of_openrouter_are_seals_of_its_own() -> None:
    empty = {
        "type": "reasoning.text",
        "text": "",
        "signature": "",
        "format": "anthropic-claude-v1",
        "index": 0,
    }
    signed = {"type": "reasoning.text", "signature": "S", "format": "anthropic-claude-v1", "index": 0}
    hidden = {"type": "reasoning.encrypted", "data": "E", "id": "rs_1", "format": "x", "index": 1}
    assert pieces(
        delta(reasoning_details=[empty]),
        delta(reasoning="Hm.", reasoning_details=[{**empty, "text": "Hm."}]),
        delta(reasoning_details=[signed]),
        delta(reasoning_details=[hidden]),
    ) == [
        ThinkingPiece("Hm."),
        Seal(
            '{"type":"reasoning.text","signature":"S","format":"anthropic-claude-v1","index":0}',
            "openrouter",
            raw=signed,
        ),
        Seal(
            '{"type":"reasoning.encrypted","data":"E","id":"rs_1","format":"x","index":1}',
            "openrouter",
            redacted=True,
            id="rs_1",
            raw=hidden,
        ),
    ]


def test_refusals_sources_images_and_signatures_are_told() -> None:
    source = {"type": "url_citation", "url_citation": {"url": "https://x"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert pieces(
        delta(refusal="No."),
        delta(content="Hi", annotations=[source]),
        delta(images=[image]),
        delta(content="", extra_content={"google": {"thought_signature": "G"}}),
    ) == [
        RefusalPiece("No."),
        TextPiece("Hi"),
        CitationPiece(source),
        ImagePiece(Image("image/png", "aGk=")),
        TextPiece("", seal="G"),
    ]


def test_logprobs_stay_with_their_words() -> None:
    chunk = delta(content="Hi")
    chunk["choices"][0]["logprobs"] = {"content": [{"token": "Hi", "logprob": -0.1}]}
    assert pieces(chunk) == [TextPiece("Hi", logprobs=[{"token": "Hi", "logprob": -0.1}])]


CALLS: dict[str, tuple[list[Any], list[Event]]] = {
    "the id in the first piece only": (
        [call(0, "f", "", id="t1"), call(0, None, '{"a"'), call(0, None, ":1}")],
        [CallBegin(0, "t1", "f"), ArgumentsPiece(0, '{"a"'), ArgumentsPiece(0, ":1}")],
    ),
    "name and id in every piece": (
        [call(0, "f", "{", id="t1"), call(0, "f", "}", id="t1")],
        [CallBegin(0, "t1", "f", "{"), ArgumentsPiece(0, "}")],
    ),
    "two calls interleaved": (
        [call(0, "f", "{", id="t1"), call(1, "g", "{", id="t2"), call(0, None, "}"), call(1, None, "}")],
        [
            CallBegin(0, "t1", "f", "{"),
            CallBegin(1, "t2", "g", "{"),
            ArgumentsPiece(0, "}"),
            ArgumentsPiece(1, "}"),
        ],
    ),
    "whole calls, all with index 0": (
        [call(0, "f", "{}", id="t1"), call(0, "g", "{}", id="t2")],
        [CallBegin(0, "t1", "f", "{}"), CallBegin(1, "t2", "g", "{}")],
    ),
    "no index": (
        [call(None, "f", "{", id="t1"), call(None, None, "}"), call(None, "g", "{}", id="t2")],
        [CallBegin(0, "t1", "f", "{"), ArgumentsPiece(0, "}"), CallBegin(1, "t2", "g", "{}")],
    ),
    "no index, but the id in every piece": (
        [call(None, "f", "{", id="t1"), call(None, "g", "{", id="t2"), call(None, None, "}", id="t1")],
        [CallBegin(0, "t1", "f", "{"), CallBegin(1, "t2", "g", "{"), ArgumentsPiece(0, "}")],
    ),
    "an index that does not begin at 0": (
        [call(3, "f", "{}", id="t1")],
        [CallBegin(0, "t1", "f", "{}")],
    ),
    "the name after the arguments began": (
        [call(0, None, "{", id="t1"), call(0, "f", "}"), call(0, None, "")],
        [CallBegin(0, "t1", "f", "{}")],
    ),
    "a custom tool": (
        [
            {"index": 0, "id": "t1", "type": "custom", "custom": {"name": "f", "input": "a"}},
            {"index": 0, "custom": {"input": "b"}},
        ],
        [CallBegin(0, "t1", "f", "a", custom=True), ArgumentsPiece(0, "b")],
    ),
    "arguments as an object": (
        [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": {"a": 1}}}],
        [CallBegin(0, "t1", "f", '{"a":1}')],
    ),
    "a signature": (
        [call(0, "f", "{}", id="t1", extra_content={"google": {"thought_signature": "G"}})],
        [CallBegin(0, "t1", "f", "{}", seal="G")],
    ),
    "a name that never comes": ([call(0, None, "{}", id="t1")], []),
}


@pytest.mark.parametrize(("given_calls", "expected"), CALLS.values(), ids=CALLS)
def test_pieces_of_calls_find_their_call(given_calls: list[Any], expected: list[Event]) -> None:
    assert pieces(*(delta(tool_calls=[piece]) for piece in given_calls)) == expected
    assert pieces(delta(tool_calls=given_calls)) == expected


def test_calls_without_ids_get_the_same_ones_each_time() -> None:
    chunk = delta(tool_calls=[call(0, "f", "{}"), call(1, "f", "{}")])
    first, second = pieces(chunk)
    assert isinstance(first, CallBegin)
    assert isinstance(second, CallBegin)
    assert first.id.startswith("call_")
    assert first.id != second.id
    assert pieces(chunk) == [first, second]


def test_a_function_call_of_earlier_days_is_told_as_a_call() -> None:
    first, second = pieces(
        delta(function_call={"name": "f", "arguments": "{"}),
        delta("function_call", function_call={"arguments": "}"}),
    )
    assert isinstance(first, CallBegin)
    assert (first.name, first.arguments, second) == ("f", "{", ArgumentsPiece(0, "}"))


@pytest.mark.parametrize(
    ("reasons", "calls", "finish"),
    [
        (["stop"], False, "stop"),
        (["", "", "stop"], False, "stop"),
        ([None, ""], False, None),
        (["stop"], True, "tool_calls"),
        ([], True, "tool_calls"),
        (["length", "length"], True, "length"),
        (["error"], False, "error"),
    ],
)
def test_each_candidate_ends_once(reasons: list[str | None], calls: bool, finish: Finish | None) -> None:
    start = delta(tool_calls=[call(0, "f", "{}", id="t")]) if calls else delta(content="Hi")
    events, _ = run(sse(start, *(delta(reason) for reason in reasons)) + DONE)
    assert [event for event in events if isinstance(event, End)] == [End(finish)]


def test_words_that_come_with_or_after_the_reason_are_told_before_the_end() -> None:
    events, _ = run(sse(delta("stop", content="Hi"), delta(content=" you")) + DONE)
    assert events[1:-1] == [TextPiece("Hi"), TextPiece(" you"), End("stop")]


def test_several_candidates_are_told_apart() -> None:
    events, _ = run(
        sse(delta(index=1, content="b"), delta(index=0, content="a"), delta("length", 1), delta("stop", 0))
        + DONE
    )
    assert events[1:-1] == [
        TextPiece("b", 1),
        TextPiece("a"),
        End("stop"),
        End("length", candidate=1),
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        [{**delta("stop"), "usage": USAGE}],
        [delta("stop"), {"choices": [], "usage": USAGE}],
        [delta("stop"), {"choices": None, "usage": USAGE}],
        [{**delta("stop"), "x_groq": {"usage": USAGE}, "usage": USAGE}, {"choices": [], "usage": USAGE}],
        [{**delta("stop"), "x_groq": {"usage": USAGE}}],
        [{**delta(content="Hi"), "usage": {"prompt_tokens": 7, "completion_tokens": 1}}, {"usage": USAGE}],
    ],
)
def test_usage_is_counted_once_wherever_it_comes(chunks: list[dict[str, Any]]) -> None:
    events, _ = run(sse(*chunks) + DONE)
    assert [event for event in events if isinstance(event, Counted)] == [COUNTED]


def test_an_error_in_the_stream_ends_it() -> None:
    error = {"message": "Rate limit reached", "type": "rate_limit_error", "code": None}
    events, reader = run(sse(delta(content="Hi"), {"error": error}, delta(content="x")) + DONE)
    assert events == [Begin("c1", "m1", 9), TextPiece("Hi")]
    assert reader.failure is not None
    assert (reader.failure.kind, reader.failure.error) == ("rate", error)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "truncated"),
        (sse(delta(content="Hi")), "truncated"),
        (sse(delta("stop", content="Hi")), "truncated"),
        (sse(delta(content="Hi")) + b'data: {"id":"c1","cho', "truncated"),
        (b": comment\n\n", "truncated"),
        (b"dat", "truncated"),
        (b"<html>no</html>", "garbage"),
        (b"data: {nonsense}\n\n", "garbage"),
        (b'data: "\xff"\n\n', "garbage"),
        (b'{"error":{"message":"boom","code":500}}', "server"),
        (b'{"error":{"message":"boom","code":500}}\n\n', "server"),
        (b'data: {"error":"The service is not available"}\n\n', "capacity"),
        (b'data: {"x_groq":{"error":{"message":"boom","code":500}}}\n\n', "server"),
        (b"data: " + b"x" * (5 << 20), "garbage"),
    ],
)
def test_a_stream_that_is_not_whole_is_a_failure(body: bytes, kind: str) -> None:
    events, reader = run(body)
    assert not any(isinstance(event, Done) for event in events)
    assert reader.failure is not None
    assert (reader.failure.kind, reader.failure.provider) == (kind, "mock")


def test_usage_is_known_although_the_stream_broke_off() -> None:
    events, reader = run(sse({**delta("stop", content="Hi"), "usage": USAGE}))
    assert events[-1] == COUNTED
    assert reader.failure is not None


@pytest.mark.parametrize(
    "end",
    [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\n\n", b"data: [DONE]\r\n\r\n", b"\ndata: [DONE]\n\n"],
)
def test_the_end_is_known_in_each_form(end: bytes) -> None:
    events, reader = run(sse(delta(content="Hi")) + end)
    assert isinstance(events[-1], Done)
    assert reader.failure is None


def test_the_end_needs_no_blank_line_and_no_closed_connection() -> None:
    reader = Reader("mock")
    assert isinstance(reader.feed(sse(delta(content="Hi")) + b"data: [DONE]")[-1], Done)
    reader = Reader("mock")
    events = reader.feed(sse(delta(content="data: [DONE]")))
    assert events[-1] == TextPiece("data: [DONE]")


STREAM = (
    b": OPENROUTER PROCESSING\n\n"
    + sse(
        delta(role="assistant", content=""),
        delta(reasoning="Grübel"),
        delta(content="Hä? 🤔"),
        delta(tool_calls=[call(0, "f", '{"ü":', id="t1"), call(1, "g", "{}", id="t2")]),
        delta(tool_calls=[call(0, None, "1}")]),
        delta("tool_calls"),
        {"choices": [], "usage": USAGE},
    ).replace(b"\\u00fc", "ü".encode())
    + DONE
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=30), st.booleans())
@settings(max_examples=150, deadline=None)
def test_how_bytes_are_cut_changes_nothing(cuts: list[int], returns: bool) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if returns else STREAM
    borders = sorted({0, len(stream), *cuts})
    events, reader = run(*(stream[start:end] for start, end in itertools.pairwise(borders)))
    assert events == run(STREAM)[0]
    assert reader.failure is None


NASTY = st.sampled_from([None, True, 5, -1.5, 2**70, "", "x", [], {}, [None], [{}], [5], {"content": None}])
IN_DELTA = [
    "role",
    "content",
    "refusal",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "tool_calls",
    "function_call",
    "images",
    "annotations",
    "extra_content",
]


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(IN_DELTA), NASTY, max_size=4),
            st.dictionaries(
                st.sampled_from(["index", "finish_reason", "logprobs", "delta"]), NASTY, max_size=2
            ),
            st.dictionaries(
                st.sampled_from(["id", "model", "created", "usage", "x_groq", "choices", "service_tier"]),
                NASTY,
                max_size=3,
            ),
        ),
        max_size=4,
    )
)
@settings(max_examples=200, deadline=None)
def test_nonsense_counts_as_absent(
    chunks: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]],
) -> None:
    bodies = [{"choices": [{"delta": inner, **choice}], **outer} for inner, choice, outer in chunks]
    events, reader = run(sse(*bodies) + DONE)
    assert reader.failure is None
    kinds = [type(event) for event in events]
    assert (kinds[0], kinds[-1]) == (Begin, Done)
    assert kinds.count(Begin) == 1
    positions = [event.position for event in events if isinstance(event, CallBegin)]
    assert len(positions) == len(set(positions))
