"""Reading streams: however they are cut, and however they end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keyrail.dialects.openai_chat.stream import MAX_EVENT, StreamReader

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    value = {"model": "gpt-x", "choices": choices, **fields}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""}, usage=None)
WORD = chunk({"content": "wörd 😀"})
END = chunk({}, "stop")
TALLY = chunk(usage=USAGE, service_tier="flex")
ERROR = (
    b"event: error\n"
    b'data: {"error":{"message":"no tool","type":"invalid_request_error","status_code":400}}\n\n'
)


def run(pieces: Iterable[bytes], *, include_usage: bool = False) -> tuple[bytes, StreamReader]:
    reader = StreamReader("groq", include_usage=include_usage)
    return b"".join([reader.feed(piece) for piece in pieces]), reader


def state(reader: StreamReader) -> tuple[object, ...]:
    return (
        reader.content,
        reader.done,
        reader.finish,
        reader.usage,
        reader.failure,
        reader.output_chars,
        reader.events,
        reader.model,
        reader.finish_failure(),
    )


def test_a_whole_stream_goes_through_without_the_usage_nobody_asked_for() -> None:
    output, reader = run([ROLE + WORD + END + TALLY + DONE])
    assert output == ROLE + WORD + END + DONE
    assert reader.finish_failure() is None
    assert (reader.done, reader.content, reader.finish, reader.model) == (True, True, "stop", "gpt-x")
    assert (reader.events, reader.output_chars) == (1, 6)
    assert reader.usage is not None
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (9, 3)
    assert (reader.usage.served_tier, reader.usage.raw) == ("flex", USAGE)


def test_usage_that_was_asked_for_goes_through() -> None:
    output, _ = run([ROLE + WORD + END + TALLY + DONE], include_usage=True)
    assert output == ROLE + WORD + END + TALLY + DONE


def test_content_is_known_as_soon_as_its_event_is_whole() -> None:
    reader = StreamReader("openai", include_usage=False)
    assert reader.feed(ROLE) == ROLE
    assert not reader.content
    assert reader.feed(WORD[:-1]) == b""
    assert not reader.content
    assert reader.feed(WORD[-1:]) == WORD
    assert reader.content


@pytest.mark.parametrize(
    ("delta", "characters"),
    [
        ({"content": "abc"}, 3),
        ({"reasoning": "abc"}, 3),
        ({"reasoning_content": "abc", "content": "d"}, 4),
        ({"refusal": "no"}, 2),
        ({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}, 3),
        ({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": {"x": 1}}}]}, 0),
        ({"function_call": {"name": "f"}}, 1),
        ({"audio": {"data": "AAAA"}}, 0),
        ({"images": [{"type": "image_url"}]}, 0),
        ({"reasoning_details": [{"type": "reasoning.text"}]}, 0),
        ({"content": [{"type": "text", "text": "abc"}, 5]}, 3),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, 2),
        ({"content": 5}, 0),
    ],
)
def test_every_kind_of_content_counts(delta: dict[str, Any], characters: int) -> None:
    output, reader = run([event := chunk(delta)])
    assert output == event
    assert (reader.content, reader.events, reader.output_chars) == (True, 1, characters)


@pytest.mark.parametrize(
    "event",
    [
        ROLE,
        END,
        chunk({"role": "assistant", "content": None, "refusal": None, "tool_calls": None}),
        chunk({"content": "", "reasoning": "", "tool_calls": []}),
        chunk(prompt_filter_results=[]),
        b'data: {"choices":[{"index":0,"finish_reason":5,"delta":null},3]}\n\n',
        b'data: {"choices":null}\n\n',
        b'data: {"usage":"x","choices":[{"delta":{"role":1}}]}\n\n',
    ],
)
def test_what_is_no_content_goes_through_and_does_not_count(event: bytes) -> None:
    output, reader = run([event])
    assert output == event
    assert (reader.content, reader.events, reader.output_chars) == (False, 0, 0)
    assert reader.failure is None


def test_groq_usage_comes_with_the_finish_and_counts_once() -> None:
    last = chunk({}, "stop", usage=USAGE, x_groq={"id": "req", "usage": USAGE})
    output, reader = run([last + DONE])
    assert output == last + DONE
    assert reader.usage is not None
    assert reader.usage.input_tokens == 9
    _, reader = run([chunk({}, "stop", x_groq={"usage": USAGE})])
    assert reader.usage is not None
    assert reader.usage.output_tokens == 3


def test_comments_and_empty_events_are_dropped() -> None:
    output, reader = run([b": PROCESSING\n\n\n\nevent: ping\n\ndata:\n\n" + WORD + b": x\n\n" + DONE])
    assert output == WORD + DONE
    assert reader.finish_failure() is None


@pytest.mark.parametrize(
    "end", [DONE, b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n\r\n", b"id: 1\ndata: [DONE]\n\n"]
)
def test_the_terminator_counts_in_every_spelling_and_nothing_follows_it(end: bytes) -> None:
    reader = StreamReader("openai", include_usage=False)
    assert reader.feed(WORD + end) == WORD + DONE
    assert reader.feed(WORD) == b""
    assert reader.finish_failure() is None


def test_other_spellings_of_events_are_read() -> None:
    stream = (
        b'\xef\xbb\xbfdata:{"choices":[{"delta":{"content":"a"}}]}\r\n\r\n'
        b'id: 7\r\nevent: message\r\ndata: {"choices":\r\n'
        b'data: [{"delta":{"content":"bc"}}]}\r\nretry: 5\r\n\r\n'
    )
    output, reader = run([stream])
    assert output == stream
    assert (reader.events, reader.output_chars) == (2, 3)


def test_an_error_event_ends_the_stream_after_all_that_came_before() -> None:
    output, reader = run([ROLE + WORD + ERROR + WORD + DONE])
    assert output == ROLE + WORD
    assert reader.failure is not None
    assert (reader.failure.kind, reader.failure.status, reader.failure.upstream_status) == (
        "bad_request",
        400,
        200,
    )
    assert reader.failure.message == "no tool"
    assert reader.finish_failure() == reader.failure
    assert reader.feed(WORD) == b""


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error":{"message":"down","type":"server_error"}}\n\n',
        b'data: {"choices":[],"x_groq":{"error":"down"}}\n\n',
        b'data: {"code":"internal_server_error","error":"down"}\n\n',
        b'{"error":{"message":"down","type":"server_error"}}\n\n',
        b'{"error":\n {"message":"down",\n\n "type":"server_error"}}',
    ],
)
def test_errors_are_found_in_every_shape(error: bytes) -> None:
    _, reader = run([error])
    failure = reader.finish_failure()
    assert failure is not None
    assert failure.message == "down" or failure.kind == "garbage"


@pytest.mark.parametrize(
    "event",
    [
        b"data: nonsense\n\n",
        b"data: 5\n\n",
        b"data: {\n\n",
        b'data: {"choices":[],"skipped":"\xff"}\n\n',
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        b'data: {"skipped":' + b"[" * 100_000 + b"\n\n",
        b"data: {" + b" " * MAX_EVENT + b"}\n\n",
    ],
)
def test_an_event_that_is_not_json_is_garbage(event: bytes) -> None:
    output, reader = run([WORD + event + WORD])
    assert output == WORD
    assert reader.failure is not None
    assert (reader.failure.kind, reader.failure.status) == ("garbage", 502)


def test_an_endless_line_is_garbage_before_it_fills_the_memory() -> None:
    reader = StreamReader("openai", include_usage=False)
    fed = 0
    while reader.failure is None:
        assert reader.feed(b"data: " + b"x" * 65_536) == b""
        fed += 65_542
        assert fed < 2 * MAX_EVENT
    assert reader.failure.kind == "garbage"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "truncated"),
        (WORD, "truncated"),
        (WORD + WORD[:20], "truncated"),
        (b"dat", "truncated"),
        (b": hello\n\n", "truncated"),
        (b"<html>\n\nOops</html>", "garbage"),
        (b'{"choices":[{"message":{"content":"x"}}]}', "garbage"),
        (b'{"choices":[{"message":{"content":"x"}}]}\n\n', "garbage"),
        (b'{"error":{"message":"x","type":"rate_limit_error"}}', "rate"),
    ],
)
def test_a_stream_without_terminator_is_never_a_success(body: bytes, kind: str) -> None:
    _, reader = run([body])
    failure = reader.finish_failure()
    assert failure is not None
    assert failure.kind == kind
    assert failure.falls_over


PARTS = [
    ROLE,
    WORD,
    WORD.replace(b"\n", b"\r\n"),
    chunk({"tool_calls": [{"function": {"arguments": "é"}}]}),
    END,
    TALLY,
    TALLY.replace(b"\n\n", b"\n\r\n"),
    b": comment\n\n",
    b"\n",
    b"\r\n",
    b"event: x\nid: 3\n",
    b"data:",
    b'data: {"choices":[{"delta":{"content":"two"}}],\ndata: "x":1}\n\n',
    ERROR,
    b"{}\n\n",
    b"data: \xff\n\n",
    b"<p>\n\n",
    b"data: [DONE]",
    DONE,
]


@st.composite
def streams_and_cuts(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    stream = b"".join(draw(st.lists(st.sampled_from(PARTS), max_size=8)))
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=12))
    return stream, sorted(cuts)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *cuts, len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(borders)]


@settings(max_examples=300, deadline=None)
@given(streams_and_cuts(), st.booleans())
@example((b"\n" * 3 + WORD + b"data: [DONE]", [1, 2, 5]), False)
@example((TALLY.replace(b"\n\n", b"\n\r\n") + DONE, [len(TALLY)]), False)
def test_cutting_changes_nothing(case: tuple[bytes, list[int]], include_usage: bool) -> None:
    stream, cuts = case
    whole, at_once = run([stream], include_usage=include_usage)
    output, cut = run(pieces(stream, cuts), include_usage=include_usage)
    assert (output, state(cut)) == (whole, state(at_once))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=30) | st.sampled_from(PARTS), max_size=10))
def test_no_bytes_make_the_reader_raise(noise: list[bytes]) -> None:
    whole, at_once = run([b"".join(noise)])
    output, one_by_one = run(noise)
    assert (output, state(one_by_one)) == (whole, state(at_once))


def test_one_byte_at_a_time_changes_nothing() -> None:
    stream = b"".join(PARTS[:7]) + DONE
    whole, at_once = run([stream])
    output, dripped = run([stream[n : n + 1] for n in range(len(stream))])
    assert (output, state(dripped)) == (whole, state(at_once))
    assert at_once.done
