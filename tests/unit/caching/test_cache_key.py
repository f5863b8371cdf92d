"""Two requests share a key if and only if they mean the same."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.caching import key as keys
from keyrail.contracts.slips import Dialect, Target
from keyrail.dialects import registry

TARGET = Target(provider="openai", model="gpt-x")
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
NAMES = st.text("abcdefgh_", min_size=1, max_size=6)

Body = dict[str, Any]


def key_of(body: Body, dialect: Dialect = "openai-chat", **more: Any) -> str:
    problem = registry.face(dialect).check(copy.deepcopy(body))
    assert problem is None, problem
    asked = keys.read(json.dumps(body).encode(), dialect)
    options: dict[str, Any] = {"tenant": "t", "target": TARGET, "spoken": "openai-chat"} | more
    return keys.key(asked, **options)


def schema_of(names: list[str], kind: str) -> Body:
    return {"type": "object", "properties": {name: {"type": kind} for name in names}}


def text_part(text: str) -> Body:
    return {"type": "text", "text": text}


SCHEMAS = st.builds(
    schema_of,
    st.lists(NAMES, min_size=2, max_size=3, unique=True),
    st.sampled_from(["string", "integer"]),
)
IMAGE: Body = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}
PARTS = st.one_of(st.builds(text_part, WORDS), st.just(IMAGE))
CALL = [
    {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
]


@st.composite
def meanings(draw: st.DrawFn) -> Body:
    """A chat request in one spelling: each field that is there says something."""
    messages: list[Any] = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    content = draw(st.one_of(WORDS, st.lists(PARTS, min_size=2, max_size=3)))
    messages.append({"role": "user", "content": content})
    messages += copy.deepcopy(CALL) if draw(st.booleans()) else []
    tools = [
        {"type": "function", "function": {"name": f"t{n}", "description": "d", "parameters": draw(SCHEMAS)}}
        for n in range(2)
    ]
    optional: dict[str, Any] = {
        "tools": tools,
        "temperature": draw(st.sampled_from([0, 0.5, 1])),
        "top_p": draw(st.sampled_from([0.1, 0.5])),
        "max_completion_tokens": draw(st.integers(1, 1000)),
        "stop": ["one", "two"],
        "seed": draw(st.integers(1, 2**40)),
        "presence_penalty": draw(st.sampled_from([1, 0.5])),
        "frequency_penalty": 1,
        "top_logprobs": 2,
        "reasoning_effort": draw(st.sampled_from(["low", "high"])),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": draw(SCHEMAS)},
        },
        "logit_bias": {"5": 3},
        "verbosity": "low",
        "x_unknown": {"a": 1},
    }
    kept = draw(st.sets(st.sampled_from(sorted(optional))))
    return {"model": "route", "messages": messages, **{name: optional[name] for name in sorted(kept)}}


_USUAL: Body = {
    "n": 1,
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "somebody",
    "metadata": {"a": "b"},
    "safety_identifier": "x",
    "prompt_cache_key": "k",
    "logprobs": False,
    "service_tier": "auto",
    "store": False,
    "logit_bias": None,
    "tool_choice": "auto",
    "model": "another-name",
}


@st.composite
def spellings(draw: st.DrawFn, body: Body) -> Body:
    """The same request said in another way."""
    said = _shuffled(draw, copy.deepcopy(body))
    for name in draw(st.sets(st.sampled_from(sorted(_USUAL)))):
        if name == "model" or name not in said:
            said[name] = copy.deepcopy(_USUAL[name])
    if "presence_penalty" not in said and draw(st.booleans()):
        said["presence_penalty"] = 0.0
    if "max_completion_tokens" in said and draw(st.booleans()):
        said["max_tokens"] = said.pop("max_completion_tokens")
    for message in said["messages"]:
        if type(message.get("content")) is str and draw(st.booleans()):
            message["content"] = [{"type": "text", "text": message["content"]}]
        if message["role"] == "assistant":
            message |= {"content": None, "refusal": None, "annotations": []}
    if draw(st.booleans()):
        last = said["messages"][-1]
        if type(last["content"]) is list:
            last["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return said


def _shuffled(draw: st.DrawFn, value: Any, *, ordered: bool = False) -> Any:
    if type(value) is dict:
        names = list(value) if ordered else draw(st.permutations(list(value)))
        return {name: _shuffled(draw, value[name], ordered=name == "properties") for name in names}
    if type(value) is list:
        return [_shuffled(draw, each) for each in value]
    return float(value) if type(value) is int and abs(value) < 2**50 and draw(st.booleans()) else value


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_two_spellings_of_one_request_share_a_key(data: st.DataObject) -> None:
    body = data.draw(meanings())
    assert key_of(data.draw(spellings(body))) == key_of(data.draw(spellings(body)))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if type(value) is dict:
        return [path] * bool(path) + [p for name in value for p in _paths(value[name], (*path, name))]
    if type(value) is list:
        return [path] + [p for n in range(len(value)) for p in _paths(value[n], (*path, n))]
    return [path]


def _other(value: Any) -> Any:
    """A value of the same kind that says something else."""
    if type(value) is bool:
        return not value
    if type(value) is str:
        other = {
            "system": "user",
            "user": "system",
            "low": "high",
            "high": "low",
            "auto": "low",
            "string": "integer",
            "integer": "string",
        }
        return other.get(value, value + "!")
    if type(value) in (int, float):
        return value / 2 if value in (1, 2) else value + 1
    if type(value) is list:
        return list(reversed(value)) if len(value) > 1 and value[0] != value[-1] else [*value, *value[-1:]]
    return {**value, "new": "field"}


_ELSEWHERE = frozenset(
    {"model", "type", "tool_calls", "role", "url", "assistant", "top_logprobs", "properties"}
)
"""What can't be changed alone without making the request invalid."""


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_request_that_differs_in_one_thing_that_means_something_has_another_key(
    data: st.DataObject,
) -> None:
    body = data.draw(meanings())
    paths = [p for p in _paths(body) if p[-1] not in _ELSEWHERE and p != ("messages",) and "tool" not in p]
    path = data.draw(st.sampled_from(paths))
    changed = copy.deepcopy(body)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = _other(place[path[-1]])
    if registry.face("openai-chat").check(copy.deepcopy(changed)) is not None:
        return  # not a request at all
    assert key_of(data.draw(spellings(changed))) != key_of(data.draw(spellings(body))), path


