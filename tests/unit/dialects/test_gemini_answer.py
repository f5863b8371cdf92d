from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Answer, Candidate
from keyrail.dialects.canonical.parts import Call, Foreign, Image, Text, Thinking
from keyrail.dialects.gemini_generate.answer import parse_answer
from keyrail.dialects.gemini_generate.usage import usage_of


def body(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, **more}
    if finish is not None:
        candidate["finishReason"] = finish
    return json.dumps({"candidates": [candidate], "responseId": "r", "modelVersion": "m"}).encode()


def read(data: bytes) -> Candidate:
    answer = parse_answer(data, "gemini")
    assert isinstance(answer, Answer)
    (candidate,) = answer.candidates
    return candidate


def failed(data: bytes) -> Failure:
    failure = parse_answer(data, "gemini")
    assert isinstance(failure, Failure)
    assert (failure.provider, failure.upstream_status) == ("gemini", 200)
    return failure


def test_every_kind_of_part_is_read() -> None:
    code = {"language": "PYTHON", "code": "print(1)"}
    candidate = read(
        body(
            {"text": "Hm.", "thought": True},
            {"text": "Signed.", "thought": True, "thoughtSignature": "s0"},
            {"text": ""},
            {"text": "Ah.", "thoughtSignature": "s1"},
            {"inlineData": {"mimeType": "image/png", "data": "AA=="}, "thoughtSignature": "s2"},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://x/y"}},
            {"executableCode": code},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
            {"functionCall": {"name": "f", "args": {"a": 1}, "id": "i"}, "thoughtSignature": "s3"},
            {"thoughtSignature": "s4"},
            {"unheardOf": 1},
        )
    )
    assert candidate.parts == [
        Thinking("Hm.", seal_kind="gemini"),
        Thinking("Signed.", seal="s0", seal_kind="gemini"),
        Text("Ah.", seal="s1"),
        Image(media_type="image/png", data="AA==", seal="s2"),
        Image(media_type="image/png", url="https://x/y"),
        Foreign("executableCode", code),
        Foreign("codeExecutionResult", {"outcome": "OUTCOME_OK"}),
        Call("i", "f", '{"a":1}', seal="s3"),
        Text("", seal="s4"),
    ]
    assert candidate.finish == "tool_calls"


def test_an_id_is_invented_the_same_each_time_and_another_for_each_call() -> None:
    twice = body({"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "f"}})
    ids = [part.id for part in read(twice).parts if type(part) is Call]
    assert ids == [part.id for part in read(twice).parts if type(part) is Call]
    assert len(set(ids)) == 2
    assert all(len(made) == 29 and made.startswith("call_") for made in ids)
    elsewhere = read(twice.replace(b'"responseId": "r"', b'"responseId": "other"'))
    assert elsewhere.parts[0] != read(twice).parts[0]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        *[
            (reason, "content_filter")
            for reason in (
                "SAFETY",
                "RECITATION",
                "LANGUAGE",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "MODEL_ARMOR",
                "IMAGE_SAFETY",
            )
        ],
        *[
            (reason, "error")
            for reason in (
                "MALFORMED_FUNCTION_CALL",
                "UNEXPECTED_TOOL_CALL",
                "TOO_MANY_TOOL_CALLS",
                "MISSING_THOUGHT_SIGNATURE",
                "MALFORMED_RESPONSE",
                "OTHER",
                "NO_IMAGE",
                "INVENTED_TOMORROW",
            )
        ],
        ("FINISH_REASON_UNSPECIFIED", None),
        (None, None),
    ],
)
def test_why_it_ended(reason: str | None, finish: Any) -> None:
    assert read(body({"text": "Ah."}, finish=reason)).finish == finish
    with_call = read(body({"functionCall": {"name": "f"}}, finish=reason)).finish
    assert with_call == ("tool_calls" if finish == "stop" else finish)


def test_a_malformed_call_is_never_an_empty_success() -> None:
    failure = failed(body(finish="MALFORMED_FUNCTION_CALL", finishMessage="Malformed function call: f("))
    assert (failure.kind, failure.status, failure.code) == ("server", 502, "malformed_function_call")
    assert failure.falls_over
    assert "Malformed function call: f(" in failure.message
    assert failed(body({"text": "Hm.", "thought": True}, finish="OTHER")).kind == "server"


def test_a_blocked_prompt_is_an_answer_that_was_filtered() -> None:
    blocked = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 9},
    }
    answer = parse_answer(json.dumps(blocked).encode(), "gemini")
    assert isinstance(answer, Answer)
    assert answer.candidates == [Candidate(parts=[], finish="content_filter")]
    assert answer.usage.input_tokens == 9


