"""Seals of other makers on their way to a Messages client and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.messages import through_sdk

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import face, wire
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer, Candidate
from keyrail.dialects.canonical.events import CallBegin, Done, End, Event, Seal, TextPiece, ThinkingPiece
from keyrail.dialects.canonical.parts import Call, Part, Text, Thinking
from keyrail.dialects.canonical.request import Request, Written

FACTS = Facts(dialect="anthropic-messages", model="m", stream=True)
RAW = {"type": "reasoning.encrypted", "data": "x", "format": "f"}
ROUND_TRIPS: list[list[Part]] = [
    [Thinking("hm", "seal", "openai", id="rs_1"), Text("a")],
    [Thinking("", "seal", "openai", redacted=True, id="rs_1"), Call("c", "f", "{}")],
    [Thinking("hm", "~odd.seal", "gemini"), Text("a")],
    [Text("a", seal="gem"), Call("c", "f", "{}", seal="gem2"), Call("d", "g", '{"x":1}')],
    [Call("c", "f", "{}", seal="gem"), Call("d", "g", "{}", seal="gem2")],
    [Text("a", seal="gem")],
    [Thinking("hm", "", "openrouter", raw=RAW), Text("a")],
    [Thinking("hm", "sig", "anthropic"), Thinking("", "d", "anthropic-redacted", redacted=True), Text("a")],
]


def history_of(content: Any) -> list[Part]:
    """The parts of an assistant's turn that a client sends back."""
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": content}]}
    assert face.check(body) is None
    request = face.read_request(body)
    assert isinstance(request, Request)
    return request.messages[0].parts


@pytest.mark.parametrize("parts", ROUND_TRIPS)
def test_a_whole_answer_that_is_sent_back_still_has_every_seal_in_its_place(parts: list[Part]) -> None:
    answer = Answer(id="i", candidates=[Candidate(parts, "stop")], usage=Usage())
    content = json.loads(face.render_answer(answer, model="m"))["content"]
    assert history_of(content) == parts


def events_of(parts: list[Part]) -> list[Event]:
    events: list[Event] = []
    position = 0
    for part in parts:
        match part:
            case Text():
                events += [TextPiece(part.text, seal=part.seal)]
            case Thinking():
                if part.text:
                    events.append(ThinkingPiece(part.text))
                assert part.seal is not None
                assert part.seal_kind is not None
                events.append(
                    Seal(part.seal, part.seal_kind, redacted=part.redacted, id=part.id, raw=part.raw)
                )
            case Call():
                events.append(CallBegin(position, part.id, part.name, part.arguments, seal=part.seal))
                position += 1
            case _:
                raise AssertionError(part)
    return [*events, End("stop"), Done()]


@pytest.mark.parametrize("parts", ROUND_TRIPS)
def test_a_stream_that_is_sent_back_still_has_every_seal_in_its_place(parts: list[Part]) -> None:
    writer = face.writer(FACTS, model="m")
    message = through_sdk(b"".join(writer.write([event]) for event in events_of(parts)))
    assert history_of([block.to_dict() for block in message.content]) == parts


@pytest.mark.parametrize("parts", ROUND_TRIPS[:-1])
def test_no_foreign_seal_reaches_anthropic(parts: list[Part]) -> None:
    answer = Answer(id="i", candidates=[Candidate(parts, "stop")], usage=Usage())
    content = json.loads(face.render_answer(answer, model="m"))["content"]
    content.append({"type": "thinking", "thinking": "own", "signature": "sig"})
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": "and?"},
    ]
    body = {"model": "m", "max_tokens": 9, "messages": messages}
    prepared = wire.prepare(json_text.dump(body), model="claude-x", quirks=Quirks()).body
    assert b"krs1" not in json_text.dump(prepared)
    kept = [block for block in prepared["messages"][1]["content"] if block["type"].endswith("thinking")]
    assert kept == [{"type": "thinking", "thinking": "own", "signature": "sig"}]
    request = face.read_request(body)
    assert isinstance(request, Request)
    written = wire.write_request(request, model="claude-opus-4-6", quirks=Quirks())
    assert isinstance(written, Written)
    assert b"krs1" not in json_text.dump(written.body)


def test_thoughts_that_nobody_sealed_are_not_sent_to_anthropic_either() -> None:
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": ""}]},
        {"role": "user", "content": "and?"},
    ]
    body = json_text.dump({"model": "m", "max_tokens": 9, "messages": messages})
    prepared = wire.prepare(body, model="claude-x", quirks=Quirks()).body
    assert [message["role"] for message in prepared["messages"]] == ["user", "user"]


def test_a_seal_of_gemini_without_its_call_is_kept_as_thoughts() -> None:
    lone = {"type": "redacted_thinking", "data": "krs1.gemini.abc"}
    image = {"type": "server_tool_use", "id": "s", "name": "w", "input": {}}
    thinking = Thinking("", "abc", "gemini", redacted=True)
    assert history_of([lone]) == [thinking]
    assert history_of([lone, image])[0] == thinking
