"""Events that are skipped count as if they had been decoded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.dialects.openai_chat import stream
from keyrail.dialects.openai_chat.events import decode
from keyrail.dialects.openai_chat.shape import learn
from keyrail.dialects.openai_chat.stream import StreamReader

STATE = ("content", "done", "finish", "usage", "failure", "output_chars", "events", "model")


def event(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    value = {"id": "chatcmpl-1", "model": "gpt-x", "choices": [choice], "usage": None, **fields}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def word(text: str, **fields: Any) -> bytes:
    return event({"content": text}, **fields)


def padded(text: str, padding: str) -> bytes:
    return event({"content": text}, obfuscation=padding)


TEXTS = st.text(max_size=8) | st.sampled_from(
    ["a", '"', "\\", "\n", "}", '"}', "ü", "\u2028", "😀", '", "x": "']
)
EVENTS = (
    TEXTS.map(word)
    | st.tuples(TEXTS, TEXTS).map(lambda both: padded(*both))
    | TEXTS.map(lambda text: event({"reasoning_content": text, "content": None}))
    | TEXTS.map(lambda text: event({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}))
    | TEXTS.map(lambda text: event({"content": text, "reasoning": text}))
    | st.sampled_from(
        [
            word("hidden", usage={"prompt_tokens": 1, "completion_tokens": 2}),
            word("over", error={"message": "down"}),
            word("other", model="gpt-y"),
            event({"content": "last"}, "stop"),
            event({}, "stop"),
            word("a")[:-2] + b"\r\n\r\n",
            word("a").replace(b": ", b":"),
            word("x").replace(b'"x"', b'"\xff"'),
            word("x").replace(b'"x"', b'"\x01"'),
            word("x").replace(b'"x"', b'"a" b"'),
            word("x").replace(b'"x"', b'"\\"'),
            word("x").replace(b'"x"', b'"\\ud83d\\ude00"'),
            word("x").replace(b'"x"', b'"\\ud83d"'),
            word("x").replace(b'"x"', b"7"),
            padded("a", "b").replace(b'"b"', b'"\\x"'),
            padded("a", "b").replace(b'"b"', b'"\xff"'),
            b": comment\n\n",
            b"data: [DONE]\n\n",
        ]
    )
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=12), st.integers(1, 6), st.data())
def test_skipping_changes_nothing(events: list[bytes], times: int, data: st.DataObject) -> None:
    events = [event for event in events for _ in range(times)]
    whole = b"".join(events)
    cuts = data.draw(st.sampled_from([[whole], events, [whole[:50], whole[50:]]]))
    assert told(cuts, learning=True) == told(cuts, learning=False)


def told(pieces: list[bytes], *, learning: bool) -> tuple[object, ...]:
    """All that can be seen of a reader, with what it skips and without."""
    with pytest.MonkeyPatch.context() as patch:
        if not learning:
            patch.setattr(stream, "learn", nothing)
        reader = StreamReader("openai", include_usage=False)
        output = b"".join([reader.feed(piece) for piece in pieces])
        return output, reader.finish_failure(), *(getattr(reader, name) for name in STATE)


@pytest.mark.parametrize(
    "sample",
    [
        word("one"),
        word("one").replace(b": ", b":").replace(b"data:", b"data: "),
        padded("one", "xy"),
        padded("one", ""),
        event({"reasoning_content": "one", "content": None}),
        event({"tool_calls": [{"index": 0, "function": {"arguments": "one"}}]}),
    ],
)
def test_an_event_of_a_known_shape_is_not_decoded(sample: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = StreamReader("openai", include_usage=False)
    reader.feed(sample)
    monkeypatch.setattr(stream, "decode", refuse)
    burst = b"".join(sample.replace(b"one", b"w%d" % n) for n in range(300))
    assert reader.feed(burst) == burst
    assert reader.feed(sample) == sample
    assert reader.failure is None
    assert (reader.events, reader.output_chars) == (302, 3 + 10 * 2 + 90 * 3 + 200 * 4 + 3)


def nothing(*_: object) -> None:
    """Learn nothing."""


def refuse(_: bytes) -> None:
    raise AssertionError("decoded")


@pytest.mark.parametrize(
    "sample",
    [
        event({"content": "a"}, "stop"),
        word("a", usage={"prompt_tokens": 1}),
        word("a", error="down"),
        word("a", x_groq={"usage": {"prompt_tokens": 1}}),
        event({"content": "a", "reasoning": "b"}),
        event({"role": "assistant", "content": ""}),
        event({"content": "a"}, content="b"),
        event({"refusal": "a"}, content="b"),
        event({"content": ["a"]}),
        word('"'),
        word("a" * 5_000),
    ],
)
def test_an_event_that_says_more_than_its_text_is_no_example(sample: bytes) -> None:
    block = sample[:-2]
    assert learn(block, decode(block[6:])) is None


def test_a_stream_whose_events_have_nothing_in_common_is_soon_not_learnt_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lessons = 0

    def counted(*arguments: Any) -> Any:
        nonlocal lessons
        lessons += 1
        return learn(*arguments)

    monkeypatch.setattr(stream, "learn", counted)
    reader = StreamReader("openai", include_usage=False)
    for number in range(200):
        reader.feed(word("a", created=number))
    assert reader.events == 200
    assert lessons == 4


@pytest.mark.parametrize("bad", [b'"\\x"', b'"\xff"', b'"\x01"', b'"a" b"'])
@pytest.mark.parametrize("place", ["text", "padding"])
def test_a_string_that_is_none_is_found_among_events_of_a_known_shape(place: str, bad: bytes) -> None:
    good = padded("text", "padding")
    events = [good] * 3 + [good.replace(b'"%b"' % place.encode(), bad), good]
    for cuts in ([b"".join(events)], events):
        reader = StreamReader("openai", include_usage=False)
        assert b"".join([reader.feed(piece) for piece in cuts]) == good * 3
        assert reader.failure is not None
        assert (reader.failure.kind, reader.events) == ("garbage", 3)
