"""Recorded embeddings of OpenAI and Gemini, replayed. Skipped, saying so, where they are not at hand."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.embeddings import EmbeddingAnswer, EmbeddingRequest
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.gemini_generate import embeddings as gemini
from keyrail.dialects.openai_embeddings import face, wire
from keyrail.dialects.openai_embeddings.answer import Passed

WIRE = Path(__file__).parents[2] / "../shared/data/wire"
HERE = all((WIRE / f"{name}.jsonl.gz").exists() for name in ("openai", "gemini"))
pytestmark = pytest.mark.skipif(not HERE, reason=f"recorded provider traffic is not here: {WIRE}")


def recorded(provider: str, ending: str) -> list[dict[str, Any]]:
    if not HERE:
        return []
    with gzip.open(WIRE / f"{provider}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["path"].endswith(ending)]


OPENAI = recorded("openai", "/embeddings")
GEMINI = recorded("gemini", ":batchEmbedContents")


def test_the_recordings_are_all_there() -> None:
    assert (len(OPENAI), len(GEMINI)) == (3, 9)


@pytest.mark.parametrize("row", OPENAI, ids=[row["id"] for row in OPENAI])
def test_openais_pass_unchanged(row: dict[str, Any]) -> None:
    request = row["request"]
    assert face.check(request) is None
    assert face.facts(request).model == request["model"]
    prepared = wire.prepare(json.dumps(request).encode(), model=request["model"], quirks=Quirks())
    assert prepared == Written(request)
    body = json.dumps(row["response"]).encode()
    if row["status"] != 200:
        failure = wire.classify("openai", row["status"], {}, body)
        assert (failure.kind, json.loads(face.render(failure)[2])) == ("model_missing", row["response"])
        return
    passed = wire.read_answer(body, "openai")
    assert isinstance(passed, Passed)
    raw = row["response"]["usage"]
    assert (passed.body, passed.model) == (body, row["response"]["model"])
    assert passed.usage == Usage(input_tokens=raw["prompt_tokens"], output_tokens=0, raw=raw)


@pytest.mark.parametrize("row", OPENAI, ids=[row["id"] for row in OPENAI])
def test_openais_requests_can_be_put_to_gemini(row: dict[str, Any]) -> None:
    request = face.read_request(row["request"])
    assert isinstance(request, EmbeddingRequest)
    written = gemini.write_request(request, model="gemini-embedding-2", quirks=Quirks())
    asked = [entry["content"]["parts"][0]["text"] for entry in written.body["requests"]]
    assert (asked, written.dropped) == (row["request"]["input"], ())


@pytest.mark.parametrize("row", GEMINI, ids=[row["id"] for row in GEMINI])
def test_geminis_are_written_and_read_as_recorded(row: dict[str, Any]) -> None:
    entries: list[dict[str, Any]] = row["request"]["requests"]
    texts = [entry["content"]["parts"][0]["text"] for entry in entries]
    request = EmbeddingRequest(texts=texts, encoding="base64")
    written = gemini.write_request(request, model=entries[0]["model"], quirks=Quirks())
    known = [{name: entry[name] for name in ("model", "content")} for entry in entries]
    assert written.body == {"requests": known}
    body = json.dumps(row["response"]).encode()
    if row["status"] != 200:
        assert gemini.classify("gemini", row["status"], {}, body).kind == "model_missing"
        assert isinstance(gemini.parse_answer(body, "gemini", texts=1), Failure)
        return
    answer = gemini.parse_answer(body, "gemini", texts=len(texts))
    assert isinstance(answer, EmbeddingAnswer)
    raw = row["response"]["usageMetadata"]
    assert answer.usage == Usage(input_tokens=raw["promptTokenCount"], output_tokens=0, raw=raw)
    rendered = CreateEmbeddingResponse.model_validate(
        json.loads(face.render_answer(answer, EmbeddingRequest(texts=texts), model="m"))
    )
    vectors = [embedding["values"] for embedding in row["response"]["embeddings"]]
    assert [item.embedding for item in rendered.data] == vectors
    assert rendered.usage.prompt_tokens == raw["promptTokenCount"]
    packed = json.loads(face.render_answer(answer, request, model="m"))["data"]
    for item, vector in zip(packed, vectors, strict=True):
        numbers = struct.unpack(f"<{len(vector)}f", base64.b64decode(item["embedding"]))
        assert numbers == pytest.approx(vector, rel=1e-6)
