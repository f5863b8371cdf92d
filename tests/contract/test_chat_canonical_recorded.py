"""Recorded exchanges with providers of the chat dialect, through the canonical form and back.

Skipped, with the reason, where they are not at hand.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from support import chat

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    CallBegin,
    Counted,
    Done,
    End,
    Event,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Call, Text, Thinking
from keyrail.dialects.canonical.request import Request, Written
from keyrail.dialects.openai_chat import face, wire
from keyrail.dialects.openai_chat.reader import Reader

WIRE = Path(__file__).parents[2] / "../shared/data/wire"
NAMES = ("openai", "groq", "mistral", "openrouter", "cerebras")
HERE = all((WIRE / f"{name}.jsonl.gz").exists() for name in NAMES)
pytestmark = pytest.mark.skipif(not HERE, reason=f"recorded provider traffic is not here: {WIRE}")
QUIRKS = Quirks(takes=("cache_control", "reasoning_details", "extra_content"), thoughts="reasoning")


def chats(provider: str) -> list[dict[str, Any]]:
    if not HERE:
        return []
    with gzip.open(WIRE / f"{provider}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["path"].endswith("/chat/completions")]


def ids(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [f"{name}-{row['id']}" for name, row in rows]


ROWS = [(name, row) for name in NAMES for row in chats(name)]
STREAMS = [(name, row) for name, row in ROWS if row.get("sse")]
BODIES = [(name, row) for name, row in ROWS if not row.get("sse") and row["status"] == 200]


@pytest.mark.parametrize(("provider", "row"), ROWS, ids=ids(ROWS))
def test_every_recorded_request_means_the_same_after_both_ways(provider: str, row: dict[str, Any]) -> None:
    body = row["request"]
    assert face.check(body) is None
    request = face.read_request(body)
    if isinstance(request, Failure):
        assert request.param in ("web_search_options", "tools[0].type")
        assert "web_search_options" in body or body["tools"][0]["type"].startswith("openrouter:")
        return
    assert isinstance(request, Request)
    assert not set(request.dropped) & {"messages", "tools", "temperature", "stop", "response_format"}
    written = wire.write_request(request, model=body["model"], quirks=QUIRKS)
    if isinstance(written, Failure):
        assert written.param == "document"
        assert '"document_url": "https://' in json.dumps(body)
        return
    assert isinstance(written, Written)
    assert written.dropped == ()
    assert plain(written.body["messages"]) == plain(body["messages"])
    assert len(written.body.get("tools", [])) == len(body.get("tools") or [])
    for ours, theirs in zip(written.body.get("tools", []), body.get("tools") or [], strict=True):
        assert ours["function"].get("parameters") == theirs["function"]["parameters"]
        assert ours.get("cache_control") == theirs.get("cache_control")
    again = face.read_request(json.loads(json.dumps(written.body)))
    assert isinstance(again, Request)
    twice = wire.write_request(again, model=body["model"], quirks=QUIRKS)
    assert isinstance(twice, Written)
    assert twice.body == written.body


def plain(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What is said, in the order of the messages; null, empty and a single text written either way."""
    found: list[tuple[Any, ...]] = []
    for message in messages:
        content = message.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        parts = [part for part in parts if part.get("text") != ""]
        if message["role"] == "assistant":  # its parts are one text
            parts = ["".join(part["text"] for part in parts if part["type"] == "text")]
        calls = [
            (call["id"], call["function"]["name"], call["function"]["arguments"] or "{}")
            for call in message.get("tool_calls") or ()
        ]
        role = "system" if message["role"] == "developer" else message["role"]
        parts = [_as_written(part) for part in parts]
        found.append((role, parts, calls, message.get("tool_call_id")))
    return found


