"""Streams of Anthropic: read as canonical events, and passed on to clients of the same dialect."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import sse
from keyrail.dialects.anthropic_messages import wire
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
    Ping,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.protocols import EventReader, Relay

FACTS = Facts(dialect="anthropic-messages", model="m", stream=True)
USAGE = {"input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 1}


def sent(*events: dict[str, Any]) -> bytes:
    """Events as Anthropic sends them: named, and padded with spaces."""
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}   \n\n".encode()
        for event in events
    )


def start(**usage: Any) -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "model": "claude-x", "content": [], "usage": usage or USAGE}
    return {"type": "message_start", "message": message}


def block(index: int, kind: str, *deltas: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    opening = {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [opening, *pieces, {"type": "content_block_stop", "index": index}]


def text(value: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": value}


def ending(reason: Any = "end_turn", usage: Any = None, **delta: Any) -> list[dict[str, Any]]:
    counts = {"output_tokens": 9} if usage is None else usage
    change = {"stop_reason": reason, "stop_sequence": None, **delta}
    return [{"type": "message_delta", "delta": change, "usage": counts}, {"type": "message_stop"}]


HELLO = sent(start(), *block(0, "text", text("Hé"), text("llo"), text=""), {"type": "ping"}, *ending())


def read(stream: bytes) -> tuple[list[Event], EventReader]:
    reader = wire.reader("anthropic")
    return reader.feed(stream) + reader.end(), reader


def passed(stream: bytes) -> tuple[bytes, Relay]:
    relay = wire.passing("anthropic", FACTS)
    return relay.feed(stream) + relay.end(), relay


def test_a_stream_becomes_events() -> None:
    events, reader = read(HELLO)
    begin = events[0]
    assert isinstance(begin, Begin)
    assert (begin.id, begin.model) == ("msg_1", "claude-x")
    assert begin.usage is not None
    assert begin.usage.input_tokens == 105
    assert events[1:6] == [TextPiece("Hé"), TextPiece("llo"), Boundary(), Ping(), End("stop")]
    counted = events[6]
    assert isinstance(counted, Counted)
    assert (counted.usage.input_tokens, counted.usage.output_tokens) == (105, 9)
    assert events[7:] == [Done()]
    assert reader.failure is None


def test_counts_in_message_delta_replace_those_of_the_start_and_are_never_added() -> None:
    last = {
        "input_tokens": 7,
        "cache_read_input_tokens": 90,
        "cache_creation_input_tokens": None,
        "output_tokens": 33,
    }
    stream = sent(
        start(
            input_tokens=5,
            cache_read_input_tokens=100,
            cache_creation_input_tokens=20,
            service_tier="standard",
        ),
        *block(0, "text", text("x"), text=""),
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 12}},
        *ending(usage=last),
    )
    expected = Usage(
        input_tokens=117,
        cache_read_tokens=90,
        cache_write_tokens=20,
        output_tokens=33,
        served_tier="standard",
    )
    events, _ = read(stream)
    counted = [event for event in events if isinstance(event, Counted)]
    assert counted[-1].usage.replace(raw=None) == expected
    _, relay = passed(stream)
    assert relay.usage is not None
    assert relay.usage.replace(raw=None) == expected


def test_counts_that_come_only_at_the_end_are_not_lost() -> None:
    stream = sent(start(input_tokens=0, output_tokens=0), *ending(usage={**USAGE, "input_tokens": 9033}))
    _, relay = passed(stream)
    assert relay.usage is not None
    assert relay.usage.input_tokens == 9133


def test_a_message_start_that_comes_twice_begins_one_answer() -> None:
    events, _ = read(sent(start(), start(input_tokens=6), *block(0, "text", text("x"), text=""), *ending()))
    assert sum(isinstance(event, Begin) for event in events) == 1
    counted = [event for event in events if isinstance(event, Counted)]
    assert counted[-1].usage.input_tokens == 106


def test_thinking_calls_and_thinking_again_come_in_their_order_with_seals() -> None:
    events, _ = read(
        sent(
            start(),
            *block(
                0,
                "thinking",
                {"type": "thinking_delta", "thinking": "hm"},
                {"type": "signature_delta", "signature": "s1"},
                thinking="",
                signature="",
            ),
            *block(1, "redacted_thinking", data="blob"),
            *block(
                2,
                "tool_use",
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"x":'},
                {"type": "input_json_delta", "partial_json": "1}"},
                id="c1",
                name="f",
                input={},
            ),
            *block(3, "thinking", {"type": "signature_delta", "signature": "s2"}, thinking=""),
            *block(4, "tool_use", id="c2", name="now", input={}),
            *block(5, "tool_use", id="c3", name="g", input={"whole": True}),
            *ending("tool_use"),
        )
    )
    assert events[1:-3] == [
        ThinkingPiece("hm"),
        Seal("s1", "anthropic"),
        Boundary(),
        Seal("blob", "anthropic-redacted", redacted=True),
        Boundary(),
        CallBegin(0, "c1", "f"),
        ArgumentsPiece(0, '{"x":'),
        ArgumentsPiece(0, "1}"),
        Boundary(),
        Seal("s2", "anthropic"),
        Boundary(),
        CallBegin(1, "c2", "now"),
        ArgumentsPiece(1, "{}"),
        Boundary(),
        CallBegin(2, "c3", "g"),
        ArgumentsPiece(2, '{"whole":true}'),
        Boundary(),
    ]
    assert events[-3] == End("tool_calls")


def test_the_tool_that_stands_for_structured_output_is_the_answers_text() -> None:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ('{"x":', "1}")]
    events, _ = read(
        sent(start(), *block(0, "tool_use", *deltas, id="c", name="keyrail_json_answer"), *ending("tool_use"))
    )
    assert events[1:5] == [TextPiece('{"x":'), TextPiece("1}"), Boundary(), End("stop")]


def test_citations_and_the_stop_sequence_go_along() -> None:
    citation = {"type": "char_location", "cited_text": "x"}
    delta = {"type": "citations_delta", "citation": citation}
    events, _ = read(
        sent(
            start(),
            *block(0, "text", delta, text("x"), text=""),
            *ending("stop_sequence", stop_sequence="END"),
        )
    )
    assert events[1] == CitationPiece(citation)
    assert End("stop_sequence", "END") in events


def test_a_refusal_without_words_says_its_explanation() -> None:
    details = {"type": "refusal", "explanation": "No."}
    events, _ = read(sent(start(), *ending("refusal", stop_details=details)))
    assert events[1:3] == [RefusalPiece("No."), End("content_filter")]


def test_blocks_of_hosted_tools_and_events_of_tomorrow_are_passed_over() -> None:
    events, reader = read(
        sent(
            start(),
            *block(0, "server_tool_use", {"type": "input_json_delta", "partial_json": "{}"}, id="s"),
            {"type": "of_tomorrow", "x": 1},
            *block(1, "text", text("x"), text=""),
            *ending(),
        )
    )
    assert [event for event in events if isinstance(event, TextPiece | ArgumentsPiece)] == [TextPiece("x")]
    assert reader.failure is None


def test_an_error_in_the_stream_ends_it_with_its_kind() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    stream = sent(start(), *block(0, "text", text("x"), text="")) + sent(error) + sent(*ending())
    events, reader = read(stream)
    assert not any(isinstance(event, Done | End) for event in events)
    output, relay = passed(stream)
    assert output == sent(start(), *block(0, "text", text("x"), text=""))
    for failure in (reader.failure, relay.failure):
        assert failure is not None
        assert (failure.kind, failure.error) == ("capacity", error)


@pytest.mark.parametrize("end", [0, 5, 60, len(HELLO) - 60, len(HELLO) - 30, len(HELLO) - 7])
def test_a_stream_without_message_stop_is_truncated(end: int) -> None:
    for failure in (read(HELLO[:end])[1].failure, passed(HELLO[:end])[1].failure):
        assert failure is not None
        assert failure.kind == "truncated"


def test_a_last_blank_line_that_is_missing_harms_nothing() -> None:
    assert read(HELLO.rstrip(b"\n"))[1].failure is None
    output, relay = passed(HELLO.rstrip(b"\n"))
    assert (output, relay.done, relay.failure) == (HELLO.rstrip(b"\n") + b"\n\n", True, None)


@pytest.mark.parametrize(
    "body", [b"<html>502 Bad Gateway</html>", b"Bad Gateway\n\n", b"event: message_start\ndata: {oops\n\n"]
)
def test_what_is_no_event_stream_is_garbage(body: bytes) -> None:
    for failure in (read(body)[1].failure, passed(body)[1].failure):
        assert failure is not None
        assert failure.kind == "garbage"


def test_an_error_as_plain_json_in_place_of_a_stream_is_classified() -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'
    for failure in (read(body)[1].failure, passed(body)[1].failure):
        assert failure is not None
        assert failure.kind == "rate"


def test_bad_utf8_is_never_passed_on() -> None:
    stream = HELLO.replace("é".encode(), b"\xff")
    output, relay = passed(stream)
    assert output == sent(start(), block(0, "text", text="")[0])
    assert relay.failure is not None
    assert relay.failure.kind == "garbage"


def test_an_endless_event_is_garbage() -> None:
    huge = b"data: " + b"x" * (sse.MAX_EVENT + 8)
    reader, relay = wire.reader("anthropic"), wire.passing("anthropic", FACTS)
    assert (reader.feed(huge), relay.feed(huge)) == ([], b"")
    for failure in (reader.failure, relay.failure):
        assert failure is not None
        assert failure.kind == "garbage"


def test_passing_changes_no_byte_and_watches() -> None:
    stream = b": hello\n\n" + HELLO.replace(b"\n", b"\r\n", 2)
    output, relay = passed(stream)
    assert output == stream
    assert (relay.done, relay.content, relay.finish, relay.model) == (True, True, "stop", "claude-x")
    assert (relay.output_chars, relay.events) == (5, 2)


def test_nothing_follows_the_end_of_a_stream() -> None:
    output, relay = passed(HELLO + HELLO)
    assert (output, relay.feed(HELLO), relay.end()) == (HELLO, b"", b"")
    reader = wire.reader("anthropic")
    reader.feed(HELLO)
    assert reader.feed(HELLO) + reader.end() == []


def test_content_is_seen_only_when_some_of_the_answer_is_there() -> None:
    relay = wire.passing("anthropic", FACTS)
    relay.feed(sent(start(), block(0, "text", text="")[0], {"type": "ping"}))
    assert not relay.content
    relay.feed(sent({"type": "content_block_delta", "index": 0, "delta": text("x")}))
    assert relay.content


@pytest.mark.parametrize("kind", ["redacted_thinking", "tool_use", "web_search_tool_result"])
def test_blocks_that_say_something_as_they_begin_are_content(kind: str) -> None:
    relay = wire.passing("anthropic", FACTS)
    relay.feed(sent(start(), *block(0, kind)))
    assert (relay.content, relay.events) == (True, 1)


CRLF = HELLO.replace(b"\n", b"\r\n")


@given(cuts=st.lists(st.integers(0, len(HELLO)), max_size=12), crlf=st.booleans())
def test_how_bytes_are_cut_changes_nothing(cuts: list[int], crlf: bool) -> None:
    stream = CRLF if crlf else HELLO
    borders = sorted({0, len(stream), *cuts})
    pieces = [stream[a:b] for a, b in itertools.pairwise(borders)]
    reader, relay = wire.reader("anthropic"), wire.passing("anthropic", FACTS)
    assert [event for piece in pieces for event in reader.feed(piece)] == read(HELLO)[0]
    assert b"".join(relay.feed(piece) for piece in pieces) == stream
    assert (relay.done, relay.output_chars, relay.events) == (True, 5, 2)
