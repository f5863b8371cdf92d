from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.embeddings import EmbeddingAnswer, EmbeddingRequest
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.gemini_generate import embeddings as gemini
from keyrail.dialects.openai_embeddings import face, wire
from keyrail.dialects.openai_embeddings.answer import Passed

BODY: dict[str, Any] = {"model": "text-embedding-3-small", "input": "hello"}


def asked(**more: Any) -> EmbeddingRequest:
    request = face.read_request({**BODY, **more})
    assert isinstance(request, EmbeddingRequest)
    return request


@pytest.mark.parametrize("value", ["hello", ["a", "b"], [1, 2], [[1], [2, 3]], [""]])
def test_every_form_of_input_passes(value: Any) -> None:
    assert face.check({**BODY, "input": value}) is None


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 4}, "model"),
        ({"model": ""}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"input": None}, "input"),
        ({"input": 4}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * 20_000}, "input"),
        ({"input": [None]}, "input[0]"),
        ({"input": [True]}, "input[0]"),
        ({"input": ["a", 4]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": [["a"]]}, "input[0]"),
        ({"dimensions": "256"}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"user": 4}, "user"),
        ({"user": "u" * 100_000}, "user"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str) -> None:
    failure = face.check({**BODY, **change})
    assert failure is not None
    assert (failure.kind, failure.status, failure.param) == ("bad_request", 400, param)


@pytest.mark.parametrize(
    ("value", "tokens"), [("hello", 2), (["hello", "a"], 3), ([1, 2, 3], 3), ([[1, 2], [3]], 3), ("", 0)]
)
def test_the_router_learns_the_size(value: Any, tokens: int) -> None:
    facts = face.facts({**BODY, "input": value})
    assert (facts.dialect, facts.model) == ("openai-embeddings", "text-embedding-3-small")
    assert facts.input_tokens_estimate == tokens


def test_a_request_is_prepared_unchanged_but_for_the_model_and_quirks() -> None:
    body = {"input": ["a"], "model": "m", "encoding_format": "base64", "unheard_of": {"b": 1}, "user": "u"}
    written = wire.prepare(json.dumps(body).encode(), model="x", quirks=Quirks())
    assert isinstance(written, Written)
    assert (written.body, list(written.body), written.dropped) == ({**body, "model": "x"}, list(body), ())
    quirks = Quirks(drop=("user", "dimensions"), rename={"encoding_format": "encoding"})
    written = wire.prepare(json.dumps(body).encode(), model="x", quirks=quirks)
    rest = {"input": ["a"], "model": "x", "unheard_of": {"b": 1}, "encoding": "base64"}
    assert written == Written(rest, ("user",))
    with pytest.raises(ValueError, match="not an object"):
        wire.prepare(b"[]", model="x", quirks=Quirks())


def test_an_answer_passes_byte_for_byte_with_its_usage() -> None:
    body = (
        b'{ "data": [{"embedding": "AAAA"}], "model": "m", "usage": {"prompt_tokens": 4, "total_tokens": 4} }'
    )
    passed = wire.read_answer(body, "openai")
    assert isinstance(passed, Passed)
    assert (passed.body, passed.model) == (body, "m")
    assert passed.usage == Usage(input_tokens=4, output_tokens=0, raw={"prompt_tokens": 4, "total_tokens": 4})


def test_an_answer_without_usage_is_unknown_and_not_free() -> None:
    for body in (b'{"data": []}', b'{"data": [], "usage": "none", "model": 4}'):
        passed = wire.read_answer(body, "openai")
        assert isinstance(passed, Passed)
        assert passed.usage == Usage()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "garbage"),
        (b"[]", "garbage"),
        (b"{}", "garbage"),
        (b'{"data": null}', "garbage"),
        (b'{"data": "x"}', "garbage"),
        (b'{"data": [], "id": "\xff"}', "garbage"),
        (b'{"error": {"message": "m", "code": "rate_limit_exceeded"}}', "rate"),
    ],
)
def test_what_is_no_answer_is_a_failure(body: bytes, kind: str) -> None:
    failure = wire.read_answer(body, "openai")
    assert isinstance(failure, Failure)
    assert failure.kind == kind


