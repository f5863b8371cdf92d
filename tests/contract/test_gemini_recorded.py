"""Recorded exchanges with Gemini, replayed. Skipped, with the reason, where they are not at hand."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.events import (
    Begin,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Call, Foreign, Image, Text, Thinking
from keyrail.dialects.canonical.request import Message, Request, Written
from keyrail.dialects.gemini_generate import errors
from keyrail.dialects.gemini_generate.answer import parse_answer
from keyrail.dialects.gemini_generate.outbound import write_request
from keyrail.dialects.gemini_generate.reader import Reader
from keyrail.dialects.gemini_generate.turns import FILLER

WIRE = Path(__file__).parents[2] / "../shared/data/wire/gemini.jsonl.gz"
pytestmark = pytest.mark.skipif(not WIRE.exists(), reason=f"recorded provider traffic is not here: {WIRE}")


def recorded() -> list[dict[str, Any]]:
    if not WIRE.exists():
        return []
    with gzip.open(WIRE, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if "enerateContent" in row["path"]]


ROWS = recorded()
STREAMS = [row for row in ROWS if row.get("sse")]
ANSWERS = [row for row in ROWS if row["status"] == 200 and not row.get("sse")]
REFUSALS = [row for row in ROWS if row["status"] != 200]
IDS = [row["id"] for row in STREAMS]


def model_of(row: dict[str, Any]) -> str:
    return row["path"].rpartition("/")[2].partition(":")[0]


def sum_of(raw: dict[str, Any], *names: str) -> int:
    return sum(raw.get(f"{name}TokenCount", 0) for name in names)


def assert_counts(usage: Usage, raw: dict[str, Any]) -> None:
    inputs = sum_of(raw, "prompt", "toolUsePrompt")
    assert (usage.input_tokens, usage.output_tokens) == (inputs, raw["totalTokenCount"] - inputs)
    assert usage.output_tokens == sum_of(raw, "candidates", "thoughts")
    assert usage.reasoning_tokens == raw.get("thoughtsTokenCount")
    assert usage.cache_read_tokens == raw.get("cachedContentTokenCount")
    assert usage.served_tier == raw.get("serviceTier")
    assert usage.raw == raw


def run(pieces: list[bytes]) -> tuple[list[Event], Failure | None]:
    reader = Reader("gemini")
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.end(), reader.failure


def chunks(sse: str) -> list[dict[str, Any]]:
    return [
        json.loads(line.removeprefix("data: ")) for line in sse.splitlines() if line.startswith("data: {")
    ]


def parts_of(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    return chunk["candidates"][0].get("content", {}).get("parts", [])


def test_the_recordings_are_all_there() -> None:
    assert (len(ANSWERS), len(STREAMS), len(REFUSALS)) == (197, 11, 1)


@pytest.mark.parametrize("row", ANSWERS, ids=[row["id"] for row in ANSWERS])
def test_every_recorded_answer_is_read(row: dict[str, Any]) -> None:
    response = row["response"]
    answer = parse_answer(json.dumps(response).encode(), "gemini")
    assert isinstance(answer, Answer)
    assert (answer.id, answer.model) == (response["responseId"], response["modelVersion"])
    assert_counts(answer.usage, response["usageMetadata"])
    (candidate,) = answer.candidates
    parts = parts_of(response)
    kinds = {"MAX_TOKENS": "length", "SAFETY": "content_filter", "STOP": "stop"}
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    reason = response["candidates"][0]["finishReason"]
    assert candidate.finish == ("tool_calls" if calls and reason == "STOP" else kinds[reason])
    made = [part for part in candidate.parts if type(part) is Call]
    assert [(call.name, json.loads(call.arguments)) for call in made] == [
        (call["name"], call["args"]) for call in calls
    ]
    assert len({call.id for call in made}) == len(calls)
    assert [call.id for call, raw in zip(made, calls, strict=True) if "id" in raw] == [
        raw["id"] for raw in calls if "id" in raw
    ]
    words = [part["text"] for part in parts if part.get("text") and not part.get("thought")]
    assert [part.text for part in candidate.parts if type(part) is Text and part.text] == words
    thoughts = [part["text"] for part in parts if part.get("thought")]
    assert [part.text for part in candidate.parts if type(part) is Thinking] == thoughts
    images = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    assert [part.data for part in candidate.parts if type(part) is Image] == images


@pytest.mark.parametrize("row", ANSWERS, ids=[row["id"] for row in ANSWERS])
def test_an_answer_goes_back_into_the_history_as_it_came(row: dict[str, Any]) -> None:
    answer = parse_answer(json.dumps(row["response"]).encode(), "gemini")
    assert isinstance(answer, Answer)
    parts = answer.candidates[0].parts
    messages = [
        Message("user", [Text("Hi")]),
        Message("assistant", parts),
        Message("user", [Text("Go on")]),
    ]
    written = write_request(Request(messages=messages), model=model_of(row), quirks=Quirks())
    assert isinstance(written, Written)
    hosted = [part for part in parts if type(part) is Foreign]
    unsigned = [part for part in parts if type(part) is Thinking and not part.seal]
    assert len(written.dropped) == len(hosted) + bool(unsigned)
    expected = [
        part
        for part in parts_of(row["response"])
        if not part.keys() & {"toolCall", "toolResponse", "executableCode", "codeExecutionResult"}
        and (not part.get("thought") or part.get("thoughtSignature"))
    ]
    back = written.body["contents"][1]["parts"] if expected else []
    for before, after in zip(expected, back, strict=True):
        if "functionCall" in before:
            before["functionCall"].setdefault("id", after["functionCall"]["id"])
        assert after.get("thoughtSignature") == before.get("thoughtSignature", after.get("thoughtSignature"))
        if after.get("thoughtSignature") == FILLER:
            assert model_of(row).startswith("gemini-3")
        else:
            assert after == before


@pytest.mark.parametrize("row", REFUSALS, ids=[row["id"] for row in REFUSALS])
def test_every_recorded_refusal_is_classified(row: dict[str, Any]) -> None:
    body = json.dumps(row["response"]).encode()
    failure = errors.classify("gemini", row["status"], row["response_headers"], body)
    assert (failure.kind, failure.status) == ("model_missing", 404)
    assert (failure.error, failure.error_dialect) == (row["response"]["error"], "gemini-generate")


@pytest.mark.parametrize("row", STREAMS, ids=IDS)
def test_every_recorded_stream_tells_what_it_holds(row: dict[str, Any]) -> None:
    events, failure = run([row["sse"].encode()])
    assert failure is None
    found = chunks(row["sse"])
    assert type(events[0]) is Begin
    assert (events[0].id, events[0].model) == (found[0]["responseId"], found[0]["modelVersion"])
    assert [type(event) for event in events[-3:]] == [End, Counted, Done]
    counted = [event for event in events if type(event) is Counted]
    assert len(counted) == 1
    last = found[-1]["usageMetadata"]
    inputs = sum_of(last, "prompt", "toolUsePrompt")
    assert (counted[0].usage.input_tokens, counted[0].usage.raw) == (inputs, last)
    assert counted[0].usage.output_tokens == last["totalTokenCount"] - inputs
    parts = [part for chunk in found for part in parts_of(chunk)]
    text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    assert "".join(event.text for event in events if type(event) is TextPiece) == text
    thoughts = "".join(part["text"] for part in parts if part.get("thought"))
    assert "".join(event.text for event in events if type(event) is ThinkingPiece) == thoughts
    calls = [(part["functionCall"], part.get("thoughtSignature")) for part in parts if "functionCall" in part]
    begun = [event for event in events if type(event) is CallBegin]
    assert [(call.name, json.loads(call.arguments), call.seal) for call in begun] == [
        (raw["name"], raw["args"], seal) for raw, seal in calls
    ]
    seals = [part["thoughtSignature"] for part in parts if "text" in part and "thoughtSignature" in part]
    assert [event.seal for event in events if type(event) is TextPiece and event.seal] == seals
    ends = [event for event in events if type(event) is End]
    assert [end.finish for end in ends] == ["tool_calls" if calls else "stop"]
    sources = found[-1]["candidates"][0].get("groundingMetadata", {}).get("groundingChunks", [])
    assert [event.value for event in events if type(event) is CitationPiece] == sources


@pytest.mark.parametrize("row", STREAMS, ids=IDS)
def test_every_recorded_stream_is_the_same_however_it_is_cut(row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    expected = run([stream])
    dice = random.Random(row["id"])
    for size in (1, 7, 1_000):
        cuts = range(len(stream)) if size == 1 else dice.sample(range(len(stream)), len(stream) // size)
        if size == 1 and len(stream) > 20_000:
            cuts = range(len(stream) - 20_000, len(stream))
        borders = sorted({0, len(stream), *cuts})
        assert run([stream[start:end] for start, end in itertools.pairwise(borders)]) == expected
        crlf = stream.replace(b"\n", b"\r\n")
        assert run(
            [crlf[start:end] for start, end in itertools.pairwise(borders)] + [crlf[len(stream) :]]
        ) == (expected)


@pytest.mark.parametrize("row", STREAMS, ids=IDS)
def test_a_stream_that_breaks_off_anywhere_is_never_a_success(row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    end = stream.rindex(b"finishReason") if row["sse"].count("finishReason") == 1 else 0
    dice = random.Random(row["id"])
    whole = len(stream.rstrip()) - 1
    for cut in [0, end, whole, *(dice.randrange(whole) for _ in range(20))]:
        events, failure = run([stream[:cut]])
        assert failure is not None
        assert failure.kind == "truncated"
        assert not any(type(event) in (Done, End) for event in events)
        assert all(event.usage.estimated for event in events if type(event) is Counted)
