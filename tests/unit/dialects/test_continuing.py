"""A stream that broke off is gone on with: to its client it is one stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.contracts.quirks import Quirks
from keyrail.contracts.slips import Dialect, Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import continuing, registry
from keyrail.dialects.bridge import Bridge
from keyrail.dialects.canonical.events import (
    Begin,
    CallBegin,
    Counted,
    Done,
    End,
    Event,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.continuing import Continuation, Recorder

CLIENTS: list[Dialect] = ["openai-chat", "anthropic-messages", "openai-responses"]
BODIES: dict[str, dict[str, Any]] = {
    "openai-chat": {"model": "r", "stream": True, "messages": [{"role": "user", "content": "go"}]},
    "anthropic-messages": {
        "model": "r",
        "stream": True,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "go"}],
    },
    "openai-responses": {"model": "r", "stream": True, "input": "go"},
}
WORDS = ["One ", "two", " three ", "", "four", "\n", " five"]
FIRST, SECOND = Usage(input_tokens=3, output_tokens=4), Usage(input_tokens=7, output_tokens=2)


def facts(dialect: Dialect) -> Facts:
    return Facts(dialect=dialect, model="r", stream=True, include_usage=True)


def sent(dialect: Dialect, words: list[str], usage: Usage) -> list[bytes]:
    """A provider's stream in pieces: its beginning, each word, its end."""
    writer = registry.face(dialect).writer(
        Facts(dialect=dialect, model="m", stream=True, include_usage=True), model="m", request=BODIES[dialect]
    )
    events: list[list[Event]] = [[Begin(id="x1", model="m", created=7, usage=usage)]]
    events.extend([TextPiece(word)] for word in words)
    events.append([End("stop"), Counted(usage), Done()])
    return [writer.write(each) for each in events]


def told(dialect: Dialect, stream: bytes) -> list[Event]:
    """What a client of the dialect reads."""
    reader = registry.outbound(dialect).reader("keyrail")
    events = reader.feed(stream) + reader.end()
    assert reader.failure is None
    return events


def gone_on(client: Dialect, first: Dialect, second: Dialect, cut: int) -> bytes | None:
    """The client's stream of which `cut` words came from the first; None where it is not gone on with."""
    body = json.dumps(BODIES[client]).encode()
    one = Bridge("a", first, facts(client), "m1", Quirks(), 7)
    one.request(body)
    relay, recorder = one.relay(), one.recorder(None)
    out = b""
    for piece in sent(first, WORDS, FIRST)[: cut + 1]:
        out += relay.feed(piece)
        if recorder is not None:
            recorder.feed(piece)
    continuation = recorder.result(FIRST) if recorder is not None else None
    if continuation is None:
        return None
    assert continuation.text == "".join(WORDS[:cut])
    two = Bridge("b", second, facts(client), "m2", Quirks(), 7)
    unfinished = continuing.continued(client, body, continuation)
    assert unfinished is not None
    two.request(unfinished)
    after = two.continuing(body, continuation)
    rest = ["".join(WORDS).removeprefix(continuation.text.rstrip())]
    for piece in sent(second, rest, SECOND):
        out += after.feed(piece)
    out += after.end()
    assert (after.done, after.failure) == (True, None)
    assert after.usage is not None
    assert after.usage.output_tokens == 2, "its own usage goes to the ledger"
    return out


@pytest.mark.parametrize("second", CLIENTS)
@pytest.mark.parametrize("first", CLIENTS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_the_client_reads_one_whole_stream(
    client: Dialect, first: Dialect, second: Dialect, cut: int
) -> None:
    stream = gone_on(client, first, second, cut)
    if client == first == "openai-responses":
        assert stream is None, "its events are numbered by their provider"
        return
    assert stream is not None
    events = told(client, stream)
    assert "".join(e.text for e in events if isinstance(e, TextPiece)) == "".join(WORDS)
    for kind in (Begin, End, Done):
        assert sum(isinstance(event, kind) for event in events) == 1, kind
    (*_, counted) = [event for event in events if isinstance(event, Counted)]
    assert (counted.usage.input_tokens, counted.usage.output_tokens) == (10, 6), "what both did cost"
    assert b": continued by b/m2\n\n" in stream


@pytest.mark.parametrize(
    "event",
    [
        CallBegin(0, "c", "f"),
        Seal("s", "anthropic"),
        RefusalPiece("no"),
        End("stop"),
        TextPiece("x", candidate=1),
        TextPiece("x", seal="g"),
    ],
    ids=["call", "seal", "refusal", "end", "second-candidate", "sealed-text"],
)
def test_what_another_model_could_not_take_up_is_not_gone_on_with(event: Event) -> None:
    recorder = Recorder(Scripted([Begin(), TextPiece("some text")], [event]))
    recorder.feed(b".")
    assert recorder.safe
    recorder.feed(b".")
    assert not recorder.safe
    assert recorder.result(Usage()) is None


@pytest.mark.parametrize("event", [ThinkingPiece("hm"), TextPiece(" \n")], ids=["thoughts", "blanks"])
def test_without_words_there_is_nothing_to_go_on_from(event: Event) -> None:
    recorder = Recorder(Scripted([Begin(), event]))
    recorder.feed(b".")
    assert not recorder.safe


def test_an_answer_that_is_too_long_is_not_remembered() -> None:
    recorder = Recorder(Scripted([TextPiece("x" * continuing.MOST_TEXT)], [TextPiece("x")]))
    recorder.feed(b".")
    assert recorder.safe
    recorder.feed(b".")
    assert not recorder.safe


@given(text=st.text(min_size=1), limit=st.integers(1, 1000), said=st.integers(0, 2000))
def test_the_beginning_is_in_the_request_and_out_of_its_limit(text: str, limit: int, said: int) -> None:
    continuation = Continuation((), text, Usage(output_tokens=said))
    for dialect, name in (("openai-chat", "max_completion_tokens"), ("anthropic-messages", "max_tokens")):
        body = json.dumps(BODIES[dialect] | {name: limit}).encode()
        after = json.loads(continuing.continued(dialect, body, continuation) or b"")  # type: ignore[arg-type]
        assert after["messages"][-1] == {"role": "assistant", "content": text.rstrip()}
        assert after[name] == max(limit - said, 1)


class Scripted:
    """A reader that has these events to tell, one list for each read."""

    def __init__(self, *reads: list[Event]) -> None:
        self._reads = list(reads)
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> list[Event]:
        return self._reads.pop(0)

    def end(self) -> list[Event]:
        return []
