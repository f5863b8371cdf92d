"""Canonical events as a stream of Messages events, and what Anthropic's own client makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import APIStatusError
from support.messages import payloads, through_sdk

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.anthropic_messages import face
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

FACTS = Facts(dialect="anthropic-messages", model="openai/gpt", stream=True, input_tokens_estimate=41)
USAGE = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=60, cache_write_tokens=10)
END: list[Event] = [End("stop"), Counted(USAGE), Done()]
CITATION = {
    "type": "char_location",
    "cited_text": "x",
    "document_index": 0,
    "document_title": "t",
    "start_char_index": 0,
    "end_char_index": 1,
}


def written(*events: Event) -> bytes:
    """The stream, each event written by itself, as it comes from a provider."""
    writer = face.writer(FACTS, model="gpt")
    return b"".join(writer.write([event]) for event in events)


def shape(stream: bytes) -> list[str]:
    """The events in short: type, index and what is in them."""
    lines: list[str] = []
    for event in payloads(stream):
        kind = event["type"].removeprefix("content_block_")
        what = event.get("content_block") or event.get("delta") or {}
        lines.append(" ".join(filter(None, (kind, str(event.get("index", "")), str(what.get("type") or "")))))
    return lines


def test_a_text_is_one_block_between_start_and_stop() -> None:
    stream = written(Begin("id-1", "gpt-5", 5), TextPiece("Hel"), TextPiece("lo"), *END)
    assert shape(stream) == [
        "message_start",
        "ping",
        "start 0 text",
        "delta 0 text_delta",
        "delta 0 text_delta",
        "stop 0",
        "message_delta",
        "message_stop",
    ]
    message = through_sdk(stream)
    assert message.content[0].to_dict() == {"type": "text", "text": "Hello"}
    assert (message.id, message.model, message.stop_reason) == ("id-1", "gpt-5", "end_turn")


def test_every_event_has_its_name_on_the_event_line() -> None:
    stream = written(Begin("i", "m"), ThinkingPiece("t"), TextPiece("x"), CallBegin(0, "c", "f", "{}"), *END)
    for block in stream.decode().strip().split("\n\n"):
        name, data = block.split("\n")
        assert json.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ")


def test_all_input_and_cache_counts_are_in_message_delta() -> None:
    delta = payloads(written(Begin("i", "m"), TextPiece("x"), *END))[-2]
    assert delta["usage"] == {
        "input_tokens": 30,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 60,
        "output_tokens": 20,
    }


def test_message_start_is_not_zero_of_zero_but_the_estimate() -> None:
    start = payloads(written(Begin("i", "m")))[0]
    assert start["message"]["usage"]["input_tokens"] == 41


def test_message_start_has_the_counts_that_are_known_by_then() -> None:
    start = payloads(written(Begin("i", "m", usage=USAGE)))[0]
    assert start["message"]["usage"]["cache_read_input_tokens"] == 60


def test_usage_that_comes_after_the_end_is_waited_for() -> None:
    writer = face.writer(FACTS, model="m")
    assert b"message_delta" not in writer.write([Begin("i", "m"), TextPiece("x"), End("length")])
    assert writer.write([Counted(USAGE)]) == b""
    last = writer.write([Done()])
    assert shape(last) == ["message_delta", "message_stop"]
    assert payloads(last)[0]["delta"]["stop_reason"] == "max_tokens"


def test_the_last_of_several_counts_is_told_and_nothing_is_added_up() -> None:
    early = Counted(Usage(input_tokens=5, output_tokens=1))
    stream = written(Begin("i", "m"), early, TextPiece("x"), early, End("stop"), Counted(USAGE), Done())
    assert payloads(stream)[-2]["usage"]["output_tokens"] == 20
    assert payloads(stream)[-2]["usage"]["input_tokens"] == 30


def test_usage_that_never_comes_is_estimated_from_what_was_sent() -> None:
    stream = written(Begin("i", "m"), TextPiece("x" * 400), End("stop"), Done())
    assert payloads(stream)[-2]["usage"]["output_tokens"] == 100
    assert payloads(stream)[-2]["usage"]["input_tokens"] == 41


def test_a_second_begin_does_not_start_a_second_message() -> None:
    stream = written(Begin("i", "m"), TextPiece("x"), Begin("i", "m"), TextPiece("y"), *END)
    assert shape(stream).count("message_start") == 1
    assert through_sdk(stream).content[0].to_dict()["text"] == "xy"


def test_a_stream_without_a_begin_starts_all_the_same() -> None:
    message = through_sdk(written(TextPiece("x"), *END))
    assert message.id.startswith("msg_")
    assert message.model == "gpt"


def test_a_stream_with_nothing_in_it_is_still_a_message() -> None:
    message = through_sdk(written(Done()))
    assert (message.content, message.stop_reason) == ([], "end_turn")


def test_text_after_thinking_after_calls_gets_blocks_in_strict_order() -> None:
    stream = written(
        Begin("i", "m"),
        ThinkingPiece("hm"),
        Seal("sig", "anthropic"),
        Boundary(),
        CallBegin(0, "a", "f"),
        ArgumentsPiece(0, '{"x":1}'),
        Boundary(),
        ThinkingPiece("so"),
        Seal("gis", "anthropic"),
        Boundary(),
        TextPiece("Done."),
        Boundary(),
        End("tool_calls"),
        Done(),
    )
    starts = [line for line in shape(stream) if line.startswith(("start", "stop"))]
    kinds = ("thinking", "tool_use", "thinking", "text")
    assert starts == [line for i, kind in enumerate(kinds) for line in (f"start {i} {kind}", f"stop {i}")]
    blocks = [block.to_dict() for block in through_sdk(stream).content]
    assert blocks[0] == {"type": "thinking", "thinking": "hm", "signature": "sig"}
    assert blocks[1]["input"] == {"x": 1}
    assert blocks[2]["signature"] == "gis"


def test_pieces_of_parallel_calls_that_come_interleaved_do_not_mix() -> None:
    stream = written(
        Begin("i", "m"),
        CallBegin(0, "a", "f"),
        CallBegin(1, "b", "g"),
        ArgumentsPiece(1, '{"y":'),
        ArgumentsPiece(0, '{"x":'),
        ArgumentsPiece(1, "2}"),
        ArgumentsPiece(0, "1}"),
        CallBegin(2, "c", "h", "{}"),
        *END,
    )
    calls = [block.to_dict() for block in through_sdk(stream).content]
    assert [(call["id"], call["name"], call["input"]) for call in calls] == [
        ("a", "f", {"x": 1}),
        ("b", "g", {"y": 2}),
        ("c", "h", {}),
    ]
    indexes = [event["index"] for event in payloads(stream) if event["type"] == "content_block_delta"]
    assert indexes == sorted(indexes)


def test_the_first_call_streams_on_while_the_next_waits() -> None:
    writer = face.writer(FACTS, model="m")
    writer.write([Begin("i", "m"), CallBegin(0, "a", "f"), CallBegin(1, "b", "g")])
    assert writer.write([ArgumentsPiece(1, "{}")]) == b""
    assert shape(writer.write([ArgumentsPiece(0, '{"x":')])) == ["delta 0 input_json_delta"]
    assert shape(writer.write([ArgumentsPiece(0, "1}")])) == [
        "delta 0 input_json_delta",
        "stop 0",
        "start 1 tool_use",
        "delta 1 input_json_delta",
    ]


def test_a_boundary_cuts_none_of_several_open_calls() -> None:
    stream = written(
        CallBegin(0, "a", "f"),
        CallBegin(1, "b", "g"),
        Boundary(),
        ArgumentsPiece(1, '{"y":2}'),
        ArgumentsPiece(0, '{"x":1}'),
        *END,
    )
    assert [block.to_dict()["input"] for block in through_sdk(stream).content] == [{"x": 1}, {"y": 2}]


def test_a_brace_that_closes_an_inner_object_does_not_end_a_call() -> None:
    stream = written(
        CallBegin(0, "a", "f"),
        CallBegin(1, "b", "g", "{}"),
        ArgumentsPiece(0, '{"x":{}'),
        ArgumentsPiece(0, ',"y":{"z":1}}'),
        *END,
    )
    assert [block.to_dict()["input"] for block in through_sdk(stream).content] == [
        {"x": {}, "y": {"z": 1}},
        {},
    ]


def test_text_between_the_pieces_of_a_call_waits_for_the_call() -> None:
    stream = written(
        CallBegin(0, "a", "f"), ArgumentsPiece(0, '{"x":'), TextPiece("!"), ArgumentsPiece(0, "1}"), *END
    )
    blocks = [block.to_dict() for block in through_sdk(stream).content]
    assert blocks[0]["input"] == {"x": 1}
    assert blocks[1] == {"type": "text", "text": "!"}


def test_a_call_without_arguments_is_an_empty_object() -> None:
    block = through_sdk(written(CallBegin(0, "a", "now"), *END)).content[0]
    assert block.to_dict()["input"] == {}


def test_a_streamed_call_ends_with_tool_use_whatever_the_provider_said() -> None:
    for finish in ("stop", "tool_calls", None):
        message = through_sdk(written(CallBegin(0, "a", "f", "{}"), End(finish), Done()))
        assert message.stop_reason == "tool_use"
    message = through_sdk(written(CallBegin(0, "a", "f", "{"), End("length"), Done()))
    assert message.stop_reason == "max_tokens"


def test_a_call_id_that_clients_could_not_send_back_is_replaced() -> None:
    block = through_sdk(written(CallBegin(0, "call|1:x", "f", "{}"), *END)).content[0]
    assert str(block.to_dict()["id"]).startswith("call_")


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("context", "model_context_window_exceeded"),
        ("content_filter", "refusal"),
        ("pause", "pause_turn"),
        (None, "end_turn"),
    ],
)
def test_each_finish_has_its_stop_reason(finish: Any, reason: str) -> None:
    sequence = "END" if finish == "stop_sequence" else None
    message = through_sdk(written(TextPiece("x"), End(finish, sequence), Done()))
    assert (message.stop_reason, message.stop_sequence) == (reason, sequence)


def test_a_refusal_is_read_and_its_reason_is_in_stop_details() -> None:
    message = through_sdk(written(RefusalPiece("I "), RefusalPiece("can't."), End("stop"), Done()))
    assert message.content[0].to_dict()["text"] == "I can't."
    assert message.stop_reason == "refusal"
    assert message.stop_details is not None
    assert message.stop_details.explanation == "I can't."


def test_a_provider_that_gave_up_is_an_error_not_an_end() -> None:
    stream = written(TextPiece("x"), End("error"), Done())
    assert b"message_stop" not in stream
    with pytest.raises(APIStatusError, match="gave up"):
        through_sdk(stream)


def test_citations_of_this_dialect_go_on_and_others_do_not() -> None:
    stream = written(CitationPiece(CITATION), TextPiece("x"), CitationPiece({"url": "u"}), *END)
    assert through_sdk(stream).content[0].to_dict()["citations"] == [CITATION]


def test_a_boundary_between_two_texts_makes_two_blocks() -> None:
    message = through_sdk(written(TextPiece("a"), Boundary(), Boundary(), TextPiece("b"), *END))
    assert [block.to_dict()["text"] for block in message.content] == ["a", "b"]


def test_thoughts_of_two_reasoning_items_are_two_blocks() -> None:
    message = through_sdk(written(ThinkingPiece("a", id="r1"), ThinkingPiece("b", id="r2"), *END))
    assert [block.to_dict()["thinking"] for block in message.content] == ["a", "b"]


def test_only_the_first_of_several_answers_is_written() -> None:
    stream = written(TextPiece("a"), TextPiece("b", candidate=1), End("length", candidate=1), *END)
    message = through_sdk(stream)
    assert message.content[0].to_dict()["text"] == "a"
    assert message.stop_reason == "end_turn"


def test_a_ping_before_the_message_would_be_an_event_out_of_order() -> None:
    assert written(Ping()) == b""
    assert shape(written(Begin("i", "m"), Ping()))[-1] == "ping"


def test_the_same_events_give_the_same_bytes_however_they_are_grouped() -> None:
    events: list[Event] = [
        ThinkingPiece("hm"),
        Seal("s", "openai", id="rs_1"),
        TextPiece("a"),
        CallBegin(0, "a", "f"),
        CallBegin(1, "b", "g"),
        ArgumentsPiece(0, "{}"),
        ArgumentsPiece(1, '{"q":"é"}'),
        *END,
    ]
    assert face.writer(FACTS, model="gpt").write(events) == written(*events)
