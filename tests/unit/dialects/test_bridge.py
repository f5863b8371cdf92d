"""Any client joined with any provider: equal dialects pass, others go through the canonical form."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Dialect, Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import bridge, registry
from keyrail.dialects.base import Quirks
from keyrail.dialects.bridge import Answered, Bridge
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    CallBegin,
    Counted,
    Done,
    End,
    Event,
    Ping,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.joined import Joined
from keyrail.dialects.openai_chat import face, request, wire
from keyrail.dialects.openai_chat.stream import StreamReader
from keyrail.dialects.protocols import Face, Relay, Wire

FACTS = Facts(model="asked", stream=True, include_usage=True)
QUIRKS = Quirks(rename={"seed": "random_seed"}, drop=("store",), drop_message_nulls=True)
BODY: dict[str, Any] = {
    "model": "asked",
    "messages": [{"role": "user", "content": "Hi", "name": None}],
    "from_tomorrow": {"a": [1.0, 2**60]},
    "seed": 5,
    "store": True,
    "stream": True,
}
STREAM = (
    b'data: {"id":"c1","model":"m1","created":9,"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n'
    b"data: [DONE]\n\n"
)


def joined(dialect: Dialect = "openai-chat", quirks: Quirks = QUIRKS, facts: Facts = FACTS) -> Bridge:
    return Bridge("mock", dialect, facts, "theirs", quirks, created=9)


def speak(monkeypatch: pytest.MonkeyPatch, side: str, module: object) -> None:
    def found(dialect: Dialect) -> object:
        return module

    monkeypatch.setattr(registry, side, found)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Dialect:
    """A second dialect, which is this one under another name."""
    name: Dialect = "openai-embeddings"
    speak(monkeypatch, "wire", wire)
    speak(monkeypatch, "outbound", wire)
    speak(monkeypatch, "face", face)
    return name


def test_the_modules_are_what_the_protocols_ask_for() -> None:
    as_face: Face = face
    as_wire: Wire = wire
    as_relay: Relay = wire.passing("mock", FACTS)
    assert registry.face("openai-chat") is as_face
    assert registry.wire("openai-chat") is registry.outbound("openai-chat") is as_wire
    assert not as_relay.done


def test_a_dialect_that_nobody_speaks_here_is_named() -> None:
    with pytest.raises(registry.UnknownDialect, match="no face for gemini-generate"):
        registry.face("gemini-generate")


def test_a_module_that_can_not_be_loaded_is_not_taken_for_a_missing_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> object:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr(registry, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        registry._module("openai-responses", "face")  # pyright: ignore[reportPrivateUsage]


def test_between_equal_dialects_a_request_is_only_prepared() -> None:
    body = request.dump(BODY)
    written = joined().request(body)
    assert isinstance(written, Written)
    assert written == wire.prepare(body, model="theirs", quirks=QUIRKS)
    assert written.dropped == ("store",)


def test_between_equal_dialects_an_answer_is_the_same_bytes() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop", "x": 1}
    body = json.dumps({"choices": [choice], "model": "m1", "usage": usage}, indent=1).encode()
    answered = joined().answer(body)
    assert answered == Answered(body, Usage(input_tokens=7, output_tokens=5, raw=usage), "stop", "m1")


def test_between_equal_dialects_a_stream_is_the_same_bytes() -> None:
    relay, reader = joined().relay(), StreamReader("mock", include_usage=True)
    assert relay.feed(STREAM) == reader.feed(STREAM) == STREAM
    assert relay.end() == b""
    assert (relay.done, relay.failure, relay.finish, relay.model) == (True, None, "stop", "m1")
    assert relay.usage == Usage(
        input_tokens=7, output_tokens=5, raw={"prompt_tokens": 7, "completion_tokens": 5}
    )
    assert (relay.content, relay.events, relay.output_chars) == (True, 1, 2)


def test_a_passing_stream_that_broke_off_is_a_failure_after_its_end() -> None:
    relay = joined().relay()
    relay.feed(STREAM[:-10])
    assert relay.failure is None
    assert relay.end() == b""
    assert relay.failure is not None
    assert relay.failure.kind == "truncated"


def test_between_others_a_request_is_read_and_written_and_both_say_what_they_dropped(other: Dialect) -> None:
    written = joined(other).request(json.dumps({**BODY, "top_k": 3}).encode())
    assert isinstance(written, Written)
    assert written.body == {
        "model": "theirs",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "random_seed": 5,
        "stream_options": {"include_usage": True},
    }
    assert written.dropped == ("from_tomorrow", "store", "top_k")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"web_search_options": {}}, "web_search_options"),
        (
            {"messages": [{"role": "user", "content": [{"type": "from_tomorrow"}]}]},
            "from_tomorrow",
        ),
    ],
)
def test_what_the_other_can_not_do_is_refused(change: dict[str, Any], param: str, other: Dialect) -> None:
    failure = joined(other).request(json.dumps({**BODY, **change}).encode())
    assert isinstance(failure, Failure)
    assert (failure.status, failure.param) == (400, param)


def test_a_body_that_is_no_object_is_an_error_of_the_caller(other: Dialect) -> None:
    for dialect in (other, "openai-chat"):
        with pytest.raises(ValueError, match="not an object"):
            joined(dialect).request(b"[]")


def test_between_others_an_answer_is_parsed_and_rendered(other: Dialect) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    body = json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "eos"}], "usage": usage})
    answered = joined(other).answer(body.encode())
    assert isinstance(answered, Answered)
    assert (answered.usage.input_tokens, answered.finish, answered.model) == (7, "stop", None)
    shown = json.loads(answered.body)
    assert (shown["model"], shown["created"], shown["choices"][0]["finish_reason"]) == ("asked", 9, "stop")
    failure = joined(other).answer(b"<html>")
    assert isinstance(failure, Failure)
    assert failure.kind == "garbage"


def test_a_face_is_given_what_the_client_asked(other: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def render(answer: object, **asked: Any) -> bytes:
        given.append(asked)
        return b"{}"

    names = {name: getattr(face, name) for name in face.__all__}
    speak(monkeypatch, "face", SimpleNamespace(**{**names, "render_answer": render}))
    way = joined(other)
    way.request(json.dumps(BODY).encode())
    assert isinstance(way.answer(b'{"choices":[]}'), Answered)
    assert given == [{"model": "asked", "request": BODY, "created": 9}]


def test_between_others_a_stream_is_read_and_written(other: Dialect) -> None:
    whole = joined(other).relay()
    expected = whole.feed(STREAM)
    assert b'"content":"Hi"' in expected
    assert expected.endswith(b"data: [DONE]\n\n")
    for size in (1, 7, 50):
        relay = joined(other).relay()
        output = b"".join(relay.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size))
        assert output + relay.end() == expected
        assert (relay.done, relay.failure, relay.finish, relay.model) == (True, None, "stop", "m1")
        assert relay.usage is not None
        assert (relay.usage.input_tokens, relay.usage.output_tokens) == (7, 5)
        assert (relay.content, relay.events, relay.output_chars) == (True, 1, 2)


class Told:
    """A reader that tells what it is given, one list for each read."""

    def __init__(self, *reads: list[Event], failure: Failure | None = None) -> None:
        self.failure: Failure | None = None
        self._reads = list(reads)
        self._last = failure

    def feed(self, data: bytes) -> list[Event]:
        events = self._reads.pop(0)
        if not self._reads:
            self.failure = self._last
        return events

    def end(self) -> list[Event]:
        return []


class Shown:
    def write(self, events: list[Event]) -> bytes:
        return b"".join(type(event).__name__[:1].encode() for event in events)


def test_a_relay_counts_what_an_estimate_needs() -> None:
    early = Usage(input_tokens=7)
    relay = Joined(
        Told(
            [Begin("c", "m1", usage=early)],
            [Ping(), TextPiece("")],
            [ThinkingPiece("Hm."), TextPiece("Hi"), CallBegin(0, "t", "f", "{"), ArgumentsPiece(0, "}")],
            [End("stop"), Counted(Usage(input_tokens=8, output_tokens=1)), Done()],
        ),
        Shown(),
    )
    assert relay.feed(b"") == b"B"
    assert (relay.usage, relay.model) == (early, "m1")
    relay.feed(b"")
    assert not relay.content
    assert relay.feed(b"") == b"TTCA"
    assert (relay.content, relay.events, relay.output_chars) == (True, 4, 8)
    assert not relay.done
    assert relay.feed(b"") == b"ECD"
    assert (relay.done, relay.finish) == (True, "stop")
    assert relay.usage == Usage(input_tokens=8, output_tokens=1)


def test_a_failure_makes_no_bytes_of_its_own() -> None:
    failure = Failure(kind="server", message="boom", status=502)
    relay = Joined(Told([TextPiece("Hi"), Counted(Usage(output_tokens=3))], failure=failure), Shown())
    assert relay.feed(b"") == b"TC"
    assert relay.failure == failure
    assert relay.usage == Usage(output_tokens=3)
    assert relay.end() == b""


def test_the_bridge_reads_passing_answers_in_the_cheap_way_only_where_there_is_one(other: Dialect) -> None:
    assert "openai-chat" in bridge._PASSED  # pyright: ignore[reportPrivateUsage]
    same = joined(other, facts=Facts(dialect=other, model="asked"))
    body = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}], "x": 1}'
    answered = same.answer(body)
    assert isinstance(answered, Answered)
    assert (answered.body, answered.finish) == (body, "stop")
