"""Small examples of the dialect, as files: what goes in, and what must come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyrail.contracts.usage import Usage
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.events import (
    Begin,
    CallBegin,
    Counted,
    Done,
    End,
    Event,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Audio, Cache, Call, Document, Image, Result, Text, Thinking
from keyrail.dialects.canonical.request import (
    Choice,
    Format,
    Message,
    Reasoning,
    Request,
    Tool,
    Written,
)
from keyrail.dialects.gemini_generate.errors import classify
from keyrail.dialects.gemini_generate.outbound import write_request
from keyrail.dialects.gemini_generate.reader import Reader

GOLDEN = Path(__file__).parent / "golden/gemini_generate"
ERRORS: list[dict[str, Any]] = json.loads((GOLDEN / "errors.json").read_text())
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CONVERSATION = [
    Message("system", [Text("Be brief.", cache=Cache())]),
    Message("system", [Text("Be kind.")]),
    Message(
        "user",
        [
            Text("What is on this picture, and what is the weather there?"),
            Image(media_type="image/png", data="iVBORw0KGgo=", detail="low"),
            Document(url="gs://bucket/map.pdf"),
            Audio("SUQz", "mp3"),
        ],
        name="ann",
    ),
    Message(
        "assistant",
        [
            Thinking("It is a harbour.", seal="c2VhbC0x", seal_kind="gemini"),
            Thinking("Another maker's thought.", seal="x", seal_kind="anthropic"),
            Text("I see Hamburg."),
        ],
    ),
    Message(
        "assistant",
        [Call("call_1", "weather", '{"city": "Hamburg"}', seal="c2VhbC0y"), Call("call_2", "webcam")],
    ),
    Message("user", [Result("call_1", [Text('{"degrees": 7}')])]),
    Message("user", [Result("call_2", [Text("one picture"), Image(media_type="image/jpeg", data="/9j/")])]),
    Message("system", [Text("Answer in German.")]),
    Message("user", [Text("And tomorrow?")]),
]
REQUEST = Request(
    messages=CONVERSATION,
    stream=True,
    include_usage=True,
    tools=[
        Tool("weather", "The weather in a city.", WEATHER, strict=True),
        Tool("webcam", schema={}, cache=Cache()),
    ],
    choice=Choice("required", ("weather",)),
    parallel=False,
    max_tokens=900,
    temperature=0.4,
    top_p=0.9,
    top_k=40,
    stop=["END"],
    presence_penalty=0.5,
    frequency_penalty=-0.5,
    seed=7,
    n=2,
    logprobs=True,
    top_logprobs=3,
    reasoning=Reasoning(effort="low", show=True),
    format=Format("schema", {"type": "object"}, name="report", description="A report."),
    verbosity="low",
    user="ann",
    tier="flex",
    cache_key="k",
    metadata={"a": "b"},
    dropped=["store"],
)
DROPPED = {
    "store",
    "cache_control",
    "messages[2].name",
    "messages[3].thinking",
    "response_format.json_schema.description",
    "parallel_tool_calls",
    "verbosity",
    "user",
    "prompt_cache_key",
    "metadata",
}


def test_a_request_is_written_as_written_down() -> None:
    written = write_request(REQUEST, model="gemini-3-flash-preview", quirks=Quirks())
    assert isinstance(written, Written)
    assert json.loads(json.dumps(written.body)) == json.loads((GOLDEN / "request.json").read_text())
    assert set(written.dropped) == DROPPED
    assert len(written.dropped) == len(DROPPED)


def test_a_stream_is_read_as_written_down() -> None:
    reader = Reader("gemini")
    events: list[Event] = reader.feed((GOLDEN / "stream.sse").read_bytes()) + reader.end()
    invented = next(event for event in events if type(event) is CallBegin).id
    assert invented.startswith("call_")
    assert events == [
        Begin("resp-1", "gemini-3-flash-preview", usage=Usage(input_tokens=20, cache_read_tokens=8)),
        ThinkingPiece("Harbour or lake?"),
        TextPiece("Ham"),
        TextPiece("burg.", seal="c2VhbA=="),
        CallBegin(0, invented, "weather", '{"city":"Hamburg"}'),
        CallBegin(1, "x1", "webcam", "{}"),
        End("tool_calls"),
        Counted(
            Usage(
                input_tokens=23,
                output_tokens=15,
                reasoning_tokens=5,
                served_tier="standard",
                raw={
                    "promptTokenCount": 20,
                    "toolUsePromptTokenCount": 3,
                    "totalTokenCount": 38,
                    "candidatesTokenCount": 10,
                    "thoughtsTokenCount": 5,
                    "serviceTier": "standard",
                },
            )
        ),
        Done(),
    ]
    assert reader.failure is None


@pytest.mark.parametrize("case", ERRORS, ids=[case["name"] for case in ERRORS])
def test_an_error_is_classified_as_written_down(case: dict[str, Any]) -> None:
    failure = classify("gemini", case["status"], {}, json.dumps(case["body"]).encode())
    assert {name: getattr(failure, name) for name in case["failure"]} == case["failure"]
    assert (failure.provider, failure.upstream_status) == ("gemini", case["status"])
    assert failure.error_dialect == "gemini-generate"
