"""What is never kept: every reason has a case that meets it, and one that just does not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from keyrail.caching import eligible
from keyrail.caching import key as keys
from keyrail.contracts.slips import CacheRule, Dialect, Facts, Slip
from keyrail.contracts.usage import Usage
from keyrail.dialects import registry
from keyrail.dialects.canonical.answer import Answer, Candidate
from keyrail.dialects.canonical.parts import Audio, Call, Foreign, Image, Refusal, Text, Thinking

ON = CacheRule(mode="on")
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0}
CLAUDE: dict[str, Any] = HI | {"max_tokens": 9}
RESPONSES: dict[str, Any] = {"input": "hi", "temperature": 0}


def turn(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, *parts]}]}


def item(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}, *parts]}]}


def reason(body: dict[str, Any], dialect: Dialect = "openai-chat", rule: CacheRule = ON) -> str | None:
    said = {"model": "m"} | body
    facts = Facts(model="m", dialect=dialect)
    if dialect != "openai-embeddings":
        assert registry.face(dialect).check(json.loads(json.dumps(said))) is None
        facts = registry.face(dialect).facts(said)
    slip = Slip(
        request_id="r",
        inbox="i",
        tenant="t",
        key_id="k",
        received_ms=0,
        deadline_ms=0,
        take_by_ms=0,
        facts=facts,
    )
    return eligible.refused(rule, slip, keys.read(json.dumps(said).encode(), dialect))


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai-chat", HI),
        ("openai-chat", HI | {"temperature": 0.0, "stream": True, "n": 1, "store": False}),
        ("openai-chat", HI | turn({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}})),
        ("openai-chat", HI | {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ("openai-chat", HI | {"modalities": ["text"], "web_search_options": None}),
        ("openai-responses", RESPONSES),
        ("openai-responses", RESPONSES | {"store": True}),  # the gateway stores nothing, whatever is said
        ("anthropic-messages", CLAUDE),
        ("openai-embeddings", {"input": "hi"}),
    ],
)
def test_what_may_be_kept(dialect: Dialect, body: dict[str, Any]) -> None:
    assert reason(body, dialect) is None


@pytest.mark.parametrize(
    ("wanted", "dialect", "body"),
    [
        ("choices", "openai-chat", HI | {"n": 2}),
        ("choices", "openai-chat", HI | {"best_of": 3}),
        ("temperature", "openai-chat", {"messages": HI["messages"]}),
        ("temperature", "openai-chat", HI | {"temperature": None}),
        ("temperature", "openai-chat", HI | {"temperature": 0.01}),
        ("temperature", "openai-responses", {"input": "hi"}),
        ("temperature", "anthropic-messages", CLAUDE | {"temperature": 1}),
        ("hosted-tools", "openai-chat", HI | {"web_search_options": {"search_context_size": "low"}}),
        ("hosted-tools", "openai-chat", HI | {"plugins": [{"id": "web"}]}),
        ("hosted-tools", "openai-chat", HI | {"search_parameters": {"mode": "on"}}),
        ("hosted-tools", "openai-chat", HI | {"tools": [{"type": "browser_search"}]}),
        ("hosted-tools", "openai-responses", RESPONSES | {"tools": [{"type": "web_search"}]}),
        ("hosted-tools", "openai-responses", RESPONSES | {"tools": [{"type": "code_interpreter"}]}),
        (
            "hosted-tools",
            "anthropic-messages",
            CLAUDE | {"tools": [{"type": "web_search_1", "name": "w"}]},
        ),
        ("hosted-tools", "anthropic-messages", CLAUDE | {"mcp_servers": [{"url": "https://x"}]}),
        ("stored", "openai-chat", HI | {"store": True}),
        ("stored", "openai-chat", HI | turn({"type": "file", "file": {"file_id": "file-1"}})),
        ("stored", "openai-responses", RESPONSES | item({"type": "input_file", "file_id": "file-1"})),
        ("stored", "openai-responses", RESPONSES | item({"type": "input_image", "file_id": "file-1"})),
        ("stored", "anthropic-messages", CLAUDE | {"container": "c"}),
        (
            "stored",
            "anthropic-messages",
            CLAUDE | turn({"type": "document", "source": {"type": "file", "file_id": "f"}}),
        ),
        ("audio", "openai-chat", HI | {"modalities": ["text", "audio"], "audio": {"voice": "v"}}),
        (
            "remote-media",
            "openai-chat",
            HI | turn({"type": "image_url", "image_url": {"url": "https://x/y.png"}}),
        ),
        (
            "remote-media",
            "openai-responses",
            RESPONSES | item({"type": "input_image", "image_url": "https://x/y"}),
        ),
        (
            "remote-media",
            "anthropic-messages",
            CLAUDE | turn({"type": "image", "source": {"type": "url", "url": "https://x/y"}}),
        ),
        ("foreign", "anthropic-messages", CLAUDE | {"max_tokens": 0}),
        ("foreign", "openai-chat", HI | turn({"type": "never_heard_of", "x": 1})),
    ],
)
def test_what_is_neither_looked_up_nor_kept(wanted: str, dialect: Dialect, body: dict[str, Any]) -> None:
    assert reason(body, dialect) == wanted


def test_sampled_answers_are_kept_where_the_route_says_so() -> None:
    assert reason({"messages": HI["messages"]}, rule=CacheRule(mode="on", any_temperature=True)) is None


def test_a_rule_that_is_off_keeps_nothing() -> None:
    assert reason(HI, rule=CacheRule(mode="off")) == "off"


def test_counting_tokens_is_no_answer() -> None:
    facts = Facts(model="m", operation="count_tokens", dialect="anthropic-messages")
    slip = Slip(
        request_id="r",
        inbox="i",
        tenant="t",
        key_id="k",
        received_ms=0,
        deadline_ms=0,
        take_by_ms=0,
        facts=facts,
    )
    body = json.dumps({"model": "m"} | CLAUDE).encode()
    assert eligible.refused(ON, slip, keys.read(body, "anthropic-messages")) == "operation"


def answer(*parts: Any, finish: Any = "stop", more: int = 0) -> Answer:
    candidates = [Candidate(list(parts), finish)] + [Candidate([], "stop")] * more
    return Answer(candidates=candidates, usage=Usage())


@pytest.mark.parametrize(
    "whole",
    [
        answer(Text("a")),
        answer(Text("a"), finish="stop_sequence"),
        answer(Thinking("t", seal="s", seal_kind="anthropic"), Call("c", "f", "{}"), finish="tool_calls"),
        answer(Refusal("no")),
        answer(Image("image/png", "aGk=")),
    ],
    ids=["text", "stop word", "sealed thoughts and a call", "refusal", "image"],
)
def test_a_whole_answer_may_be_kept(whole: Answer) -> None:
    assert eligible.unfit(whole, "serve") is None


@pytest.mark.parametrize(
    ("wanted", "told", "role"),
    [
        ("finish", answer(Text("a"), finish="length"), "serve"),
        ("finish", answer(Text("a"), finish="content_filter"), "serve"),
        ("finish", answer(Text("a"), finish="pause"), "serve"),
        ("finish", answer(Text("a"), finish="error"), "serve"),
        ("finish", answer(Text("a"), finish=None), "serve"),
        ("choices", answer(Text("a"), more=1), "serve"),
        ("audio", answer(Audio("aGk=", "wav")), "serve"),
        ("foreign", answer(Foreign("web_search_tool_result")), "serve"),
        ("remote-media", answer(Image(url="https://x/y.png")), "serve"),
        ("role", answer(Text("a")), "race"),
        ("role", answer(Text("a")), "hedge"),
        ("role", answer(Text("a")), "continue"),
    ],
)
def test_an_answer_that_is_not_kept(wanted: str, told: Answer, role: str) -> None:
    assert eligible.unfit(told, role) == wanted


def test_the_documentation_lists_every_reason() -> None:
    text = (Path(__file__).parents[3] / "docs/caching.md").read_text()
    table = text.partition("## What is never kept")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(eligible.REASONS)
