"""Small examples of the dialect, as files: what goes in, and what must come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.openai_chat import errors, request, stream
from keyrail.dialects.openai_chat.fitting import fit
from keyrail.providers import registry

GOLDEN = Path(__file__).parent / "golden/openai_chat"
MODELS = {"openai": "gpt-5.4-mini", "groq": "openai/gpt-oss-120b", "sandbox": "echo"}
ERRORS: list[dict[str, Any]] = json.loads((GOLDEN / "errors.json").read_text())


@pytest.mark.parametrize("provider", MODELS)
def test_a_request_is_prepared_as_written_down(provider: str) -> None:
    body = request.read((GOLDEN / "request.json").read_bytes())
    assert isinstance(body, dict)
    assert request.check(body) is None
    quirks = registry.load()[provider].quirks
    written = fit(body, model=MODELS[provider], quirks=quirks)
    assert isinstance(written, Written)
    prepared = written.body
    expected = json.loads((GOLDEN / f"request.{provider}.json").read_text())
    assert prepared == expected
    assert list(prepared) == list(expected)


def test_a_stream_comes_out_as_written_down() -> None:
    source = (GOLDEN / "stream.sse").read_bytes()
    facts = json.loads((GOLDEN / "stream.facts.json").read_text())
    reader = stream.StreamReader("openai", include_usage=False)
    assert reader.feed(source) == (GOLDEN / "stream.client.sse").read_bytes()
    assert reader.finish_failure() is None
    assert reader.usage == Usage(**facts.pop("usage"))
    assert {name: getattr(reader, name) for name in facts} == facts


@pytest.mark.parametrize("case", ERRORS, ids=[f"{case['provider']}-{case['status']}" for case in ERRORS])
def test_an_error_is_rendered_as_written_down(case: dict[str, Any]) -> None:
    failure = errors.classify(
        case["provider"], case["status"], case["headers"], json.dumps(case["body"]).encode()
    )
    status, headers, body = errors.render(failure)
    assert status == case["client"]["status"]
    assert [list(header) for header in headers] == case["client"]["headers"]
    assert json.loads(body) == case["client"]["body"]
    assert json.loads(errors.render_event(failure).removeprefix(b"data: ")) == case["client"]["body"]
