"""Recorded exchanges with OpenAI and Groq, replayed. Skipped, with the reason, where they are not at hand."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.openai_chat import errors, request, wire
from keyrail.dialects.openai_chat.answer import Answer, read_answer
from keyrail.dialects.openai_chat.stream import StreamReader
from keyrail.providers import registry

WIRE = Path(__file__).parents[2] / "../shared/data/wire"
NAMES = ("openai", "groq")
HERE = all((WIRE / f"{name}.jsonl.gz").exists() for name in NAMES)
pytestmark = pytest.mark.skipif(not HERE, reason=f"recorded provider traffic is not here: {WIRE}")


def chats(provider: str) -> list[dict[str, Any]]:
    if not HERE:
        return []
    with gzip.open(WIRE / f"{provider}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["path"].endswith("/chat/completions")]


ROWS = [(name, row) for name in NAMES for row in chats(name)]
STREAMS = [(name, row) for name, row in ROWS if row.get("sse")]
BODIES = [(name, row) for name, row in ROWS if not row.get("sse")]


def raw_usage(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    found = [event["usage"] for event in events if event.get("usage")]
    return found[-1] if found else None


def payloads(sse: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in sse.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def run(provider: str, pieces: list[bytes], *, include_usage: bool = True) -> tuple[bytes, StreamReader]:
    reader = StreamReader(provider, include_usage=include_usage)
    return b"".join([reader.feed(piece) for piece in pieces]), reader


@pytest.mark.parametrize(("provider", "row"), ROWS, ids=[f"{name}-{row['id']}" for name, row in ROWS])
def test_every_recorded_request_passes_and_is_prepared_unchanged(provider: str, row: dict[str, Any]) -> None:
    body = request.read(json.dumps(row["request"]).encode())
    assert isinstance(body, dict)
    assert request.check(body) is None
    facts = request.facts(body)
    assert facts.tools == bool(row["request"].get("tools"))
    assert 0 < facts.input_tokens_estimate < 50_000
    quirks = registry.load()[provider].quirks
    written = wire.prepare(request.dump(body), model=facts.model, quirks=quirks)
    assert isinstance(written, Written)
    prepared = written.body
    expected = dict(row["request"])
    if expected.get("stream") is True:
        expected["stream_options"] = {**(expected.get("stream_options") or {}), "include_usage": True}
    if quirks.drop_message_nulls:
        expected["messages"] = [
            {name: value for name, value in message.items() if value is not None or name == "content"}
            for message in expected["messages"]
        ]
    assert prepared == expected


@pytest.mark.parametrize(("provider", "row"), BODIES, ids=[f"{name}-{row['id']}" for name, row in BODIES])
def test_every_recorded_answer_is_read_or_classified(provider: str, row: dict[str, Any]) -> None:
    body = json.dumps(row["response"]).encode()
    if row["status"] == 200:
        answer = read_answer(body, provider)
        assert isinstance(answer, Answer)
        assert answer.body == body
        assert answer.finish == row["response"]["choices"][0]["finish_reason"]
        assert_counts(answer.usage, row["response"]["usage"])
        return
    failure = errors.classify(provider, row["status"], row["response_headers"], body)
    assert failure.kind == {400: "bad_request", 404: "model_missing"}[row["status"]]
    assert failure.status == row["status"]
    assert json.loads(errors.render(failure)[2]) == row["response"]


def assert_counts(usage: Usage, raw: dict[str, Any]) -> None:
    assert (usage.input_tokens, usage.output_tokens) == (raw["prompt_tokens"], raw["completion_tokens"])
    assert usage.cache_read_tokens == (raw.get("prompt_tokens_details") or {}).get("cached_tokens")
    assert usage.reasoning_tokens == (raw.get("completion_tokens_details") or {}).get("reasoning_tokens")
    assert usage.raw == raw


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=[f"{name}-{row['id']}" for name, row in STREAMS])
def test_every_recorded_stream_is_the_same_however_it_is_cut(provider: str, row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    whole, reader = run(provider, [stream])
    events = payloads(row["sse"])
    broken = [event for event in events if event.get("error")]
    if broken:
        assert reader.failure is not None
        assert reader.failure.kind == "bad_request"
        assert reader.failure.error == broken[0]["error"]
        assert stream.startswith(whole)
        assert payloads(whole.decode()) == events[:-1]
    else:
        assert whole == stream
        assert reader.finish_failure() is None
        usage = raw_usage(events)
        assert usage is not None
        assert reader.usage is not None
        assert_counts(reader.usage, usage)
    assert reader.content
    expected = (whole, reader.usage, reader.finish, reader.events, reader.output_chars, reader.failure)
    dice = random.Random(row["id"])
    for size in (1, 7, 1_000):
        cuts = range(len(stream)) if size == 1 else dice.sample(range(len(stream)), len(stream) // size)
        borders = sorted({0, len(stream), *cuts})
        pieces = [stream[start:end] for start, end in itertools.pairwise(borders)]
        output, cut = run(provider, pieces)
        assert (output, cut.usage, cut.finish, cut.events, cut.output_chars, cut.failure) == expected


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=[f"{name}-{row['id']}" for name, row in STREAMS])
def test_a_client_that_did_not_ask_sees_no_usage_only_chunk(provider: str, row: dict[str, Any]) -> None:
    output, reader = run(provider, [row["sse"].encode()], include_usage=False)
    seen = payloads(output.decode())
    assert seen == [event for event in payloads(row["sse"]) if event.get("choices")]
    assert reader.usage is not None or reader.failure is not None


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=[f"{name}-{row['id']}" for name, row in STREAMS])
def test_a_stream_that_breaks_off_anywhere_is_never_a_success(provider: str, row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    end = len(stream.removesuffix(b"\n\n")) - 1
    dice = random.Random(row["id"])
    for cut in [0, end, *(dice.randrange(end) for _ in range(20))]:
        _, reader = run(provider, [stream[:cut]])
        failure = reader.finish_failure()
        assert failure is not None
        assert failure.kind == "truncated"