def _as_written(part: Any) -> Any:
    """OpenAI's own mark of a cache is written as the usual one, and Mistral's documents as files."""
    if isinstance(part, dict) and "prompt_cache_breakpoint" in part:
        part = {name: value for name, value in part.items() if name != "prompt_cache_breakpoint"}
        part["cache_control"] = {"type": "ephemeral"}
    if isinstance(part, dict) and part["type"] in ("file", "document_url"):
        file = part.get("file", {})
        data = part.get("document_url") or file.get("file_data") or file["file_id"]
        return data.replace("application/octet-stream", "application/pdf")
    return part


@pytest.mark.parametrize(("provider", "row"), BODIES, ids=ids(BODIES))
def test_every_recorded_answer_is_the_same_for_a_client_after_both_ways(
    provider: str, row: dict[str, Any]
) -> None:
    recorded = row["response"]
    answer = wire.parse_answer(json.dumps(recorded).encode(), provider)
    if isinstance(answer, Failure):
        assert recorded.get("error") or recorded.get("choices") is None
        return
    assert_counts(answer.usage, recorded["usage"])
    shown = json.loads(face.render_answer(answer, model="m"))
    chat.parse(json.dumps(shown).encode())
    assert (shown["id"], shown["model"], shown["created"]) == (
        recorded["id"],
        recorded["model"],
        recorded["created"],
    )
    for ours, theirs in zip(shown["choices"], recorded["choices"], strict=True):
        assert ours["finish_reason"] == theirs["finish_reason"]
        message, was = ours["message"], theirs["message"]
        assert (message["content"] or "") == (was.get("content") or "")
        assert message.get("reasoning") == (was.get("reasoning") or None)
        calls = [(call["id"], call["function"]) for call in message.get("tool_calls", [])]
        assert calls == [(call["id"], call["function"]) for call in was.get("tool_calls") or ()]
        seals = [
            entry for entry in was.get("reasoning_details") or () if entry.get("signature") or "data" in entry
        ]
        kept = [
            entry for entry in message.get("reasoning_details", []) if entry["type"] != "reasoning.summary"
        ]
        assert [entry.get("data", entry.get("signature")) for entry in kept] == [
            entry.get("data", entry.get("signature")) for entry in seals
        ]


def assert_counts(usage: Usage, raw: dict[str, Any]) -> None:
    assert (usage.input_tokens, usage.output_tokens) == (raw["prompt_tokens"], raw["completion_tokens"])
    prompt = raw.get("prompt_tokens_details") or {}
    assert usage.cache_read_tokens == prompt.get("cached_tokens", raw.get("num_cached_tokens"))
    assert usage.cache_write_tokens == prompt.get("cache_write_tokens")
    assert usage.reasoning_tokens == (raw.get("completion_tokens_details") or {}).get("reasoning_tokens")
    assert usage.raw == raw


