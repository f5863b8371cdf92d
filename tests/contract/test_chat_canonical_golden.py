"""The chat dialect and the canonical form, side by side, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from keyrail.contracts.slips import Facts
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import Part
from keyrail.dialects.canonical.request import Request, Written
from keyrail.dialects.openai_chat import face, wire

GOLDEN = Path(__file__).parent / "golden/openai_chat/canonical"
PARTS = get_args(Part)


def load(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def shown(value: Any) -> Any:
    """A struct as its fields that say something; parts and events under their names."""
    if isinstance(value, msgspec.Struct):
        named = {field.name: field.default for field in msgspec.structs.fields(value)}
        fields = {
            name: shown(getattr(value, name))
            for name, default in named.items()
            if getattr(value, name) not in (default, None, [])
        }
        known = isinstance(value, PARTS) or type(value).__module__.endswith(".events")
        return [type(value).__name__, fields] if known else fields
    return [shown(item) for item in value] if isinstance(value, list | tuple) else value


def test_a_request_is_read_as_written_down() -> None:
    body = load("request.json")
    assert face.check(body) is None
    request = face.read_request(body)
    assert shown(request) == load("request.canonical.json")


@pytest.mark.parametrize("provider", ["openai", "openrouter"])
def test_a_request_is_written_as_written_down(provider: str) -> None:
    golden = load(f"request.{provider}.json")
    request = face.read_request(load("request.json"))
    assert isinstance(request, Request)
    quirks = Quirks(**{name: _tuple(value) for name, value in golden["quirks"].items()})
    written = wire.write_request(request, model=golden["model"], quirks=quirks)
    assert isinstance(written, Written)
    assert written.body == golden["body"]
    assert sorted(written.dropped) == sorted(golden["dropped"])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def test_a_stream_is_read_as_written_down() -> None:
    reader = wire.reader("openrouter")
    events = reader.feed((GOLDEN / "stream.sse").read_bytes())
    assert shown(events) == load("stream.events.json")


def test_a_stream_is_written_as_written_down() -> None:
    events = wire.reader("openrouter").feed((GOLDEN / "stream.sse").read_bytes())
    writer = face.writer(Facts(model="best", stream=True, include_usage=True), model="best")
    assert writer.write(events).decode() == (GOLDEN / "written.sse").read_text()
