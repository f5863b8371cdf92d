from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from support.responses_sdk import answer_of, client, stream_of

from keyrail.contracts.failures import Failure, FailureKind
from keyrail.dialects.openai_responses import face, wire
from keyrail.dialects.openai_responses.errors import classify_error


def failed(code: str | None, message: str = "No.") -> dict[str, Any]:
    return {
        "type": "response.failed",
        "response": {"status": "failed", "error": {"code": code, "message": message}},
    }


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("server_error", "server", 502),
        ("rate_limit_exceeded", "rate", 429),
        ("slow_down", "rate", 429),
        ("insufficient_quota", "money", 502),
        ("context_length_exceeded", "context", 400),
        ("invalid_prompt", "bad_request", 400),
        ("image_too_large", "bad_request", 400),
        ("image_content_policy_violation", "policy", 400),
        ("bio_policy", "policy", 400),
        ("server_is_overloaded", "capacity", 503),
        ("vector_store_timeout", "server", 502),
        ("unheard_of", "server", 502),
        (None, "server", 502),
    ],
)
def test_a_failed_response_is_classified_by_its_code(
    code: str | None, kind: FailureKind, status: int
) -> None:
    failure = classify_error("openai", failed(code))
    assert (failure.kind, failure.status, failure.upstream_status) == (kind, status, 200)
    assert failure.error is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"type": "error", "code": "server_error", "message": "No."}, "server"),
        (
            {"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "No."}},
            "rate",
        ),
        ({"type": "error", "status": 401, "error": {"message": "No."}}, "auth"),
        ({"code": "unavailable", "error": "The service is not available."}, "capacity"),
        ({"error": {"code": 402, "message": "Insufficient credits"}}, "money"),
        ({"error": {"code": 502, "message": "Bad gateway"}}, "server"),
        ([{"error": {"message": "x", "code": 429}}], "rate"),
        (None, "server"),
        ("nonsense", "server"),
    ],
)
def test_errors_inside_a_200_in_all_their_shapes(value: Any, kind: FailureKind) -> None:
    assert classify_error("openrouter", value).kind == kind


def test_the_wait_is_read_from_the_message_and_told_in_the_stream() -> None:
    message = "Rate limit reached for gpt-5.1. Please try again in 11.054s."
    failure = classify_error("openai", failed("rate_limit_exceeded", message))
    assert failure.retry_after_s == 11.054
    event = face.render_event(failure)
    assert event.count(b"try again in 11.054s") == 3
    told = Failure(kind="rate", message="Slow down.", status=429, retry_after_s=2)
    assert b'"message":"Slow down. Please try again in 2.000s."' in face.render_event(told)


def test_the_providers_key_stays_concealed() -> None:
    for status, error in (
        (401, {"message": "Incorrect API key provided: sk-abc", "type": "x", "code": "invalid_api_key"}),
        (429, {"message": "You exceeded your quota at org-1", "type": "insufficient_quota", "code": None}),
    ):
        failure = wire.classify("openai", status, {}, json.dumps({"error": error}).encode())
        assert failure.error is None
        assert failure.kind in ("auth", "money")
        shown = face.render(failure)[2] + face.render_event(failure)
        assert b"sk-abc" not in shown
        assert b"org-1" not in shown


def test_an_error_of_another_dialect_is_not_passed_on() -> None:
    failure = Failure(
        kind="bad_request",
        message="max_tokens: required",
        status=400,
        error={"type": "invalid_request_error", "message": "max_tokens: required"},
        error_dialect="anthropic-messages",
    )
    assert json.loads(face.render(failure)[2]) == {
        "error": {
            "message": "max_tokens: required",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (Failure(kind="bad_request", message="Bad.", status=400, param="input"), openai.BadRequestError),
        (Failure(kind="rate", message="Slow.", status=429, retry_after_s=1.2), openai.RateLimitError),
        (Failure(kind="model_missing", message="None.", status=404), openai.NotFoundError),
        (Failure(kind="money", message="Broke.", status=502), openai.InternalServerError),
    ],
)
def test_the_official_client_raises_what_an_error_means(
    failure: Failure, raised: type[openai.APIStatusError]
) -> None:
    status, headers, body = face.render(failure)
    with pytest.raises(raised) as caught:
        client(status, body, dict(headers)).responses.create(model="m", input="x")
    assert failure.message in str(caught.value)
    assert caught.value.response.headers.get("retry-after") == ("2" if failure.retry_after_s else None)


def test_the_official_client_raises_at_an_error_within_a_stream() -> None:
    failure = Failure(kind="context", message="Too long.", status=400)
    with pytest.raises(openai.APIError, match=r"Too long\.") as caught:
        list(stream_of(face.render_event(failure)))
    assert caught.value.code == "context_length_exceeded"


def test_who_reads_only_response_failed_finds_code_and_message_there() -> None:
    failure = Failure(kind="context", message="Too long.", status=400)
    blocks = face.render_event(failure).decode().strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == ["event: error", "event: response.failed"]
    event = json.loads(blocks[1].split("\n")[1].removeprefix("data: "))
    assert event["response"]["error"] == {"code": "context_length_exceeded", "message": "Too long."}
    assert event["response"]["status"] == "failed"
    assert answer_of(json.dumps(event["response"]).encode()).output == []
