"""Events out of bytes that are cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.dialects import sse
from keyrail.dialects.canonical import seals

STREAM = (
    b'\xef\xbb\xbf: hello\r\n\r\nevent: message_start\r\ndata: {"a": 1}   \r\n\r\ndata:two\ndata: lines\n\n'
    b'event: empty\n\n{"error": "bare"}\n\nid: 7\nretry: 3\ndata: \xc3\xa9\r\rdata: [DONE]\n\n'
)
EVENTS = [
    (b"message_start", b'{"a": 1}   '),
    (b"", b"two\nlines"),
    (b"", b'{"error": "bare"}'),
    (b"", b"\xc3\xa9"),
    (b"", b"[DONE]"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_how_the_bytes_are_cut_changes_nothing(cuts: list[int]) -> None:
    splitter = sse.Splitter()
    places = [0, *sorted(cuts), len(STREAM)]
    found = [event for begin, end in pairwise(places) for event in splitter.feed(STREAM[begin:end])]
    assert found + splitter.finish() == EVENTS


def test_an_event_without_its_blank_line_comes_at_the_end() -> None:
    splitter = sse.Splitter()
    assert splitter.feed(b"data: 1\n\ndata: 2\n") == [(b"", b"1")]
    assert splitter.finish() == [(b"", b"2")]
    assert splitter.finish() == []


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"x\n" * 32_768])
def test_an_endless_event_is_given_up(piece: bytes) -> None:
    splitter = sse.Splitter()
    for _ in range(sse.MAX_EVENT // 65_536):
        splitter.feed(piece)
    with pytest.raises(sse.TooLong):
        splitter.feed(piece)


def test_an_event_that_was_written_reads_the_same() -> None:
    written = sse.event(b"{}", b"ping") + sse.event(b"[1]")
    assert sse.Splitter().feed(written) == [(b"ping", b"{}"), (b"", b"[1]")]


def test_a_wrapped_seal_comes_out_again_and_nobody_elses_does() -> None:
    assert seals.unwrap(seals.wrap("gemini", "a.b=")) == ("gemini", "a.b=")
    assert seals.unwrap("EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrzLoky3dl1pki") is None
    assert seals.unwrap("krs1.nobody.x") is None


def test_a_read_that_looks_like_a_whole_event_may_go_on_with_another() -> None:
    splitter = sse.Splitter()
    assert splitter.feed(b"data: a\n\n") == [(b"", b"a")]
    assert splitter.feed(b"data: b\n") == []
    assert splitter.feed(b"data: c\n\n") == [(b"", b"b\nc")]
    assert splitter.feed(b"data: d\n\n") == [(b"", b"d")]


_NAMES = st.sampled_from([b"", b"ping", b"response.output_text.delta"])
_LINES = st.lists(
    st.sampled_from([b"{}", b'{"a":"\xc3\xa9"}', b"", b"data: x", b"[DONE]"]), min_size=1, max_size=3
)


@given(
    st.lists(st.tuples(_NAMES, _LINES), min_size=1, max_size=6),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 400), max_size=3),
)
def test_events_come_the_same_whatever_ends_their_lines(
    told: list[tuple[bytes, list[bytes]]], ending: bytes, cuts: list[int]
) -> None:
    """Once with an event in each read, once all in one, and cut anywhere."""
    written: list[bytes] = []
    for name, lines in told:
        fields = [b"event: " + name] if name else []
        fields += [b"data: " + line for line in lines]
        written.append(b"".join(field + ending for field in fields) + ending)
    whole = b"".join(written)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    anywhere = [whole[begin:end] for begin, end in pairwise(places)]
    for reads in (written, [whole], anywhere):
        splitter = sse.Splitter()
        found = [event for read in reads for event in splitter.feed(read)] + splitter.finish()
        assert found == [(name, b"\n".join(lines)) for name, lines in told]
