"""Upper bounds of what a request can have."""

import json
from typing import Any

import pytest

from keyrail.contracts.slips import Facts
from keyrail.dialects import bounds
from keyrail.dialects.anthropic_messages import face as messages
from keyrail.dialects.bounds import FILE_MOST, FRAMING, IMAGE_LEAST, IMAGE_MOST
from keyrail.dialects.openai_chat import face as chat
from keyrail.dialects.openai_embeddings import face as embeddings
from keyrail.dialects.openai_responses import face as responses

DATA = "A" * 20_000
FACTS = Facts(model="m")


def user(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}], **more}


def said(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}], **more}


def beyond(document: dict[str, Any], facts: Facts = FACTS) -> int | None:
    """Tokens beyond a byte each and the framing."""
    size = len(json.dumps(document))
    most = bounds.most_input(document, facts, size)
    return None if most is None else most - size - FRAMING


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"type": "text", "text": "x" * 999}, 0),
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, IMAGE_MOST),
        ({"type": "input_image", "image_url": "https://x/y.png"}, IMAGE_MOST),
        ({"type": "input_image", "file_id": "file-1"}, IMAGE_MOST),
        ({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}, IMAGE_MOST),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}, 0),
        ({"type": "image", "source": {"type": "base64", "data": "A" * 500}}, IMAGE_LEAST - 500),
        ({"type": "image", "source": {"type": "base64", "data": "A" * 90_000}}, IMAGE_MOST - 90_000),
        ({"type": "file", "file": {"file_id": "file-1"}}, FILE_MOST),
        ({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{DATA}"}}, 0),
        ({"type": "input_file", "file_url": "https://x/y.pdf"}, FILE_MOST),
        ({"type": "document", "source": {"type": "text", "data": "words"}}, 0),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, FILE_MOST),
        ({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}, 0),
        ({"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}, None),
        (
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "image", "source": {"type": "url"}}],
            },
            IMAGE_MOST,
        ),
    ],
)
def test_a_part_counts_by_its_bytes_or_by_the_most_that_its_kind_costs(
    part: dict[str, Any], tokens: int | None
) -> None:
    assert beyond(user(part)) == tokens
    assert beyond({"model": "m", "input": [{"role": "user", "content": [part]}]}) == tokens


@pytest.mark.parametrize(
    "more",
    [
        {"web_search_options": {}},
        {"plugins": [{"id": "web"}]},
        {"modalities": ["text", "audio"]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "code_interpreter"}]},
        {"mcp_servers": [{"url": "https://x"}]},
        {"speed": "fast"},
        {"models": ["a", "b"]},
        {"prediction": {"type": "content", "content": "x"}},
    ],
)
def test_there_is_no_bound_where_the_provider_adds_to_the_prompt_or_to_the_price(
    more: dict[str, Any],
) -> None:
    assert beyond(said(**more)) is None


def test_tools_that_the_client_runs_have_a_bound() -> None:
    function = {"type": "function", "function": {"name": "f"}}
    assert beyond(said(tools=[function, {"name": "g", "input_schema": {}}])) == 0
    assert beyond(said(tools=[{"type": "bash_20250124", "name": "bash"}])) == FRAMING


def test_calls_and_their_results_count_by_their_bytes() -> None:
    items = [
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "text"},
        {"type": "reasoning", "encrypted_content": "x", "summary": []},
        {"type": "message", "role": "user", "content": "hi"},
    ]
    assert beyond({"model": "m", "input": items}) == 0
    assert beyond({"model": "m", "input": [{"type": "item_of_tomorrow"}]}) is None


@pytest.mark.parametrize(
    ("face", "body", "field"),
    [
        (chat, said(), "max_completion_tokens"),
        (responses, {"model": "m", "input": "hello"}, "max_output_tokens"),
    ],
)
def test_an_answer_without_a_limit_gets_one_in_the_dialects_own_words(
    face: Any, body: dict[str, Any], field: str
) -> None:
    facts = bounds.bounded(body, face.facts(body), 100, 512)
    assert body[field] == facts.max_output_tokens == facts.output_cap == 512
    assert facts.input_tokens_most == 100 + FRAMING
    assert face.facts(body).max_output_tokens == 512


@pytest.mark.parametrize(
    ("face", "body"),
    [
        (chat, said(max_tokens=7)),
        (chat, said(max_completion_tokens=7, max_tokens=3)),
        (responses, {"model": "m", "input": "hello", "max_output_tokens": 7}),
        (messages, said(max_tokens=7)),
    ],
)
def test_a_limit_of_the_clients_own_stays(face: Any, body: dict[str, Any]) -> None:
    before = dict(body)
    facts = bounds.bounded(body, face.facts(body), 100, 512)
    assert (facts.max_output_tokens, facts.output_cap, body) == (7, None, before)


def test_embeddings_have_an_input_alone() -> None:
    body = {"model": "m", "input": ["hello"]}
    facts = bounds.bounded(body, embeddings.facts(body), 100, 512)
    assert (facts.input_tokens_most, facts.max_output_tokens, facts.output_cap) == (100 + FRAMING, None, None)


def test_choices_and_the_tier_are_known() -> None:
    facts = chat.facts(said(n=3, service_tier="flex"))
    assert (facts.choices, facts.service_tier) == (3, "flex")
    assert chat.facts(said()).choices == 1
    assert (
        len(responses.facts({"model": "m", "input": "", "service_tier": "x" * 999}).service_tier or "") == 32
    )
