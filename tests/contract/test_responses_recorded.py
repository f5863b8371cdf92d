"""Recorded exchanges with /v1/responses, replayed. Skipped, with the reason, where they are not at hand."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from support.responses_sdk import accumulate, answer_of, stream_of

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    CallBegin,
    Counted,
    Done,
    End,
    Event,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Call, Foreign, Text, Thinking
from keyrail.dialects.canonical.request import Request, Written
from keyrail.dialects.openai_responses import face, wire
from keyrail.dialects.openai_responses.passing import Passing

WIRE = Path(__file__).parents[2] / "../shared/data/wire"
NAMES = ("openai", "openrouter")
HERE = all((WIRE / f"{name}.jsonl.gz").exists() for name in NAMES)
pytestmark = pytest.mark.skipif(not HERE, reason=f"recorded provider traffic is not here: {WIRE}")
STATE = ("previous_response_id", "conversation", "prompt")
FACTS = Facts(dialect="openai-responses", model="m")


def exchanges(provider: str) -> list[dict[str, Any]]:
    if not HERE:
        return []
    with gzip.open(WIRE / f"{provider}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["method"] == "POST" and row["path"].endswith("/responses")]


def ended(row: dict[str, Any]) -> bool:
    return row["status"] == 200 and not row.get("sse") and row["response"]["status"] != "queued"


ROWS = [(name, row) for name in NAMES for row in exchanges(name)]
STREAMS = [(name, row) for name, row in ROWS if row.get("sse")]
ANSWERS = [(name, row) for name, row in ROWS if ended(row)]
REFUSED = [(name, row) for name, row in ROWS if row["status"] != 200]


def ids(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [f"{name}-{row['id']}" for name, row in rows]


def items_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [] if type(body["input"]) is str else body["input"]


def asks_for_memory(body: dict[str, Any]) -> str | None:
    found = next((name for name in STATE if body.get(name) is not None), None)
    if found is None and body.get("background"):
        return "background"
    return found


@pytest.mark.parametrize(("provider", "row"), ROWS, ids=ids(ROWS))
def test_every_recorded_request_passes_unchanged_but_for_storing(provider: str, row: dict[str, Any]) -> None:
    body = json.loads(json.dumps(row["request"]))
    problem = face.check(body)
    if param := asks_for_memory(body):
        assert problem is not None
        assert (problem.status, problem.param) == (400, param)
        return
    if row["status"] == 400 and row["request"].get("temperature") == -1:
        assert problem is not None
        assert problem.param == "temperature"
        return
    assert problem is None
    facts = face.facts(body)
    assert facts.tools == bool(body.get("tools"))
    assert facts.stream is bool(body.get("stream"))
    assert 0 < facts.input_tokens_estimate < 60_000
    written = wire.prepare(json.dumps(body).encode(), model=facts.model, quirks=Quirks())
    assert written.dropped == ()
    expected = {**row["request"], "store": False}
    assert written.body == expected
    assert list(written.body) == list(expected)


@pytest.mark.parametrize(("provider", "row"), ROWS, ids=ids(ROWS))
def test_every_recorded_request_is_read_or_refused_with_a_reason(provider: str, row: dict[str, Any]) -> None:
    body = row["request"]
    if face.check(body) is not None:
        return
    read = face.read_request(body)
    if isinstance(read, Failure):
        assert (read.kind, read.status) == ("bad_request", 400)
        assert read.param is not None
        assert read.param.startswith(("tools[", "input["))
        hosted = [tool for tool in body.get("tools") or () if tool["type"] != "function"]
        items = [item for item in items_in(body) if item.get("type") not in PORTABLE]
        assert hosted or items or "file_id" in read.param or "namespace" in read.param
        return
    assert isinstance(read, Request)
    assert len(read.tools) == len(body.get("tools") or ())
    given = [item for item in items_in(body) if item.get("type") == "function_call"]
    calls = [part for message in read.messages for part in message.parts if type(part) is Call]
    assert [(call.id, call.name, call.arguments) for call in calls] == [
        (item["call_id"], item["name"], item["arguments"]) for item in given
    ]
    back = wire.write_request(read, model="m", quirks=Quirks())
    if any(type(part) is Foreign for message in read.messages for part in message.parts):
        return
    assert isinstance(back, Written)
    sealed = [item["encrypted_content"] for item in items_in(body) if item.get("type") == "reasoning"]
    assert [i["encrypted_content"] for i in back.body["input"] if i["type"] == "reasoning"] == sealed


PORTABLE = frozenset({None, "message", "reasoning", "function_call", "function_call_output"})


def assert_counts(usage: Usage, raw: dict[str, Any]) -> None:
    assert (usage.input_tokens, usage.output_tokens) == (raw["input_tokens"], raw["output_tokens"])
    details = raw["input_tokens_details"]
    assert usage.cache_read_tokens == details["cached_tokens"]
    assert usage.cache_write_tokens == details.get("cache_write_tokens")
    assert usage.reasoning_tokens == raw["output_tokens_details"]["reasoning_tokens"]
    assert usage.raw == raw


def words(output: list[dict[str, Any]]) -> str:
    return "".join(
        part.get("text", part.get("refusal", ""))
        for item in output
        if item["type"] == "message"
        for part in item["content"]
    )


def thoughts(output: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for item in output:
        if item["type"] == "reasoning":
            texts = [part["text"] for part in item.get("summary") or item.get("content") or ()]
            found.append(("\n\n".join(texts), item.get("encrypted_content")))
    return [thought for thought in found if any(thought)]


@pytest.mark.parametrize(("provider", "row"), ANSWERS, ids=ids(ANSWERS))
def test_every_recorded_answer_is_read_whole(provider: str, row: dict[str, Any]) -> None:
    recorded = row["response"]
    answer = wire.parse_answer(json.dumps(recorded).encode(), provider)
    assert isinstance(answer, Answer)
    assert (answer.id, answer.model, answer.created) == (
        recorded["id"],
        recorded["model"],
        int(recorded["created_at"]),
    )
    assert_counts(answer.usage, recorded["usage"])
    assert answer.usage.served_tier == recorded.get("service_tier")
    parts = answer.candidates[0].parts
    assert "".join(part.text for part in parts if type(part) is Text) == words(recorded["output"])
    assert [(part.text, part.seal) for part in parts if type(part) is Thinking] == thoughts(
        recorded["output"]
    )
    calls = [item for item in recorded["output"] if item["type"] == "function_call"]
    assert [(part.id, part.name, part.arguments) for part in parts if type(part) is Call] == [
        (item["call_id"], item["name"], item["arguments"]) for item in calls
    ]
    assert answer.candidates[0].finish == ("tool_calls" if calls else "stop")


@pytest.mark.parametrize(("provider", "row"), ANSWERS, ids=ids(ANSWERS))
def test_every_recorded_answer_is_rendered_so_that_the_client_reads_the_same(
    provider: str, row: dict[str, Any]
) -> None:
    recorded = row["response"]
    answer = wire.parse_answer(json.dumps(recorded).encode(), provider)
    assert isinstance(answer, Answer)
    rendered = face.render_answer(answer, model="m", request=row["request"])
    seen = answer_of(rendered)
    assert (seen.model, seen.created_at) == (recorded["model"], int(recorded["created_at"]))
    assert seen.output_text == words(recorded["output"])
    output = json.loads(rendered)["output"]
    assert thoughts(output) == thoughts(recorded["output"])
    shown = ("call_id", "name", "arguments", "status")
    assert [[item[name] for name in shown] for item in output if item["type"] == "function_call"] == [
        [item[name] for name in shown] for item in recorded["output"] if item["type"] == "function_call"
    ]
    assert seen.usage is not None
    assert seen.usage.total_tokens == recorded["usage"]["input_tokens"] + recorded["usage"]["output_tokens"]
    assert json.loads(rendered)["store"] is False


@pytest.mark.parametrize(("provider", "row"), REFUSED, ids=ids(REFUSED))
def test_every_recorded_refusal_is_classified_and_passed_on(provider: str, row: dict[str, Any]) -> None:
    body = json.dumps(row["response"]).encode()
    failure = wire.classify(provider, row["status"], row["response_headers"], body)
    missing = row["response"]["error"]["code"] == "model_not_found"
    assert failure.kind == ("model_missing" if missing else "bad_request")
    assert failure.status == row["status"]
    assert json.loads(face.render(failure)[2]) == row["response"]


def payloads(sse: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in sse.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def response_of(row: dict[str, Any]) -> dict[str, Any]:
    return next(event["response"] for event in payloads(row["sse"]) if event["type"] == "response.completed")


def items_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The items as they ended; the last event seals their thoughts once more, in other words."""
    return [event["item"] for event in payloads(row["sse"]) if event["type"] == "response.output_item.done"]