def test_several_answers_are_kept_apart() -> None:
    two = {
        "candidates": [
            {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"},
            {"finishReason": "OTHER"},
        ]
    }
    answer = parse_answer(json.dumps(two).encode(), "gemini")
    assert isinstance(answer, Answer)
    assert [candidate.finish for candidate in answer.candidates] == ["stop", "error"]


def test_sources_stand_at_the_last_words() -> None:
    web = {"web": {"uri": "https://x", "title": "X"}}
    cited = {"uri": "https://y", "startIndex": 1}
    candidate = read(
        body(
            {"text": "a"},
            {"text": "b"},
            groundingMetadata={"groundingChunks": [web, None]},
            citationMetadata={"citationSources": [cited]},
        )
    )
    assert candidate.parts == [Text("a"), Text("b", citations=[web, cited])]


def test_log_probabilities_are_written_as_openai_does() -> None:
    result = {
        "chosenCandidates": [{"token": "Hä", "logProbability": -0.1}],
        "topCandidates": [{"candidates": [{"token": "Hä", "logProbability": -0.1}, {"token": "x"}]}],
    }
    chosen = {"token": "Hä", "logprob": -0.1, "bytes": [72, 195, 164]}
    other = {"token": "x", "logprob": None, "bytes": [120]}
    found = read(body({"text": "Hä"}, logprobsResult=result)).logprobs
    assert found == [{**chosen, "top_logprobs": [chosen, other]}]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "garbage"),
        (b"<html>", "garbage"),
        (b"[]", "garbage"),
        (b"{}", "garbage"),
        (b'{"candidates": []}', "garbage"),
        (b'{"candidates": 4}', "garbage"),
        (b'{"promptFeedback": {}}', "garbage"),
        (b'{"text": "\xff"}', "garbage"),
        (b'{"error": {"code": 503, "status": "UNAVAILABLE", "message": "m"}}', "capacity"),
        (b'{"error": {"status": "RESOURCE_EXHAUSTED"}}', "rate"),
        (b'{"error": "words"}', "server"),
    ],
)
def test_what_is_no_answer_is_a_failure(data: bytes, kind: str) -> None:
    assert failed(data).kind == kind


def test_fields_of_unexpected_types_count_as_absent() -> None:
    odd = {
        "candidates": [
            None,
            {
                "content": {
                    "parts": ["x", {"text": 4, "thoughtSignature": "s"}, {"text": "ok", "thought": "no"}]
                },
                "finishReason": "STOP",
                "index": "zero",
            },
        ],
        "modelVersion": 7,
        "usageMetadata": {"promptTokenCount": "many", "candidatesTokenCount": -4, "totalTokenCount": 10**30},
    }
    answer = parse_answer(json.dumps(odd).encode(), "gemini")
    assert isinstance(answer, Answer)
    assert answer.candidates == [Candidate(parts=[Text("", seal="s"), Text("ok")], finish="stop")]
    assert (answer.model, answer.usage.input_tokens, answer.usage.output_tokens) == (None, None, None)


def test_deeply_nested_arguments_do_no_harm() -> None:
    nested = b"[" * 900 + b"]" * 900
    data = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":' + nested
    parse_answer(data + b'}}]},"finishReason":"STOP"}]}', "gemini")


@pytest.mark.parametrize(
    ("raw", "counts"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 14}, (10, 4, None)),
        (
            {
                "promptTokenCount": 10,
                "candidatesTokenCount": 4,
                "thoughtsTokenCount": 6,
                "toolUsePromptTokenCount": 5,
                "totalTokenCount": 25,
            },
            (15, 10, 6),
        ),
        # all of it went into thoughts: the count of the candidates is zero, and so left out
        ({"promptTokenCount": 15, "thoughtsTokenCount": 2, "totalTokenCount": 17}, (15, 2, 2)),
        ({"promptTokenCount": 14, "totalTokenCount": 14}, (14, 0, None)),
        # thoughts that show in the total alone
        ({"promptTokenCount": 35, "candidatesTokenCount": 12, "totalTokenCount": 109}, (35, 74, None)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 3}, (10, 4, None)),
        ({"promptTokenCount": 10}, (10, None, None)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 4}, (10, 4, None)),
        ({"candidatesTokenCount": 4, "totalTokenCount": 14}, (None, 4, None)),
        ({}, (None, None, None)),
    ],
)
def test_counts_are_normalised(raw: dict[str, Any], counts: tuple[Any, Any, Any]) -> None:
    usage = usage_of(raw)
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == counts
    assert usage.raw == raw


def test_cached_and_spoken_tokens_are_parts_of_the_prompt() -> None:
    usage = usage_of(
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 60,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 70},
                {"modality": "AUDIO", "tokenCount": 30},
            ],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}, 4, {"modality": "AUDIO"}],
            "serviceTier": "flex",
        }
    )
    assert (usage.input_tokens, usage.cache_read_tokens) == (100, 60)
    assert (usage.audio_input_tokens, usage.audio_output_tokens) == (30, 7)
    assert (usage.cache_write_tokens, usage.served_tier) == (None, "flex")


def test_no_usage_is_unknown() -> None:
    assert usage_of(None) == usage_of([]) == Usage()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_FIELD = st.sampled_from(
    [
        "candidates",
        "content",
        "parts",
        "text",
        "functionCall",
        "finishReason",
        "error",
        "usageMetadata",
        "args",
        "promptFeedback",
        "blockReason",
        "thought",
        "thoughtSignature",
        "index",
        "inlineData",
        "groundingMetadata",
        "groundingChunks",
        "logprobsResult",
        "chosenCandidates",
        "details",
        "violations",
        "promptTokenCount",
    ]
)
_NEAR = st.recursive(
    _JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FIELD, inner, max_size=6),
    max_leaves=30,
)


@given(_NEAR)
def test_no_nonsense_breaks_it(value: Any) -> None:
    found = parse_answer(json.dumps(value).encode(), "gemini")
    assert isinstance(found, Answer | Failure)
    found = parse_answer(json.dumps({"candidates": value, "usageMetadata": value}).encode(), "gemini")
    assert isinstance(found, Answer | Failure)


@given(st.binary(max_size=60))
def test_no_bytes_break_it(data: bytes) -> None:
    assert isinstance(parse_answer(data, "gemini"), Failure)
