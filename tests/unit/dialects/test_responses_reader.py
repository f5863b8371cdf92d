from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
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
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Image
from keyrail.dialects.openai_responses import wire
from keyrail.dialects.openai_responses.passing import Passing

FACTS = Facts(dialect="openai-responses", model="m", stream=True)
RESPONSE = {
    "id": "resp_1",
    "model": "gpt-5.4",
    "created_at": 1_700_000_000,
    "status": "in_progress",
    "output": [],
}
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
BEGIN = Begin("resp_1", "gpt-5.4", 1_700_000_000)


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def created(**fields: Any) -> bytes:
    return event("response.created", response={**RESPONSE, **fields})


def completed(kind: str = "response.completed", **fields: Any) -> bytes:
    found = {
        **RESPONSE,
        "status": kind.removeprefix("response."),
        "usage": USAGE,
        "service_tier": "flex",
        **fields,
    }
    return event(kind, response=found)


def delta(kind: str, text: str, index: int = 0, **fields: Any) -> bytes:
    return event(f"response.{kind}.delta", output_index=index, item_id=f"i{index}", delta=text, **fields)


def done(index: int, **item: Any) -> bytes:
    return event("response.output_item.done", output_index=index, item=item)


def added(index: int, **item: Any) -> bytes:
    return event("response.output_item.added", output_index=index, item=item)


def read(*blocks: bytes) -> tuple[list[Event], Failure | None]:
    reader = wire.reader("openai")
    found = [piece for block in blocks for piece in reader.feed(block)]
    return found + reader.end(), reader.failure


def told(*blocks: bytes) -> list[Event]:
    """The pieces of a whole stream, without those that are always there."""
    found, failure = read(created(), *blocks)
    assert failure is None
    assert found[0] == BEGIN
    assert [type(piece) for piece in found[-3:]] == [End, Counted, Done]
    return found[1:-3]


def relay(*blocks: bytes) -> tuple[bytes, Passing]:
    passing = wire.passing("openai", FACTS)
    return b"".join([*(passing.feed(block) for block in blocks), passing.end()]), passing


CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f"}


def test_text_refusals_and_citations() -> None:
    note = {"type": "url_citation", "url": "https://e.org"}
    logprob = {"token": "lo", "logprob": -0.1}
    assert told(
        added(0, type="message", id="i0", role="assistant", content=[]),
        event("response.content_part.added", output_index=0, content_index=0, part={}),
        delta("output_text", "Hel", logprobs=[]),
        delta("output_text", "lo", logprobs=[logprob]),
        event("response.output_text.annotation.added", output_index=0, annotation=note),
        event("response.output_text.done", output_index=0, content_index=0, text="Hello"),
        delta("refusal", "No.", content_index=1),
        event("response.refusal.done", output_index=0, content_index=1, refusal="No."),
        done(0, type="message", content=[{"type": "output_text", "text": "Hello"}]),
        completed(),
    ) == [
        TextPiece("Hel"),
        TextPiece("lo", logprobs=[logprob]),
        CitationPiece(note),
        RefusalPiece("No."),
        Boundary(),
    ]