@settings(max_examples=40, deadline=None)
@given(meanings(), st.data())
def test_a_field_that_nobody_here_knows_counts_wherever_it_stands(body: Body, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([(), *(p for p in _paths(body) if p)]))
    changed = copy.deepcopy(body)
    place: Any = changed
    for step in path:
        place = place[step]
    if type(place) is not dict:
        return
    place["prefix"] = True
    if path[-1:] == ("logit_bias",):
        return
    assert key_of(changed) != key_of(body)


@settings(max_examples=30, deadline=None)
@given(
    system=st.none() | WORDS.map(str.strip).filter(bool),
    # at Anthropic a blank turn is none, and the last one has no blanks at its end
    turns=st.lists(WORDS.map(str.strip).filter(bool), min_size=1, max_size=3),
    temperature=st.sampled_from([None, 0, 0.5, 1]),
    top_p=st.none() | st.sampled_from([0.25, 0.5]),
    most=st.integers(16, 1000),
    spoken=st.sampled_from(["openai-chat", "anthropic-messages", "gemini-generate"]),
)
def test_the_same_request_in_another_dialect_has_the_same_key(
    system: str | None,
    turns: list[str],
    temperature: float | None,
    top_p: float | None,
    most: int,
    spoken: str,
) -> None:
    roles = ["user", "assistant"]
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]
    sampling: Body = {"model": "m", "temperature": temperature, "top_p": top_p}
    before = [{"role": "system", "content": system}] if system is not None else []
    chat = sampling | {"messages": before + messages, "max_tokens": most}
    claude = sampling | {"messages": messages, "max_tokens": most}
    claude |= {"system": system} if system is not None else {}
    responses = sampling | {"input": messages, "instructions": system, "max_output_tokens": most}
    bodies: dict[Dialect, Body] = {
        "openai-chat": chat,
        "anthropic-messages": _without_nulls(claude),
        "openai-responses": responses,
    }
    found = {key_of(body, dialect, spoken=spoken) for dialect, body in bodies.items()}
    assert len(found) == 1


def _without_nulls(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None}


