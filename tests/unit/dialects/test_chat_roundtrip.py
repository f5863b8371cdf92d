"""A chat request means the same after it was canonical for a while."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Request, Written
from keyrail.dialects.openai_chat.face import check, read_request
from keyrail.dialects.openai_chat.wire import write_request

QUIRKS = Quirks(
    takes=("cache_control", "reasoning_details", "extra_content"),
    thoughts="reasoning",
    send_stream_options=False,
)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
MARKS = st.sampled_from([None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])


def image(url: str, detail: dict[str, Any], mark: dict[str, Any] | None) -> dict[str, Any]:
    return marked({"type": "image_url", "image_url": {"url": url} | detail}, mark)


def turn(role: str, content: Any, name: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, **name}]


def tool(function: dict[str, Any], mark: dict[str, Any] | None) -> dict[str, Any]:
    return marked({"type": "function", "function": function}, mark)


def marked(part: dict[str, Any], mark: dict[str, Any] | None) -> dict[str, Any]:
    return part if mark is None else {**part, "cache_control": mark}


TEXTS = st.builds(marked, st.fixed_dictionaries({"type": st.just("text"), "text": WORDS}), MARKS)
IMAGES = st.builds(
    image,
    st.sampled_from(["https://x/y.png", "data:image/png;base64,aGk="]),
    st.sampled_from([{}, {"detail": "low"}]),
    MARKS,
)
FILES = st.sampled_from(
    [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
    ]
)
SPEAKERS = st.one_of(st.just({}), st.fixed_dictionaries({"name": NAMES}))
ASKS = st.builds(
    turn,
    st.just("user"),
    st.one_of(WORDS, st.lists(st.one_of(TEXTS, IMAGES, FILES), min_size=1, max_size=4)),
    SPEAKERS,
)
RULES = st.builds(
    turn,
    st.just("system"),
    st.one_of(WORDS, st.lists(TEXTS, min_size=1, max_size=3)),
    SPEAKERS,
)
THOUGHTS = st.sampled_from(
    [
        {},
        {"reasoning": "Hm."},
        {
            "reasoning": "Hm.",
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Hm.",
                    "signature": "S",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                }
            ],
        },
        {
            "reasoning_details": [
                {
                    "type": "reasoning.encrypted",
                    "data": "E",
                    "id": "rs",
                    "format": "openai-responses-v1",
                    "index": 0,
                }
            ]
        },
        {
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "X", "format": "xai-responses-v1", "index": 0},
                {"type": "reasoning.text", "signature": "G", "format": "google-gemini-v1", "index": 1},
            ]
        },
    ]
)
SIGNATURES = st.sampled_from([{}, {"extra_content": {"google": {"thought_signature": "G"}}}])


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An assistant's turn with calls, and their results."""
    count = draw(st.integers(0, 3))
    place = draw(st.integers(0, 10**6))
    calls: list[dict[str, Any]] = []
    for index in range(count):
        call: dict[str, Any] = {"id": f"call_{place}_{index}"}
        if draw(st.booleans()):
            arguments = draw(st.sampled_from(["{}", '{"a":1}', "{broken"]))
            call |= {"type": "function", "function": {"name": draw(NAMES), "arguments": arguments}}
        else:
            call |= {"type": "custom", "custom": {"name": draw(NAMES), "input": draw(WORDS)}}
        calls.append(call | draw(SIGNATURES))
    content = draw(WORDS) if not calls else draw(st.one_of(st.none(), WORDS))
    said: dict[str, Any] = {"role": "assistant", "content": content, **draw(THOUGHTS)}
    if calls:
        said["tool_calls"] = calls
    results = [
        {
            "role": "tool",
            "tool_call_id": call["id"],
            "content": draw(st.one_of(WORDS, st.lists(TEXTS, min_size=2, max_size=3).map(unmarked))),
        }
        for call in calls
    ]
    return [said, *results]


