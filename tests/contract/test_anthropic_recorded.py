"""Recorded exchanges with Anthropic, replayed. Skipped, with the reason, where they are not at hand."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from anthropic.types.beta import BetaMessage
from support.messages import payloads, through_sdk

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import counting, face, wire
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.events import CallBegin, Counted, Done, End, Event, TextPiece
from keyrail.dialects.canonical.parts import Call, Foreign, Text
from keyrail.dialects.canonical.request import Request

WIRE = Path(__file__).parents[2] / "../shared/data/wire"
HERE = (WIRE / "anthropic.jsonl.gz").exists()
pytestmark = pytest.mark.skipif(not HERE, reason=f"recorded provider traffic is not here: {WIRE}")
FACTS = Facts(dialect="anthropic-messages", model="m", stream=True)
HOSTED = ("mcp_servers", "tools[")
ANTHROPICS = ("'tool_reference'", "'tool_addition'", "source 'file'", "stored at one provider")


def exchanges() -> list[dict[str, Any]]:
    if not HERE:
        return []
    with gzip.open(WIRE / "anthropic.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


ROWS = [row for row in exchanges() if row["path"] == "/v1/messages"]
COUNTS = [row for row in exchanges() if row["path"].endswith("/count_tokens")]
STREAMS = [row for row in ROWS if row.get("sse")]
BODIES = [row for row in ROWS if not row.get("sse")]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def assert_counts(usage: Usage, raw: dict[str, Any]) -> None:
    cached = raw["cache_read_input_tokens"] + raw["cache_creation_input_tokens"]
    assert usage.input_tokens == raw["input_tokens"] + cached
    assert usage.output_tokens == raw["output_tokens"]
    assert usage.cache_read_tokens == raw["cache_read_input_tokens"]
    assert usage.cache_write_tokens == raw["cache_creation_input_tokens"]
    details = raw.get("output_tokens_details")
    assert usage.reasoning_tokens == (details["thinking_tokens"] if details else None)


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_every_recorded_request_passes_and_is_prepared_unchanged(row: dict[str, Any]) -> None:
    body = row["request"]
    assert face.check(body) is None
    facts = face.facts(body)
    assert facts.tools == bool(body.get("tools"))
    assert facts.stream is (body.get("stream") is True)
    assert 0 < facts.input_tokens_estimate < 50_000
    sent = json_text.dump(body)
    written = wire.prepare(sent, model="another", quirks=Quirks())
    assert written.dropped == ()
    expected = {**body, "model": "another"}
    assert json_text.dump(written.body) == json_text.dump(expected)


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_every_recorded_request_without_hosted_tools_survives_the_canonical_form(row: dict[str, Any]) -> None:
    body = row["request"]
    read = face.read_request(body)
    if isinstance(read, Failure):
        assert read.param is not None
        assert read.param.startswith(HOSTED) or any(word in read.message for word in ANTHROPICS)
        return
    foreign = [part for message in read.messages for part in message.parts if isinstance(part, Foreign)]
    written = wire.write_request(read, model=body["model"], quirks=Quirks())
    if isinstance(written, Failure):
        assert any(word in written.message for word in ANTHROPICS)
        return
    assert blocks(written.body) == blocks(body)
    assert face.check(written.body) is None
    assert written.body["max_tokens"] == body["max_tokens"]
    if not foreign:
        again = face.read_request(written.body)
        assert isinstance(again, Request)
        assert [m.parts for m in again.messages] == [m.parts for m in merged(read)]


def merged(request: Request) -> Any:
    """The messages as a writer has to give them: neighbours of one role together."""
    together: list[Any] = []
    for message in request.messages:
        if together and together[-1].role == message.role:
            together[-1].parts += message.parts
        else:
            together.append(message)
    return together


def blocks(body: dict[str, Any]) -> list[Any]:
    """All blocks of all turns as they mean, without the ways in which the wire may say the same."""
    found: list[Any] = []
    for message in [{"role": "system", "content": body.get("system") or []}, *body["messages"]]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            meant = {name: value for name, value in block.items() if (name, value) != ("is_error", False)}
            inner = block.get("content")
            if block["type"] == "tool_result" and isinstance(inner, str):
                meant["content"] = [{"type": "text", "text": inner}] if inner else []
            found.append((message["role"], meant))
    return found


@pytest.mark.parametrize("row", BODIES, ids=ids(BODIES))
def test_every_recorded_answer_is_read_or_classified(row: dict[str, Any]) -> None:
    body = json_text.dump(row["response"])
    if row["status"] != 200:
        failure = wire.classify("anthropic", row["status"], row["response_headers"], body)
        assert failure.kind == {400: "bad_request", 404: "model_missing"}[row["status"]]
        status, _, rendered = face.render(failure)
        assert status == row["status"]
        assert json.loads(rendered) == row["response"]
        return
    answer = wire.parse_answer(body, "anthropic")
    assert isinstance(answer, Answer)
    assert_counts(answer.usage, row["response"]["usage"])
    assert len(answer.candidates[0].parts) == len(row["response"]["content"])
    again = BetaMessage.model_validate_json(face.render_answer(answer, model="m"))
    assert again.id == row["response"]["id"]
    assert again.stop_reason == row["response"]["stop_reason"]
    assert again.usage.input_tokens == row["response"]["usage"]["input_tokens"]
    assert [block.type for block in again.content] == [block["type"] for block in row["response"]["content"]]


@pytest.mark.parametrize("row", STREAMS, ids=ids(STREAMS))
def test_every_recorded_stream_passes_byte_for_byte_however_it_is_cut(row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    for pieces in cuts(stream, row["id"]):
        relay = wire.passing("anthropic", FACTS)
        output = b"".join([relay.feed(piece) for piece in pieces]) + relay.end()
        assert output == stream
        assert (relay.done, relay.failure, relay.content) == (True, None, True)
        assert relay.usage is not None
        assert_counts(relay.usage, last_usage(row))
        assert relay.model is not None
        assert relay.events > 0


@pytest.mark.parametrize("row", STREAMS, ids=ids(STREAMS))
def test_every_recorded_stream_is_read_the_same_however_it_is_cut(row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    whole: list[Event] | None = None
    for pieces in cuts(stream, row["id"]):
        reader = wire.reader("anthropic")
        events = [event for piece in pieces for event in reader.feed(piece)] + reader.end()
        assert reader.failure is None
        assert isinstance(events[-1], Done)
        whole = whole if whole is not None else events
        assert events == whole
    assert whole is not None
    counted = [event for event in whole if isinstance(event, Counted)]
    assert_counts(counted[-1].usage, last_usage(row))
    assert sum(isinstance(event, End) for event in whole) == 1


@pytest.mark.parametrize("row", STREAMS, ids=ids(STREAMS))
def test_every_recorded_stream_is_the_same_to_the_sdk_after_translation(row: dict[str, Any]) -> None:
    reader = wire.reader("anthropic")
    events = reader.feed(row["sse"].encode())
    writer = face.writer(FACTS, model="m")
    written = b"".join(writer.write([event]) for event in events)
    direct, translated = through_sdk(row["sse"].encode()), through_sdk(written)
    kinds = ("text", "thinking", "redacted_thinking", "tool_use")
    expected = [block for block in direct.content if block.type in kinds]
    assert [plain(block) for block in translated.content] == [plain(block) for block in expected]
    assert translated.stop_reason == direct.stop_reason
    assert translated.usage.input_tokens == direct.usage.input_tokens
    assert translated.usage.output_tokens == direct.usage.output_tokens
    indexes = [event["index"] for event in payloads(written) if event["type"] == "content_block_start"]
    assert indexes == list(range(len(indexes)))


def plain(block: Any) -> dict[str, Any]:
    fields = block.to_dict()
    return {name: value for name, value in fields.items() if value not in (None, []) and name != "caller"}


@pytest.mark.parametrize("row", STREAMS, ids=ids(STREAMS))
def test_a_stream_that_breaks_off_anywhere_is_never_a_success(row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    end = len(stream.removesuffix(b"\n\n")) - 1
    dice = random.Random(row["id"])
    for cut in [0, 3, end - 2, *(dice.randrange(end) for _ in range(20))]:
        reader, relay = wire.reader("anthropic"), wire.passing("anthropic", FACTS)
        reader.feed(stream[:cut])
        reader.end()
        relay.feed(stream[:cut])
        relay.end()
        for failure in (reader.failure, relay.failure):
            assert failure is not None
            assert failure.kind == "truncated"


@pytest.mark.parametrize("row", COUNTS, ids=ids(COUNTS))
def test_every_recorded_count_is_read_and_the_estimate_is_near(row: dict[str, Any]) -> None:
    body = row["request"]
    assert counting.check(body) is None
    assert counting.facts(body).stream is False
    number = counting.parse_answer(json_text.dump(row["response"]), "anthropic")
    assert number == row["response"]["input_tokens"]
    assert isinstance(number, int)
    assert json.loads(counting.render(number)) == row["response"]
    read = face.read_request(body)
    if isinstance(read, Request):
        assert number / 3 <= counting.estimate(read) <= number * 3


def last_usage(row: dict[str, Any]) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    for event in payloads(row["sse"].encode()):
        usage |= event.get("usage") or event.get("message", {}).get("usage") or {}
    return usage


def cuts(stream: bytes, seed: str) -> list[list[bytes]]:
    dice = random.Random(seed)
    found = [[stream]]
    for size in (1, 7, 1_000):
        places = range(len(stream)) if size == 1 else dice.sample(range(len(stream)), len(stream) // size)
        borders = sorted({0, len(stream), *places})
        found.append([stream[start:end] for start, end in itertools.pairwise(borders)])
    return found


def test_the_recordings_hold_what_these_tests_are_about() -> None:
    bodies = [json_text.dump(row["response"]) for row in BODIES if row["status"] == 200]
    answers = [wire.parse_answer(body, "anthropic") for body in bodies]
    parts = [part for answer in answers if isinstance(answer, Answer) for part in answer.candidates[0].parts]
    assert sum(isinstance(part, Call) for part in parts) > 50
    assert sum(isinstance(part, Text) for part in parts) > 100
    events: list[Event] = []
    for row in STREAMS:
        events += wire.reader("a").feed(row["sse"].encode())
    assert any(isinstance(event, CallBegin) for event in events)
    assert sum(isinstance(event, TextPiece) for event in events) > 100
