from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.events import (
    Begin,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    ImagePiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Image
from keyrail.dialects.gemini_generate.reader import Reader
from keyrail.dialects.protocols import EventReader
from keyrail.dialects.sse import MAX_EVENT


def chunk(*parts: dict[str, Any], finish: str | None = None, index: int | None = 0, **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts)}}
    if index is not None:
        candidate["index"] = index
    if finish is not None:
        candidate["finishReason"] = finish
    return json.dumps({"candidates": [candidate], "responseId": "r", **more}).encode()


def sse(*payloads: bytes) -> bytes:
    return b"".join(b"data: " + payload + b"\n\n" for payload in payloads)


def run(*pieces: bytes) -> tuple[list[Event], Failure | None]:
    reader: EventReader = Reader("gemini")
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.end()
    assert reader.end() == []
    assert reader.feed(sse(chunk({"text": "late"}))) == []
    return events, reader.failure


def whole(*payloads: bytes) -> list[Event]:
    events, failure = run(sse(*payloads))
    assert failure is None
    return events


def test_a_finish_that_comes_before_the_last_words_does_not_end_it() -> None:
    events = whole(chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, finish="STOP"))
    assert events == [Begin("r"), TextPiece("a"), TextPiece("b"), End("stop"), Done()]


def test_usage_is_counted_once_and_the_last_counts() -> None:
    events = whole(
        chunk({"text": "a"}, usageMetadata={"promptTokenCount": 8, "totalTokenCount": 8}),
        chunk({"text": "b"}, usageMetadata={"promptTokenCount": 8, "candidatesTokenCount": 1}),
        chunk(finish="STOP", usageMetadata={"promptTokenCount": 9, "totalTokenCount": 12}),
        b'{"usageMetadata": null}',
        b'{"usageMetadata": 4}',
    )
    counted = [event.usage for event in events if type(event) is Counted]
    assert [(usage.input_tokens, usage.output_tokens, usage.estimated) for usage in counted] == [
        (9, 3, False)
    ]


def test_usage_may_come_after_the_finish() -> None:
    events = whole(chunk({"text": "a"}, finish="STOP"), b'{"usageMetadata": {"promptTokenCount": 4}}')
    assert [type(event) for event in events] == [Begin, TextPiece, End, Counted, Done]


def test_thoughts_are_no_words_and_their_seals_follow() -> None:
    events = whole(
        chunk({"text": "Hm.", "thought": True, "thoughtSignature": "s"}),
        chunk({"text": "", "thought": True, "thoughtSignature": "t"}),
        chunk({"text": "Ah."}, finish="STOP"),
    )
    assert events[1:4] == [ThinkingPiece("Hm."), Seal("s", "gemini"), Seal("t", "gemini", redacted=True)]
    assert events[4] == TextPiece("Ah.")


def test_calls_are_numbered_and_end_as_tool_calls() -> None:
    events = whole(
        chunk({"functionCall": {"name": "f", "args": {"a": 1}, "id": "x"}, "thoughtSignature": "s"}),
        chunk({"functionCall": {"name": "g"}}),
        chunk({"text": ""}, finish="STOP"),
    )
    first, second = (event for event in events if type(event) is CallBegin)
    assert first == CallBegin(0, "x", "f", '{"a":1}', seal="s")
    assert (second.position, second.name, second.arguments) == (1, "g", "{}")
    assert second.id.startswith("call_")
    assert events[-2:] == [End("tool_calls"), Done()]


def test_pictures_and_sources_come_too() -> None:
    web = {"web": {"uri": "https://x"}}
    payload = json.loads(chunk({"inlineData": {"mimeType": "image/png", "data": "AA=="}}, finish="STOP"))
    payload["candidates"][0]["groundingMetadata"] = {"groundingChunks": [web]}
    events = whole(json.dumps(payload).encode())
    assert events[1:] == [
        ImagePiece(Image(media_type="image/png", data="AA==")),
        CitationPiece(web),
        End("stop"),
        Done(),
    ]


def test_several_answers_each_have_their_end() -> None:
    events = whole(
        chunk({"text": "a"}),
        chunk({"text": "b"}, finish="MAX_TOKENS", index=1),
        chunk(finish="STOP", index=0),
    )
    assert events[1:] == [
        TextPiece("a"),
        TextPiece("b", candidate=1),
        End("stop"),
        End("length", candidate=1),
        Done(),
    ]


def test_one_unfinished_answer_of_several_makes_it_truncated() -> None:
    events, failure = run(sse(chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, index=1)))
    assert failure is not None
    assert failure.kind == "truncated"
    assert events == [Begin("r"), TextPiece("a"), TextPiece("b", candidate=1)]


def test_a_blocked_prompt_ends_as_filtered() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    events = whole(json.dumps(blocked).encode())
    assert [type(event) for event in events] == [Begin, End, Counted, Done]
    assert events[1] == End("content_filter")


def test_a_malformed_call_is_never_shown_as_stop() -> None:
    payload = json.loads(chunk(finish="MALFORMED_FUNCTION_CALL", usageMetadata={"promptTokenCount": 4}))
    payload["candidates"][0]["finishMessage"] = "Malformed function call: f("
    events, failure = run(sse(chunk({"text": "a"}), json.dumps(payload).encode()))
    assert failure is not None
    assert (failure.kind, failure.code) == ("server", "malformed_function_call")
    assert not any(type(event) in (End, Done) for event in events)
    assert [event.usage.estimated for event in events if type(event) is Counted] == [True]


ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
PRETTY = json.dumps(ERROR, indent=2).encode()
PLAIN = json.dumps(ERROR).encode()
SPOKEN = sse(chunk({"text": "a"}))