def payloads(sse: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in sse.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def run(provider: str, pieces: list[bytes]) -> tuple[list[Event], Reader]:
    reader = Reader(provider)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.end(), reader


def told(events: list[Event]) -> tuple[str, str, list[tuple[str, str, str]]]:
    """Words, thoughts and calls."""
    text = "".join(event.text for event in events if isinstance(event, TextPiece))
    thought = "".join(event.text for event in events if isinstance(event, ThinkingPiece))
    arguments: dict[int, str] = defaultdict(str)
    for event in events:
        if isinstance(event, CallBegin):
            arguments[event.position] += event.arguments
        elif isinstance(event, ArgumentsPiece):
            arguments[event.position] += event.text
    begun = [event for event in events if isinstance(event, CallBegin)]
    return text, thought, [(call.id, call.name, arguments[call.position]) for call in begun]


def recorded(events: list[dict[str, Any]]) -> tuple[str, str, list[tuple[str, str, str]]]:
    """The same as the provider sent it."""
    text = thought = ""
    calls: dict[int, list[str]] = {}
    for event in events:
        for choice in event.get("choices") or ():
            delta = choice["delta"]
            content = delta.get("content") or ""
            parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
            text += "".join(part["text"] for part in parts if part["type"] == "text")
            thought += delta.get("reasoning") or ""
            for part in parts:
                thought += "".join(inner["text"] for inner in part.get("thinking", ()))
            for call in delta.get("tool_calls") or ():
                known = calls.setdefault(call["index"], ["", "", ""])
                known[0] = known[0] or call.get("id") or ""
                known[1] = known[1] or call["function"].get("name") or ""
                known[2] += call["function"].get("arguments") or ""
    return text, thought, [(call[0], call[1], call[2]) for call in calls.values()]


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=ids(STREAMS))
def test_every_recorded_stream_tells_what_was_sent_however_it_is_cut(
    provider: str, row: dict[str, Any]
) -> None:
    stream = row["sse"].encode()
    sent = payloads(row["sse"])
    events, reader = run(provider, [stream])
    assert told(events) == recorded(sent)
    if any(event.get("error") for event in sent):
        assert reader.failure is not None
        assert reader.failure.kind == "bad_request"
    else:
        assert reader.failure is None
        assert isinstance(events[-1], Done)
        (counted,) = [event for event in events if isinstance(event, Counted)]
        assert_counts(counted.usage, [event["usage"] for event in sent if event.get("usage")][-1])
        reasons = [choice["finish_reason"] for event in sent for choice in event.get("choices") or ()]
        (end,) = [event for event in events if isinstance(event, End)]
        assert end.finish == [reason for reason in reasons if reason][-1]
    dice = random.Random(row["id"])
    for size in (1, 7, 1_000):
        cuts = range(len(stream)) if size == 1 else dice.sample(range(len(stream)), len(stream) // size)
        borders = sorted({0, len(stream), *cuts})
        found, again = run(provider, [stream[start:end] for start, end in itertools.pairwise(borders)])
        assert found == events
        assert again.failure == reader.failure


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=ids(STREAMS))
def test_every_recorded_stream_is_the_same_for_a_client_after_both_ways(
    provider: str, row: dict[str, Any]
) -> None:
    events, reader = run(provider, [row["sse"].encode()])
    if reader.failure is not None:
        return
    writer = face.writer(Facts(model="m", stream=True, include_usage=True), model="m")
    output = writer.write(events)
    answer = chat.assembled(output)
    text, thought, calls = recorded(payloads(row["sse"]))
    message = answer.choices[0].message
    assert (message.content or "") == text
    made = [] if message.tool_calls is None else [call.model_dump() for call in message.tool_calls]
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in made] == calls
    reasoning = [
        choice["delta"].get("reasoning_content", "")
        for event in payloads(output.decode())
        for choice in event["choices"]
    ]
    assert "".join(reasoning) == thought
    (counted,) = [event for event in events if isinstance(event, Counted)]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        counted.usage.input_tokens,
        counted.usage.output_tokens,
    )


@pytest.mark.parametrize(("provider", "row"), STREAMS, ids=ids(STREAMS))
def test_a_stream_that_breaks_off_anywhere_is_never_whole(provider: str, row: dict[str, Any]) -> None:
    stream = row["sse"].encode()
    end = len(stream.rstrip()) - len(b"[DONE]")
    dice = random.Random(row["id"])
    for cut in [0, end, *(dice.randrange(end) for _ in range(20))]:
        events, reader = run(provider, [stream[:cut]])
        assert not any(isinstance(event, Done) for event in events)
        assert reader.failure is not None
        assert reader.failure.kind in ("truncated", "bad_request")


def test_the_recordings_hold_what_these_tests_are_for() -> None:
    answers = [wire.parse_answer(json.dumps(row["response"]).encode(), name) for name, row in BODIES]
    parts = [
        part
        for answer in answers
        if isinstance(answer, Answer)
        for candidate in answer.candidates
        for part in candidate.parts
    ]
    assert sum(isinstance(part, Text) for part in parts) > 100
    assert sum(isinstance(part, Call) for part in parts) > 40
    assert sum(isinstance(part, Thinking) and part.seal_kind == "openrouter" for part in parts) >= 5
    assert len(STREAMS) > 20