def unmarked(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A mark on a result's part becomes one on the result's end."""
    return [{"type": "text", "text": part["text"]} for part in parts]


TOOLS = st.builds(
    tool,
    st.fixed_dictionaries(
        {"name": NAMES, "parameters": st.just({"type": "object", "properties": {"a": {"type": "string"}}})},
        optional={"description": WORDS, "strict": st.booleans()},
    ),
    MARKS,
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "max_completion_tokens": st.integers(1, 10**6),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "stop": st.lists(WORDS, min_size=1, max_size=4),
        "n": st.integers(2, 8),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "logprobs": st.just(True),
        "top_logprobs": st.integers(0, 20),
        "logit_bias": st.just({"50256": -100}),
        "stream": st.just(True),
        "response_format": st.sampled_from(
            [
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
            ]
        ),
        "reasoning": st.sampled_from(
            [{"effort": "low"}, {"max_tokens": 2000, "exclude": True}, {"enabled": False}]
        ),
        "verbosity": st.sampled_from(["low", "high"]),
        "user": NAMES,
        "service_tier": st.sampled_from(["auto", "flex"]),
        "prompt_cache_key": NAMES,
        "cache_control": st.just({"type": "ephemeral"}),
    },
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    turns = draw(st.lists(st.one_of(ASKS, RULES, steps()), min_size=1, max_size=6))
    body: dict[str, Any] = {"model": "m", "messages": [message for turn in turns for message in turn]}
    body |= draw(PARAMETERS)
    tools = draw(st.lists(TOOLS, max_size=3))
    if tools:
        body["tools"] = tools
        choices = ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}]
        body["tool_choice"] = draw(st.sampled_from(choices))
        body["parallel_tool_calls"] = draw(st.booleans())
    return body


def meaning(body: dict[str, Any]) -> dict[str, Any]:
    """The same without what is only another way to write it."""
    found = copy.deepcopy(body)
    turns: list[dict[str, Any]] = []
    for message in found["messages"]:
        content = message.get("content")
        if isinstance(content, str):
            message["content"] = [{"type": "text", "text": content}]
        before = turns[-1] if turns else None
        wordless = message["role"] == "assistant" and not (content and before and before["content"])
        if before is not None and before["role"] == "assistant" and wordless:
            _join(before, message)
        else:
            turns.append(message)
    for message in turns:
        if message["role"] == "assistant":
            # Which of two joined turns thought first shows in the numbers of the entries only.
            entries = message.get("reasoning_details", [])
            bare = [{name: value for name, value in entry.items() if name != "index"} for entry in entries]
            if bare:
                message["reasoning_details"] = bare
            # Text beside sealed thoughts says what these say.
            if any(entry.get("text") for entry in message.get("reasoning_details", ())):
                message.pop("reasoning", None)
    found["messages"] = turns
    return found


def _join(before: dict[str, Any], message: dict[str, Any]) -> None:
    before["content"] = before["content"] or message["content"]
    for name in ("tool_calls", "reasoning_details"):
        if name in message:
            before[name] = before.get(name, []) + message[name]
    if "reasoning" in message:
        before["reasoning"] = before.get("reasoning", "") + message["reasoning"]


@given(requests())
@settings(max_examples=150, deadline=None)
def test_what_a_request_means_survives_both_ways(body: dict[str, Any]) -> None:
    assert check(body) is None
    request = read_request(copy.deepcopy(body))
    assert isinstance(request, Request), request
    written = write_request(request, model="m", quirks=QUIRKS)
    assert isinstance(written, Written), written
    assert (request.dropped, written.dropped) == ([], ())
    assert meaning(written.body) == meaning(body)
    assert check(written.body) is None


@given(requests())
@settings(max_examples=50, deadline=None)
def test_reading_what_was_written_gives_the_same_canonical_request(body: dict[str, Any]) -> None:
    once = read_request(copy.deepcopy(body))
    assert isinstance(once, Request)
    written = write_request(once, model="m", quirks=QUIRKS)
    assert isinstance(written, Written)
    again = read_request(json.loads(json_text.dump(written.body)))
    assert isinstance(again, Request)
    twice = write_request(again, model="m", quirks=QUIRKS)
    assert isinstance(twice, Written)
    assert twice.body == written.body


ATOMS = st.sampled_from([None, True, 0, -1.5, 2**70, "", "x", "text", [], {}, [None], ["x"], {"x": None}])
JSON = st.one_of(
    ATOMS,
    st.lists(ATOMS, max_size=2),
    st.dictionaries(
        st.sampled_from(["type", "text", "url", "name", "function", "data", "effort", "google", "schema"]),
        ATOMS,
        max_size=3,
    ),
)
FIELDS = [
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "reasoning",
    "thinking",
    "reasoning_effort",
    "response_format",
    "cache_control",
    "modalities",
    "web_search_options",
    "stop",
    "user",
    "metadata",
    "store",
    "n",
    "logprobs",
    "reasoning_format",
    "include_reasoning",
]
IN_MESSAGES = [
    "content",
    "name",
    "tool_calls",
    "function_call",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "thinking_blocks",
    "refusal",
    "images",
    "audio",
    "extra_content",
    "tool_call_id",
    "cache_control",
    "provider_specific_fields",
]
KINDS = [
    "text",
    "image_url",
    "file",
    "input_audio",
    "refusal",
    "thinking",
    "video_url",
    "function",
    "custom",
    "?",
]


@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "user", "assistant", "tool", "function"])},
            optional=dict.fromkeys(IN_MESSAGES, JSON),
        ),
        min_size=1,
        max_size=3,
    ),
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", *KINDS]), st.one_of(JSON, st.sampled_from(KINDS)), max_size=3
        ),
        max_size=3,
    ),
)
@settings(max_examples=200, deadline=None)
def test_nonsense_is_refused_or_read_but_never_breaks(
    fields: dict[str, Any], messages: list[dict[str, Any]], parts: list[dict[str, Any]]
) -> None:
    for message in messages:
        for name in ("content", "tool_calls", "reasoning_details", "images"):
            if name in message and parts:
                message[name] = parts
    body = {"model": "m", "messages": messages, **fields}
    if check(body) is not None:
        return
    request = read_request(body)
    if isinstance(request, Failure):
        assert request.status == 400
        assert request.param is not None
        return
    for quirks in (Quirks(), QUIRKS):
        written = write_request(request, model="gpt-5", quirks=quirks)
        assert isinstance(written, Failure) or json_text.dump(written.body)
