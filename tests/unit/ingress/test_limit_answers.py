"""What clients hear of their limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyrail.contracts.budgets import Limits
from keyrail.contracts.limits import Share
from keyrail.contracts.slips import Facts
from keyrail_ingress.doors import CHAT, DOORS, MESSAGES
from keyrail_ingress.limits import answers
from keyrail_ingress.limits.lease import Lease, Refused, tokens_of
from keyrail_ingress.limits.shares import Granted, Kind

NOW = 1_700_000_000_000


def lease(limits: Limits, *, requests: int = 0, tokens: int = 0, owner: str = "this key") -> Lease:
    """Others have used this; one request of 10 tokens was admitted here, 59 s before the window's end."""
    found = Lease("key.x", owner, limits)
    held = Share(requests=5, tokens=50, running=1)
    others = Share(requests=requests, tokens=tokens)
    found.apply(Granted(window_ms=NOW - 1_000, held=held, others=others), 0.0)
    found.count(10, 0.0)
    return found


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (12, "12ms"), (1_000, "1s"), (59_500, "59.5s"), (60_000, "1m0s"), (360_000, "6m0s")],
)
def test_durations_are_written_as_openai_writes_them(ms: int, text: str) -> None:
    assert answers.duration(ms) == text


def test_openai_clients_read_what_is_left_of_the_tightest() -> None:
    key = lease(Limits(rpm=100, tpm=1_000), requests=20)
    team = lease(Limits(rpm=1_000, tpm=500), tokens=100, owner="the team web")
    assert dict(answers.openai_headers((key, team), NOW)) == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "79",
        "x-ratelimit-reset-requests": "59s",
        "x-ratelimit-limit-tokens": "500",
        "x-ratelimit-remaining-tokens": "390",
        "x-ratelimit-reset-tokens": "59s",
    }


def test_anthropic_clients_read_the_same_under_their_names() -> None:
    assert dict(answers.anthropic_headers((lease(Limits(rpm=100)),), NOW)) == {
        "anthropic-ratelimit-requests-limit": "100",
        "anthropic-ratelimit-requests-remaining": "99",
        "anthropic-ratelimit-requests-reset": "2023-11-14T22:14:19Z",
    }


def test_before_and_after_a_window_all_of_it_is_left() -> None:
    fresh = Lease("key.x", "this key", Limits(rpm=100))
    assert dict(answers.openai_headers((fresh,), NOW))["x-ratelimit-reset-requests"] == "0s"
    over = lease(Limits(rpm=100), requests=50)
    assert dict(answers.openai_headers((over,), NOW + 60_000))["x-ratelimit-remaining-requests"] == "100"


def test_concurrent_requests_have_no_headers() -> None:
    assert answers.openai_headers((lease(Limits(concurrent=3)),), NOW) == []


@pytest.mark.parametrize(
    ("kind", "type_", "words"),
    [
        ("requests", "requests", "requests per minute of the team web reached: 7"),
        ("tokens", "tokens", "tokens per minute of the team web reached: 70"),
        ("concurrent", "requests", "concurrent requests of the team web reached: 2"),
    ],
)
def test_a_refusal_names_its_limit_in_the_dialect_of_the_client(kind: Kind, type_: str, words: str) -> None:
    team = lease(Limits(rpm=7, tpm=70, concurrent=2), owner="the team web")
    for door in DOORS:
        dialect = {
            "/v1/chat/completions": "openai-chat",
            "/v1/responses": "openai-responses",
            "/v1/embeddings": "openai-embeddings",
        }.get(door.path, "anthropic-messages")
        failure, extra = answers.refusal(Refused(team, kind, 20), dialect, NOW)
        status, headers, body = door.render(failure)
        error: dict[str, Any] = json.loads(body)["error"]
        assert status == 429
        assert words in error["message"]
        wait = "1" if kind == "concurrent" else "59"
        assert dict(headers)["retry-after"] == wait
        assert dict(extra)["retry-after-ms"] == f"{wait}000"
        if dialect == "anthropic-messages":
            assert error["type"] == "rate_limit_error"
        else:
            assert (error["type"], error["code"], error["param"]) == (type_, "rate_limit_exceeded", None)


def test_a_request_that_no_window_can_hold_is_not_tried_again() -> None:
    failure, extra = answers.refusal(Refused(lease(Limits(tpm=70)), "tokens", 71), "openai-chat", NOW)
    assert "71" in failure.message
    assert failure.retry_after_s is None
    assert dict(extra) == {"x-should-retry": "false"}


def test_where_the_bus_does_not_answer_the_refusal_is_a_503() -> None:
    failure, _ = answers.refusal(Refused(lease(Limits(rpm=1)), None, 0), "openai-chat", NOW)
    for door in (CHAT, MESSAGES):
        assert door.render(failure)[0] == 503


def test_what_is_reserved_is_the_prompt_and_as_many_answers_as_were_asked_for() -> None:
    facts = Facts(model="x", input_tokens_estimate=10)
    assert tokens_of(facts) == 10
    assert tokens_of(facts.replace(max_output_tokens=5, choices=3)) == 25
    assert tokens_of(facts.replace(max_output_tokens=5, choices=3, output_cap=5)) == 10, (
        "a budget's, not the client's"
    )
    assert tokens_of(facts.replace(operation="count_tokens")) == 0
