"""Small examples of the Messages dialect, as files: what goes in, and what must come out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.anthropic_messages import face, wire
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Request, Written

GOLDEN = Path(__file__).parent / "golden/anthropic_messages"
FACTS = Facts(dialect="anthropic-messages", model="m", stream=True)
MODELS = ("claude-sonnet-4-5", "claude-opus-5", "claude-3-5-haiku-20241022")


@pytest.mark.parametrize("model", MODELS)
def test_a_request_is_translated_for_each_model_as_written_down(model: str) -> None:
    body = json.loads((GOLDEN / "request.json").read_text())
    assert face.check(body) is None
    request = face.read_request(body)
    assert isinstance(request, Request)
    written = wire.write_request(request, model=model, quirks=Quirks())
    assert isinstance(written, Written)
    expected = json.loads((GOLDEN / f"request.{model}.json").read_text())
    assert {"dropped": list(written.dropped), "body": written.body} == expected


def test_a_request_for_the_same_dialect_keeps_every_byte_but_the_model() -> None:
    source = json.dumps(json.loads((GOLDEN / "request.json").read_text())).encode()
    written = wire.prepare(source, model="claude-opus-5", quirks=Quirks())
    assert json.dumps(written.body).encode() == source.replace(b"anthropic/claude", b"claude-opus-5")


def test_a_stream_passes_and_is_watched_as_written_down() -> None:
    source = (GOLDEN / "stream.sse").read_bytes()
    facts = json.loads((GOLDEN / "stream.facts.json").read_text())
    relay = wire.passing("anthropic", FACTS)
    assert relay.feed(source) + relay.end() == source
    assert relay.usage is not None
    assert relay.usage.replace(raw=None) == Usage(**facts.pop("usage"))
    assert {name: getattr(relay, name) for name in facts} == facts
    assert relay.failure is None


def test_a_stream_comes_out_of_the_canonical_form_as_written_down() -> None:
    reader = wire.reader("anthropic")
    events = reader.feed((GOLDEN / "stream.sse").read_bytes())
    writer = face.writer(FACTS, model="m")
    assert writer.write(events) == (GOLDEN / "stream.translated.sse").read_bytes()
