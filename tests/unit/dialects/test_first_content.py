"""What counts as the first content of a stream, on which a race is decided: nothing that says nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyrail.contracts.slips import Dialect, Facts
from keyrail.dialects import registry
from keyrail.dialects.joined import Joined
from keyrail.dialects.protocols import Relay


def chat(*deltas: dict[str, Any]) -> list[bytes]:
    return [b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": d}]}).encode() for d in deltas]


def named(*events: dict[str, Any]) -> list[bytes]:
    return [b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events]


def gemini(*parts: list[dict[str, Any]]) -> list[bytes]:
    bodies = [{"candidates": [{"index": 0, "content": {"role": "model", "parts": p}}]} for p in parts]
    return [b"data: %b\n\n" % json.dumps(body).encode() for body in bodies]


MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": []}
SILENT: dict[Dialect, list[bytes]] = {
    "openai-chat": [b": comment\n\n", *chat({"role": "assistant"}, {"content": ""}, {"role": "assistant"})],
    "anthropic-messages": [
        b": comment\n\n",
        *named(
            {
                "type": "message_start",
                "message": MESSAGE | {"usage": {"input_tokens": 1, "output_tokens": 1}},
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}},
        ),
    ],
    "openai-responses": [
        b": comment\n\n",
        *named(
            {"type": "response.created", "response": {"id": "r", "model": "x", "output": []}},
            {"type": "response.in_progress", "response": {"id": "r", "model": "x", "output": []}},
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {"id": "i", "type": "message", "role": "assistant", "content": []},
            },
            {
                "type": "response.content_part.added",
                "output_index": 0,
                "content_index": 0,
                "item_id": "i",
                "part": {"type": "output_text", "text": "", "annotations": []},
            },
            {
                "type": "response.output_text.delta",
                "output_index": 0,
                "content_index": 0,
                "item_id": "i",
                "delta": "",
            },
        ),
    ],
    "gemini-generate": gemini([{"text": ""}], []),
}
SAYS: dict[Dialect, bytes] = {
    "openai-chat": chat({"content": "hi"})[0],
    "anthropic-messages": named(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
    )[0],
    "openai-responses": named(
        {
            "type": "response.output_text.delta",
            "output_index": 0,
            "content_index": 0,
            "item_id": "i",
            "delta": "hi",
        }
    )[0],
    "gemini-generate": gemini([{"text": "hi"}])[0],
}
FACES: tuple[Dialect, ...] = ("openai-chat", "anthropic-messages", "openai-responses")


def relay(face: Dialect, wire: Dialect) -> Relay:
    facts = Facts(dialect=face, model="m", stream=True)
    if face == wire:
        return registry.wire(wire).passing("p", facts)
    writer = registry.face(face).writer(facts, model="m", request={}, created=1)
    return Joined(registry.outbound(wire).reader("p"), writer)


@pytest.mark.parametrize("wire", sorted(SILENT))
@pytest.mark.parametrize("face", FACES)
def test_a_stream_has_content_once_it_says_something(face: Dialect, wire: Dialect) -> None:
    stream = relay(face, wire)
    for event in SILENT[wire]:
        stream.feed(event)
        assert stream.failure is None
        assert not stream.content, event
    out = stream.feed(SAYS[wire])
    assert stream.content
    assert b"hi" in out