def test_parts_of_a_summary_are_separated_by_blank_lines_and_the_seal_follows() -> None:
    summary = [{"type": "summary_text", "text": text} for text in ("One.", "Two.")]
    assert told(
        added(0, type="reasoning", id="i0", summary=[], encrypted_content="early"),
        event("response.reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
        delta("reasoning_summary_text", "One.", summary_index=0),
        event("response.reasoning_summary_text.done", output_index=0, summary_index=0, text="One."),
        event("response.reasoning_summary_part.added", output_index=0, summary_index=1, part={}),
        delta("reasoning_summary_text", "Tw", summary_index=1),
        delta("reasoning_summary_text", "o.", summary_index=1),
        event("response.reasoning_summary_text.done", output_index=0, summary_index=1, text="Two."),
        done(0, type="reasoning", id="i0", summary=summary, encrypted_content="gAAAA"),
        completed(),
    ) == [
        ThinkingPiece("One.", id="i0"),
        ThinkingPiece("\n\nTw", id="i0"),
        ThinkingPiece("o.", id="i0"),
        Seal("gAAAA", "openai", id="i0"),
        Boundary(),
    ]


def test_open_thoughts_count_once_beside_their_summary() -> None:
    assert told(
        delta("reasoning_text", "Raw.", content_index=0),
        delta("reasoning_summary_text", "Summary.", summary_index=0),
        event("response.reasoning_text.done", output_index=0, content_index=0, text="Raw."),
        completed(),
    ) == [ThinkingPiece("Raw.", id="i0")]


def test_parallel_calls_keep_their_positions() -> None:
    assert told(
        added(0, **CALL, arguments=""),
        added(1, type="custom_tool_call", id="ctc_1", call_id="c2", name="p", input=""),
        delta("custom_tool_call_input", "fr", 1),
        delta("function_call_arguments", '{"a"', 0),
        delta("custom_tool_call_input", "ee", 1),
        delta("function_call_arguments", ":1}", 0),
        event("response.function_call_arguments.done", output_index=0, arguments='{"a":1}'),
        event("response.custom_tool_call_input.done", output_index=1, input="free"),
        done(0, **CALL, arguments='{"a":1}'),
        completed(),
    ) == [
        CallBegin(0, "c1", "f"),
        CallBegin(1, "c2", "p", custom=True),
        ArgumentsPiece(1, "fr"),
        ArgumentsPiece(0, '{"a"'),
        ArgumentsPiece(1, "ee"),
        ArgumentsPiece(0, ":1}"),
        Boundary(),
    ]


def test_a_call_in_one_piece_is_whole_wherever_it_stands() -> None:
    whole = {**CALL, "arguments": '{"a":1}'}
    begun = CallBegin(0, "c1", "f", arguments='{"a":1}')
    assert told(added(0, **whole), done(0, **whole), completed()) == [begun, Boundary()]
    assert told(done(0, **whole), completed()) == [begun, Boundary()]
    assert told(completed(output=[whole])) == [begun, Boundary()]
    assert told(added(0, **CALL, arguments=""), done(0, **whole), completed()) == [
        CallBegin(0, "c1", "f"),
        ArgumentsPiece(0, '{"a":1}'),
        Boundary(),
    ]


def test_what_came_without_pieces_is_taken_from_the_end() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    image = {"type": "image_generation_call", "result": "QUJD", "output_format": "png"}
    assert told(done(0, **message), done(1, **image), completed(output=[message, image])) == [
        TextPiece("Hi"),
        Boundary(),
        ImagePiece(Image(media_type="image/png", data="QUJD")),
    ]
    assert told(completed(output=[message])) == [TextPiece("Hi"), Boundary()]
    assert told(
        event("response.output_text.done", output_index=0, text="Hi"), completed(output=[message])
    ) == [TextPiece("Hi")]


def test_duplicate_events_count_once() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    block = done(0, **message)
    assert told(created(), block, block, added(1, **CALL), added(1, **CALL), completed(), completed()) == [
        TextPiece("Hi"),
        Boundary(),
        CallBegin(0, "c1", "f"),
    ]


def test_hosted_tools_and_unknown_events_are_passed_over() -> None:
    assert (
        told(
            added(0, type="web_search_call", id="ws_1"),
            event("response.web_search_call.searching", output_index=0),
            event("response.unheard_of", error={"message": "not the stream's"}),
            done(0, type="web_search_call", id="ws_1", status="completed"),
            event("keepalive"),
            b": comment\n\n",
            completed(),
        )
        == []
    )


@pytest.mark.parametrize(
    ("block", "finish"),
    [
        (completed(), "stop"),
        (completed(output=[{**CALL, "arguments": "{}"}]), "tool_calls"),
        (completed("response.incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (completed("response.incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        (completed("response.incomplete", incomplete_details=None), "length"),
    ],
)
def test_the_end_has_its_reason_its_usage_and_the_served_tier(block: bytes, finish: str) -> None:
    found, failure = read(created(), block)
    assert failure is None
    usage = Usage(input_tokens=10, output_tokens=5, served_tier="flex", raw=USAGE)
    assert found[-3:] == [End(finish), Counted(usage), Done()]  # type: ignore[arg-type]
    output, passing = relay(created(), block)
    assert output == created() + block
    assert (passing.done, passing.finish, passing.usage) == (True, finish, usage)


FAILED = event(
    "response.failed",
    response={
        **RESPONSE,
        "status": "failed",
        "usage": USAGE,
        "error": {"code": "server_error", "message": "Oops."},
    },
)
BROKEN = [
    (FAILED, "server"),
    (event("response.failed", response={"error": {"code": "rate_limit_exceeded", "message": "x"}}), "rate"),
    (event("response.failed", response={"status": "failed", "error": None}), "server"),
    (event("response.cancelled", response={"status": "cancelled"}), "server"),
    (event("error", code="rate_limit_exceeded", message="Slow.", param=None), "rate"),
    (event("error", error={"type": "tokens", "code": "rate_limit_exceeded", "message": "x"}), "rate"),
    (b'data: {"error":{"message":"Provider returned error","code":502}}\n\n', "server"),
    (b'{"code":"unavailable","error":"The service is not available."}\n\n', "capacity"),
    (b"data: {nonsense\n\n", "garbage"),
    (b"data: [1]\n\n", "garbage"),
    (b"data: \xff\xfe\n\n", "garbage"),
]


@pytest.mark.parametrize(("block", "kind"), BROKEN)
def test_a_failure_is_never_an_empty_200(block: bytes, kind: str) -> None:
    found, failure = read(created(), block, delta("output_text", "late"), completed())
    assert failure is not None
    assert failure.kind == kind
    assert found == [BEGIN]
    output, passing = relay(created(), block, delta("output_text", "late"), completed())
    assert passing.failure == failure
    assert (output, passing.content, passing.done) == (created(), False, False)


def test_a_failure_after_words_keeps_the_words_and_the_usage() -> None:
    words = created() + delta("output_text", "Hel")
    output, passing = relay(words + FAILED)
    assert output == words
    assert passing.content
    assert passing.failure is not None
    assert passing.usage is not None
    assert passing.usage.output_tokens == 5


@pytest.mark.parametrize(
    "rest", [b"", created(), created() + delta("output_text", "x"), created() + b"data: [DONE]\n\n"]
)
def test_a_body_without_its_last_event_is_no_success(rest: bytes) -> None:
    for failure in (read(rest)[1], relay(rest)[1].failure):
        assert failure is not None
        assert failure.kind == ("truncated" if rest else "garbage")
        assert failure.falls_over


def test_an_html_page_is_garbage() -> None:
    page = b"<html>\n\n<body>busy</body></html>\n\n"
    for failure in (read(page)[1], relay(page)[1].failure):
        assert failure is not None
        assert failure.kind == "garbage"


def test_an_event_without_end_is_garbage() -> None:
    blocks = [b"data: {" + b"x" * (3 << 20), b"x" * (3 << 20)]
    for failure in (read(*blocks)[1], relay(*blocks)[1].failure):
        assert failure is not None
        assert failure.kind == "garbage"


def test_the_last_event_needs_no_blank_line() -> None:
    last = completed()
    assert read(created(), last.rstrip())[1] is None
    output, passing = relay(created(), last.rstrip())
    assert output == created() + last
    assert passing.done


def test_what_follows_the_last_event_is_not_passed_on() -> None:
    output, passing = relay(created() + completed() + b"data: [DONE]\n\n" + created())
    assert output == created() + completed()
    assert passing.failure is None


def test_windows_line_ends_and_nameless_events_pass_as_they_are() -> None:
    blocks = created() + delta("output_text", "Hi") + completed()
    for stream in (
        blocks.replace(b"\n", b"\r\n"),
        b": hello\n\n"
        + b"".join(b"data: " + block.split(b"data: ")[1] for block in blocks.split(b"event: ")[1:]),
    ):
        output, passing = relay(stream)
        assert output == stream
        assert (passing.output_chars, passing.events, passing.model) == (2, 1, "gpt-5.4")
        found, failure = read(stream)
        assert failure is None
        assert TextPiece("Hi") in found


def test_content_begins_with_the_first_piece_of_an_answer() -> None:
    passing = wire.passing("openai", FACTS)
    passing.feed(created() + event("response.in_progress", response=RESPONSE) + added(0, type="reasoning"))
    assert not passing.content
    passing.feed(delta("reasoning_summary_text", "Hm"))
    assert passing.content
    assert (passing.output_chars, passing.events) == (2, 1)


def test_fields_of_unexpected_types_count_as_absent() -> None:
    assert told(
        event("response.output_text.delta", output_index="0", delta=7, content_index=None),
        event("response.output_text.delta", output_index="0", item_id="i0", delta="Hi", logprobs="x"),
        event("response.output_item.done", output_index=0, item=7),
        event("response.output_item.added", output_index=1, item=None),
        completed(usage="x", service_tier=7, output="x", incomplete_details="x"),
    ) == [TextPiece("Hi")]


STREAM = (
    created()
    + delta("reasoning_summary_text", "Hm ä.", summary_index=0)
    + done(0, type="reasoning", id="i0", summary=[], encrypted_content="gAAAA")
    + delta("output_text", "Grüße 🙂", 1)
    + added(2, **CALL)
    + delta("function_call_arguments", '{"ü":1}', 2)
    + completed()
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_how_bytes_are_cut_changes_nothing(places: list[int], windows: bool) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if windows else STREAM
    borders = sorted({0, len(stream), *places})
    pieces = [stream[start:stop] for start, stop in itertools.pairwise(borders)]
    assert read(*pieces) == read(stream)
    assert relay(*pieces)[0] == relay(stream)[0] == stream


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
kinds = st.sampled_from(
    [
        "response.created",
        "response.output_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
        "x",
    ]
)
names = (
    "delta",
    "output_index",
    "item_id",
    "item",
    "response",
    "text",
    "arguments",
    "summary_index",
    "error",
    "code",
)
items = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "reasoning", "function_call"]),
        **dict.fromkeys(("id", "content", "summary", "call_id", "arguments"), json_values),
    },
)
blocks = st.fixed_dictionaries(
    {},
    optional={"type": kinds | json_values, **dict.fromkeys(names, json_values), "item": items | json_values},
)


@given(st.lists(blocks, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_providers_nonsense_breaks_nothing(found: list[dict[str, Any]]) -> None:
    stream = b"".join(b"data: " + json.dumps(block).encode() + b"\n\n" for block in found)
    pieces, failure = read(stream)
    assert (failure is None) == any(type(piece) is Done for piece in pieces)
    _, passing = relay(stream)
    assert passing.done == (passing.failure is None)