def test_tools_and_their_results_are_the_same_in_two_dialects() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    chat = {
        "model": "m",
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}],
    }
    claude = {
        "model": "m",
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": schema}],
    }
    assert key_of(chat) == key_of(claude, "anthropic-messages")


HI: Body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 9}


@pytest.mark.parametrize(
    "more",
    [
        {"tenant": "other"},
        {"target": Target(provider="groq", model="gpt-x")},
        {"target": Target(provider="openai", model="gpt-y")},
    ],
    ids=["tenant", "provider", "model"],
)
def test_a_key_is_one_tenants_at_one_target(more: Body) -> None:
    assert key_of(HI, **more) != key_of(HI)


def test_a_new_version_has_new_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(HI)
    monkeypatch.setattr(keys, "VERSION", keys.VERSION + 1)
    assert key_of(HI) != before


def test_true_is_not_one_and_a_null_in_the_clients_own_data_is_something() -> None:
    def enum(*values: Any) -> str:
        schema = {"type": "object", "properties": {"a": {"enum": list(values)}}}
        return key_of(HI | {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]})

    assert enum(1) == enum(1.0)
    assert len({enum(1), enum(True), enum("1"), enum(None), enum()}) == 5


def test_the_order_of_a_schemas_properties_counts_and_no_other() -> None:
    def schema(*names: str, turned: bool = False) -> str:
        fields: list[tuple[str, Any]] = [
            ("type", "object"),
            ("properties", {name: {"type": "string"} for name in names}),
        ]
        form = {"name": "n", "schema": dict(reversed(fields) if turned else fields)}
        return key_of(HI | {"response_format": {"type": "json_schema", "json_schema": form}})

    assert schema("a", "b") == schema("a", "b", turned=True)
    assert schema("a", "b") != schema("b", "a")


def test_what_a_client_asks_of_its_own_dialect_in_headers_counts_there_alone() -> None:
    claude = HI | {"max_tokens": 9}

    def passed(spoken: Dialect, **headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return key_of(claude, "anthropic-messages", spoken=spoken, passed=named)

    own: Dialect = "anthropic-messages"
    assert passed(own) == passed(own, anthropic_version="2023-06-01")
    assert passed(own, anthropic_beta="a, b") == passed(own, anthropic_beta="b,a")
    assert passed(own) != passed(own, anthropic_beta="a")
    assert passed("openai-chat") == passed("openai-chat", anthropic_beta="a")


def test_sealed_thoughts_are_another_answer_where_they_can_be_asked_for() -> None:
    body: Body = {"model": "m", "input": "hi", "max_output_tokens": 9}
    sealed = body | {"include": ["reasoning.encrypted_content"]}

    def key(body: Body, spoken: Dialect) -> str:
        return key_of(body, "openai-responses", spoken=spoken)

    assert key(body, "openai-responses") != key(sealed, "openai-responses")
    assert key(body, "openai-chat") == key(sealed, "openai-chat")


def test_embeddings_of_one_text_are_the_same_however_it_is_sent() -> None:
    def key(**fields: Any) -> str:
        asked = keys.read(json.dumps({"model": "m", **fields}).encode(), "openai-embeddings")
        return keys.key(asked, "t", TARGET, "openai-embeddings")

    assert key(input="a") == key(input=["a"]) == key(input="a", encoding_format="float", user="u")
    assert len({key(input="a"), key(input="b"), key(input=["a", "b"]), key(input="a", dimensions=8)}) == 4
    assert key(input="a") != key(input="a", encoding_format="base64")


@pytest.mark.parametrize(
    ("dialect", "more"),
    [
        ("openai-chat", {"temperature": 1}),
        ("openai-chat", {"top_p": 1}),
        ("openai-chat", {"parallel_tool_calls": True}),
        ("openai-chat", {"modalities": ["text"]}),
        ("openai-chat", {"reasoning_effort": "medium"}),
        ("anthropic-messages", {"thinking": {"type": "disabled"}}),
    ],
)
def test_what_is_the_default_of_some_models_only_is_not_taken_for_unsaid(
    dialect: Dialect, more: Body
) -> None:
    body = {name: value for name, value in HI.items() if name != "temperature"}
    assert key_of(body | more, dialect) != key_of(body, dialect)
