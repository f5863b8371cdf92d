"""Small examples of the dialect, as files: what goes in, and what must come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.responses_sdk import accumulate, answer_of, stream_of

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer, Candidate
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    Boundary,
    CallBegin,
    Counted,
    Done,
    End,
    Event,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Call, Text, Thinking
from keyrail.dialects.canonical.request import Request, Written
from keyrail.dialects.openai_responses import face, wire

GOLDEN = Path(__file__).parent / "golden/openai_responses"
ERRORS: list[dict[str, Any]] = json.loads((GOLDEN / "errors.json").read_text())
REQUEST: dict[str, Any] = json.loads((GOLDEN / "request.json").read_text())
FACTS = Facts(dialect="openai-responses", model="m", stream=True)
USAGE = Usage(
    input_tokens=120,
    output_tokens=30,
    cache_read_tokens=100,
    cache_write_tokens=10,
    reasoning_tokens=12,
    served_tier="standard",
)


def test_a_request_is_prepared_as_written_down() -> None:
    body = (GOLDEN / "request.json").read_bytes()
    assert face.check(json.loads(body)) is None
    written = wire.prepare(body, model="gpt-5.4-mini", quirks=Quirks())
    expected = json.loads((GOLDEN / "request.prepared.json").read_text())
    assert written == Written(expected)
    assert list(written.body) == list(expected)


def test_a_request_is_translated_as_written_down() -> None:
    request = face.read_request(REQUEST)
    assert isinstance(request, Request)
    written = wire.write_request(request, model="gpt-5.4-mini", quirks=Quirks())
    expected = json.loads((GOLDEN / "request.translated.json").read_text())
    assert written == Written(expected, dropped=("truncation", "x_unheard_of"))


def filled(text: str, final: dict[str, Any]) -> str:
    """The golden with the ids that were made up."""
    for index, item in enumerate(final["output"]):
        text = text.replace(f'"${index}"', json.dumps(item["id"]))
    return text


def test_a_stream_is_written_as_written_down() -> None:
    events: list[Event] = [
        Begin("msg_01", "claude-sonnet-5", 1_700_000_000),
        ThinkingPiece("A file."),
        Seal("c2ln", "anthropic"),
        Boundary(),
        TextPiece("Grüße"),
        Boundary(),
        CallBegin(0, "toolu_1", "read"),
        ArgumentsPiece(0, '{"path":"a.txt"}'),
        Boundary(),
        End("tool_calls"),
        Counted(USAGE),
        Done(),
    ]
    stream = face.writer(FACTS, model="m", request=REQUEST).write(events)
    lines = stream.decode().split("\n")
    final = json.loads(lines[-3].removeprefix("data: "))["response"]
    expected = json.loads(filled((GOLDEN / "response.completed.json").read_text(), final))
    opened = {
        **expected,
        "status": "in_progress",
        "output": [],
        "usage": None,
        "service_tier": None,
    }
    golden = filled((GOLDEN / "stream.client.sse").read_text(), final)
    golden = golden.replace('"$in_progress"', json.dumps(opened)).replace(
        '"$completed"', json.dumps(expected)
    )
    assert [json.loads(line[6:]) if line[:5] == "data:" else line for line in lines] == [
        json.loads(line[6:]) if line[:5] == "data:" else line for line in golden.split("\n")
    ]
    assert accumulate(stream_of(stream))[1].output_text == "Grüße"


def test_an_answer_is_rendered_as_written_down() -> None:
    answer = Answer(
        id="msg_01",
        model="claude-sonnet-5",
        candidates=[
            Candidate(
                parts=[
                    Thinking("A file.", seal="c2ln", seal_kind="anthropic"),
                    Text("Grüße"),
                    Call("toolu_1", "read", '{"path":"a.txt"}'),
                ],
                finish="tool_calls",
            )
        ],
        usage=USAGE,
    )
    rendered = face.render_answer(answer, model="m", request=REQUEST, created=1_700_000_000)
    found = json.loads(rendered)
    expected = json.loads(filled((GOLDEN / "response.completed.json").read_text(), found))
    assert found == expected
    assert list(found) == list(expected)
    assert answer_of(rendered).output_text == "Grüße"


def test_a_stream_is_read_and_passed_as_written_down() -> None:
    stream = (GOLDEN / "stream.provider.sse").read_bytes()
    reader = wire.reader("openai")
    raw = json.loads(stream.decode().split("\n")[-3].removeprefix("data: "))["response"]["usage"]
    usage = Usage(
        input_tokens=120,
        output_tokens=30,
        cache_read_tokens=100,
        reasoning_tokens=12,
        served_tier="default",
        raw=raw,
    )
    assert reader.feed(stream) + reader.end() == [
        Begin("resp_1", "gpt-5.4-mini-2026-03-05", 1_700_000_000),
        ThinkingPiece("One.", id="rs_1"),
        ThinkingPiece("\n\nTwo.", id="rs_1"),
        Seal("gAAAAlate", "openai", id="rs_1"),
        Boundary(),
        TextPiece("Grüße"),
        Boundary(),
        End("stop"),
        Counted(usage),
        Done(),
    ]
    assert reader.failure is None
    passing = wire.passing("openai", FACTS)
    assert passing.feed(stream) + passing.end() == stream
    assert (passing.done, passing.finish, passing.usage) == (True, "stop", usage)
    assert (passing.model, passing.output_chars, passing.events) == ("gpt-5.4-mini-2026-03-05", 13, 3)


@pytest.mark.parametrize("case", ERRORS, ids=[f"{case['provider']}-{case['status']}" for case in ERRORS])
def test_an_error_is_rendered_as_written_down(case: dict[str, Any]) -> None:
    body = json.dumps(case["body"]).encode()
    failure = wire.classify(case["provider"], case["status"], case["headers"], body)
    status, headers, rendered = face.render(failure)
    assert status == case["client"]["status"]
    assert [list(header) for header in headers] == case["client"]["headers"]
    assert json.loads(rendered) == case["client"]["body"]
    raised = json.loads(face.render_event(failure).split(b"\n")[1].removeprefix(b"data: "))
    assert raised["error"] == case["client"]["body"]["error"]