@pytest.mark.parametrize(
    "tail",
    [
        sse(PLAIN),
        PLAIN,
        PLAIN + b"\n",
        PRETTY,
        PRETTY + b"\n\n",
        PRETTY.replace(b"\n", b"\r\n"),
        b"data: " + chunk({"text": "b"}) + b"\n" + PRETTY,
        b"event: error\ndata: " + PLAIN + b"\n\n",
    ],
    ids=["data", "bare", "bare-line", "pretty", "pretty-blank", "pretty-crlf", "after-data", "named"],
)
def test_an_error_in_any_dress_ends_the_stream(tail: bytes) -> None:
    for size in (1, 5, 10_000):
        data = SPOKEN + tail
        events, failure = run(*(data[at : at + size] for at in range(0, len(data), size)))
        assert failure is not None
        assert (failure.kind, failure.message) == ("capacity", "The model is overloaded.")
        assert (failure.error, failure.upstream_status) == (ERROR["error"], 200)
        assert events[:2] == [Begin("r"), TextPiece("a")]
        assert Done() not in events


@pytest.mark.parametrize("body", [b"[" + PRETTY + b"]", b"\n[" + PLAIN + b"\n]", PRETTY])
def test_an_error_instead_of_a_stream_is_classified(body: bytes) -> None:
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        events, failure = run(*pieces)
        assert failure is not None
        assert (events, failure.kind) == ([], "capacity")


def test_a_stream_as_one_list_is_read_when_it_has_ended() -> None:
    one, two = chunk({"text": "a"}), chunk({"text": "b"}, finish="STOP")
    expected = [Begin("r"), TextPiece("a"), TextPiece("b"), End("stop"), Done()]
    assert run(b"[" + one + b"\n,\r\n" + two + b"\n]") == (expected, None)
    assert run(one + b"\n" + two + b"\n") == (expected, None)
    _, failure = run(b"[" + one + b"\n,\r\n")
    assert failure is not None
    assert failure.kind == "truncated"


def test_a_done_marker_of_some_proxy_is_nothing() -> None:
    assert whole(chunk({"text": "a"}, finish="STOP"), b"[DONE]")[-1] == Done()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "truncated"),
        (b"\n\n", "truncated"),
        (b"da", "truncated"),
        (b": ping\n\n", "truncated"),
        (SPOKEN, "truncated"),
        (SPOKEN + b"data: {", "truncated"),
        (b"<html>no</html>", "garbage"),
        (b"upstream connect error", "garbage"),
        (sse(b"{", b"{}"), "garbage"),
        (sse(b'{"modelVersion": "\xff"}'), "garbage"),
        (sse(b"4"), "garbage"),
    ],
)
def test_what_is_no_whole_stream_is_a_failure(body: bytes, kind: str) -> None:
    events, failure = run(body)
    assert failure is not None
    assert failure.kind == kind
    assert Done() not in events


def test_an_endless_event_and_an_endless_list_are_garbage() -> None:
    reader = Reader("gemini")
    for start in (b"data: ", b"["):
        reader = Reader("gemini")
        reader.feed(start)
        for _ in range(5):
            reader.feed(b" " * (1 << 20))
        assert reader.failure is not None
        assert reader.failure.kind == "garbage"
    assert MAX_EVENT < 5 << 20


def test_fields_of_unexpected_types_count_as_absent() -> None:
    odd = b'{"candidates": [{"content": {"parts": [{"text": "a"}, 4]}, "index": -1, "finishReason": "STOP"}]}'
    typed = b'{"candidates": [{"content": {"parts": [{"text": 4}, {"text": "b"}]}, "index": "x"}]}'
    assert whole(typed, odd)[1:] == [TextPiece("b"), TextPiece("a"), End("stop"), Done()]


STREAM = sse(
    chunk({"text": "Gr"}, usageMetadata={"promptTokenCount": 1}),
    json.dumps({"candidates": [{"content": {"parts": [{"text": "üße 🎈"}]}}]}, ensure_ascii=False).encode(),
    chunk({"functionCall": {"name": "f", "args": {"ö": "{\n\n"}}}),
    chunk(finish="STOP", usageMetadata={"promptTokenCount": 1, "totalTokenCount": 9}),
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.booleans())
def test_where_the_bytes_are_cut_changes_nothing(cuts: list[int], crlf: bool) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    borders = sorted({0, len(stream), *cuts})
    pieces = [stream[start:end] for start, end in itertools.pairwise(borders)]
    assert run(*pieces) == run(STREAM)
    assert run(STREAM)[1] is None


@given(
    st.lists(
        st.sampled_from(
            [b"data:", b" ", b"{", b"}", b"[", b"]", b"\n", b"\r\n", b'"error"', b":", b"1", b","]
        )
    )
)
def test_no_bytes_break_it(pieces: list[bytes]) -> None:
    events, failure = run(*pieces)
    assert (failure is None) == (Done() in events)