def test_gemini_is_asked_for_a_batch() -> None:
    request = asked(input=["a", "b"], dimensions=256, user="u", task_type="query", encoding_format="float")
    written = gemini.write_request(request, model="gemini-embedding-2", quirks=Quirks())
    assert written.body == {
        "requests": [
            {
                "model": "models/gemini-embedding-2",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 256,
            }
            for text in ("a", "b")
        ]
    }
    assert written.dropped == ("task_type", "user")
    one = gemini.write_request(asked(), model="models/x", quirks=Quirks())
    assert one.body == {"requests": [{"model": "models/x", "content": {"parts": [{"text": "hello"}]}}]}
    spared = gemini.write_request(
        asked(dimensions=4), model="x", quirks=Quirks(drop=("outputDimensionality",))
    )
    assert spared.dropped == ("dimensions",)


@pytest.mark.parametrize("value", [[1, 2], [[1], [2]]])
def test_tokens_of_another_tokenizer_are_refused(value: Any) -> None:
    failure = face.read_request({**BODY, "input": value})
    assert isinstance(failure, Failure)
    assert (failure.status, failure.param) == (400, "input")
    assert json.loads(face.render(failure)[2])["error"]["param"] == "input"


VECTORS = [[0.25, -1.5], [0.0, 3.0]]


def from_gemini(**more: Any) -> bytes:
    return json.dumps({"embeddings": [{"values": vector} for vector in VECTORS], **more}).encode()


def test_geminis_vectors_come_out_as_openai_has_them() -> None:
    usage = {"promptTokenCount": 7, "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 7}]}
    answer = gemini.parse_answer(from_gemini(usageMetadata=usage), "gemini", texts=2)
    assert isinstance(answer, EmbeddingAnswer)
    assert answer.usage == Usage(input_tokens=7, output_tokens=0, raw=usage)
    rendered = face.render_answer(answer, asked(input=["a", "b"]), model="gemini-embedding-2")
    assert json.loads(rendered) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(VECTORS)
        ],
        "model": "gemini-embedding-2",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    parsed = CreateEmbeddingResponse.model_validate_json(rendered)
    assert [item.embedding for item in parsed.data] == VECTORS


def test_base64_is_32_bit_floats_in_little_endian() -> None:
    answer = EmbeddingAnswer(vectors=VECTORS, usage=Usage())
    rendered = json.loads(
        face.render_answer(answer, asked(input=["a", "b"], encoding_format="base64"), model="m")
    )
    vectors = [struct.unpack("<2f", base64.b64decode(item["embedding"])) for item in rendered["data"]]
    assert vectors == [tuple(vector) for vector in VECTORS]


def test_unknown_usage_is_estimated_for_the_client_and_says_so() -> None:
    answer = gemini.parse_answer(from_gemini(), "gemini", texts=2)
    assert isinstance(answer, EmbeddingAnswer)
    assert answer.usage == Usage()
    rendered = face.render_answer(answer, asked(input=["hello", "world!!!!"]), model="m")
    assert json.loads(rendered)["usage"] == {"prompt_tokens": 5, "total_tokens": 5, "estimated": True}
    assert CreateEmbeddingResponse.model_validate_json(rendered).usage.prompt_tokens == 5


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "garbage"),
        (b"[]", "garbage"),
        (b"{}", "garbage"),
        (b'{"embeddings": 4}', "garbage"),
        (b'{"embeddings": [{"values": ["x"]}]}', "garbage"),
        (b'{"embeddings": [{"values": [1]}]}', "garbage"),
        (b'{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}', "rate"),
        (b'{"embeddings": 4, "error": {"code": 503, "message": "m"}}', "capacity"),
    ],
)
def test_what_holds_not_one_vector_for_each_text_is_a_failure(body: bytes, kind: str) -> None:
    failure = gemini.parse_answer(body, "gemini", texts=2)
    assert isinstance(failure, Failure)
    assert failure.kind == kind


def test_a_provider_without_embeddings_says_so() -> None:
    failure = wire.none_at("anthropic")
    status, _, body = face.render(failure)
    error = json.loads(body)["error"]
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", "model")
    assert "anthropic offers no embeddings" in error["message"]
    assert not failure.falls_over


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=9))
def test_both_encodings_hold_the_same_numbers(vector: list[float]) -> None:
    answer = EmbeddingAnswer(vectors=[vector], usage=Usage())
    (plain,) = json.loads(face.render_answer(answer, asked(), model="m"))["data"]
    (packed,) = json.loads(face.render_answer(answer, asked(encoding_format="base64"), model="m"))["data"]
    assert (
        list(struct.unpack(f"<{len(vector)}f", base64.b64decode(packed["embedding"]))) == plain["embedding"]
    )


@given(st.binary(max_size=40))
def test_no_bytes_break_it(data: bytes) -> None:
    assert isinstance(wire.read_answer(data, "openai"), Failure)
    assert isinstance(gemini.parse_answer(data, "gemini", texts=1), Failure)
