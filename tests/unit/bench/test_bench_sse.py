from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.mock import EVENTS, events
from bench.sse import EventCounter

STREAM = b"".join(events())
COMMENTED = b': wait\n\ndata: {"a":"data: not a line"}\r\n\r\ndata:{"b":1}\n\ndata: [DONE]\n\n'


def fed(*pieces: bytes) -> EventCounter:
    counter = EventCounter()
    for piece in pieces:
        counter.feed(piece)
    return counter


@pytest.mark.parametrize(("stream", "count"), [(STREAM[-900:], 2), (COMMENTED, 2)])
def test_a_cut_anywhere_changes_no_count(stream: bytes, count: int) -> None:
    stream = stream[stream.index(b"data:") if stream is not COMMENTED else 0 :]
    assert stream.count(b"\ndata:") in (count, count + 1)
    for cut in range(len(stream) + 1):
        counter = fed(stream[:cut], stream[cut:])
        assert (counter.events, counter.done) == (count, True), cut


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_a_whole_stream_counts_the_same_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    counter = fed(*(STREAM[a:b] for a, b in pairwise(edges)))
    assert (counter.events, counter.done) == (EVENTS, True)


def test_a_byte_at_a_time_counts_the_same() -> None:
    assert fed(*(bytes([byte]) for byte in COMMENTED)).events == 2


@pytest.mark.parametrize("lost", [1, 4, 14, 200])
def test_a_stream_that_was_cut_short_is_not_done(lost: int) -> None:
    whole = b'data: {"a":1}\n\ndata: [DONE]'
    assert not fed(whole[:-lost]).done


def test_done_inside_a_text_does_not_end_a_stream() -> None:
    assert not fed(b'data: {"text":"say data: [DONE]').done


def test_a_counter_begins_again_for_the_next_stream() -> None:
    counter = fed(COMMENTED)
    counter.reset()
    assert (counter.events, counter.done) == (0, False)
    counter.feed(b'data: {"a":1}\n\n')
    assert counter.events == 1