def read(provider: str, pieces: list[bytes]) -> tuple[list[Event], Failure | None]:
    reader = wire.reader(provider)
    found = [event for piece in pieces for event in reader.feed(piece)]
    return found + reader.end(), reader.failure


def relay(provider: str, pieces: list[bytes]) -> tuple[bytes, Passing]:
    passing = wire.passing(provider, FACTS)
    return b"".join([*(passing.feed(piece) for piece in pieces), passing.end()]), passing


def cuts(row: dict[str, Any]) -> list[list[bytes]]:
    stream = row["sse"].encode()
    dice = random.Random(row["id"])
    found: list[list[bytes]] = []
    for size in (1 if len(stream) < 20_000 else 30, 100, 1_000):
        places = range(len(stream)) if size == 1 else dice.sample(range(len(stream)), len(stream) // size)
        borders = sorted({0, len(stream), *places})
        found.append([stream[start:end] for start, end in itertools.pairwise(borders)])
    return found


def state(passing: Passing) -> tuple[Any, ...]:
    return (
        passing.content,
        passing.done,
        passing.failure,
        passing.finish,
        passing.usage,
        passing.model,
        passing.output_chars,
        passing.events,
    )


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=ids(STREAMS))
def test_every_recorded_stream_passes_byte_for_byte_however_it_is_cut(
    provider: str, row: dict[str, Any]
) -> None:
    stream = row["sse"].encode()
    output, whole = relay(provider, [stream])
    assert output == stream[: len(output)]
    assert stream[len(output) :].strip() in (b"", b"data: [DONE]")
    assert whole.failure is None
    assert whole.done
    assert whole.usage is not None
    recorded = response_of(row)
    assert_counts(whole.usage, recorded["usage"])
    assert whole.model == recorded["model"]
    assert whole.output_chars == sum(
        len(event["delta"]) for event in payloads(row["sse"]) if event["type"].endswith(".delta")
    )
    for pieces in cuts(row):
        again, cut = relay(provider, pieces)
        assert again == output
        assert state(cut) == state(whole)


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=ids(STREAMS))
def test_every_recorded_stream_is_read_the_same_however_it_is_cut(provider: str, row: dict[str, Any]) -> None:
    found, failure = read(provider, [row["sse"].encode()])
    assert failure is None
    recorded = response_of(row)
    output = items_of(row)
    assert type(found[0]) is Begin
    assert (found[0].id, found[0].model) == (recorded["id"], recorded["model"])
    assert [type(event) for event in found[-3:]] == [End, Counted, Done]
    assert "".join(event.text for event in found if type(event) is TextPiece) == words(output)
    seen = "".join(event.text for event in found if type(event) is ThinkingPiece)
    assert seen == "".join(text for text, _ in thoughts(output))
    assert [event.seal for event in found if type(event) is Seal] == [
        seal for _, seal in thoughts(output) if seal
    ]
    calls = [item for item in output if item["type"] == "function_call"]
    begun = [event for event in found if type(event) is CallBegin]
    assert [(call.id, call.name) for call in begun] == [(item["call_id"], item["name"]) for item in calls]
    for call, item in zip(begun, calls, strict=True):
        pieces = [e.text for e in found if type(e) is ArgumentsPiece and e.position == call.position]
        assert call.arguments + "".join(pieces) == item["arguments"]
    counted = found[-2]
    assert isinstance(counted, Counted)
    assert_counts(counted.usage, recorded["usage"])
    for pieces in cuts(row):
        assert read(provider, pieces) == (found, None)


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=ids(STREAMS))
def test_every_recorded_stream_written_again_gives_the_client_the_same_response(
    provider: str, row: dict[str, Any]
) -> None:
    found, _ = read(provider, [row["sse"].encode()])
    writer = face.writer(FACTS, model="m", request=row["request"])
    events, final = accumulate(stream_of(writer.write(found)))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    recorded = response_of(row)
    assert final.output_text == words(items_of(row))
    assert thoughts([item.to_dict() for item in final.output]) == thoughts(items_of(row))
    assert final.usage is not None
    assert final.usage.total_tokens == recorded["usage"]["total_tokens"]
    one = face.writer(FACTS, model="m", request=row["request"])
    assert b"".join(one.write([event]) for event in found) == face.writer(
        FACTS, model="m", request=row["request"]
    ).write(found)


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=ids(STREAMS))
def test_a_stream_that_breaks_off_anywhere_is_never_a_success(provider: str, row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    end = stream.rindex(b'"type":"response.completed"')
    dice = random.Random(row["id"])
    for cut in [0, end, *(dice.randrange(end) for _ in range(20))]:
        found, failure = read(provider, [stream[:cut]])
        _, passing = relay(provider, [stream[:cut]])
        for seen in (failure, passing.failure):
            assert seen is not None
            assert seen.kind in ("truncated", "garbage")
            assert seen.falls_over
        assert not any(type(event) is Done for event in found)
