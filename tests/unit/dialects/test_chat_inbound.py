"""Chat requests read into the canonical form."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import (
    Cache,
    Call,
    Document,
    Foreign,
    Image,
    Refusal,
    Result,
    Text,
    Thinking,
)
from keyrail.dialects.canonical.request import Choice, Format, Message, Reasoning, Request, Tool
from keyrail.dialects.openai_chat.face import check, read_request

USER: dict[str, Any] = {"role": "user", "content": "Hi"}


def read(**body: Any) -> Request:
    whole = {"model": "m", "messages": [USER], **body}
    assert check(whole) is None
    request = read_request(whole)
    assert isinstance(request, Request), request
    return request


def refusal(**body: Any) -> Failure:
    whole = {"model": "m", "messages": [USER], **body}
    assert check(whole) is None
    failure = read_request(whole)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status) == ("bad_request", 400)
    return failure


def turns(*messages: dict[str, Any]) -> list[Message]:
    return read(messages=list(messages)).messages


def test_instructions_stay_where_they_were() -> None:
    assert turns(
        {"role": "system", "content": "a"},
        USER,
        {"role": "developer", "content": [{"type": "text", "text": "b"}], "name": "boss"},
    ) == [
        Message("system", [Text("a")]),
        Message("user", [Text("Hi")]),
        Message("system", [Text("b")], "boss"),
    ]


def test_parts_of_a_user_keep_their_order_and_cache_marks() -> None:
    (message,) = turns(
        {
            "role": "user",
            "name": "Ann",
            "content": [
                {"type": "text", "text": "Look:", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://x/y"},
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "!", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
                {"type": "from_tomorrow", "x": 1},
            ],
        }
    )
    assert message == Message(
        "user",
        [
            Text("Look:", Cache("1h")),
            Image(url="https://x/y", cache=Cache()),
            Text("!", Cache()),
            Foreign("from_tomorrow", {"type": "from_tomorrow", "x": 1}),
        ],
        "Ann",
    )


def test_results_of_one_step_become_one_turn_with_the_names_of_their_tools() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    custom = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "free"}}
    assert turns(
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call, custom]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {
            "role": "tool",
            "tool_call_id": "c2",
            "content": [
                {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "https://x/y"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c9", "content": "nobody's"},
        USER,
    )[1:] == [
        Message("assistant", [Call("c1", "f", '{"a":1}'), Call("c2", "g", "free", custom=True)]),
        Message(
            "user",
            [
                Result("c1", [Text("one")], "f"),
                Result("c2", [Text("two"), Image(url="https://x/y")], "g", cache=Cache()),
                Result("c9", [Text("nobody's")]),
            ],
        ),
        Message("user", [Text("Hi")]),
    ]


def test_functions_of_earlier_days_are_tools() -> None:
    request = read(
        messages=[
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "done"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    assert request.tools == [Tool("f", schema={"type": "object"})]
    assert request.choice == Choice("required", ("f",))
    call, result = request.messages[1].parts[0], request.messages[2].parts[0]
    assert isinstance(call, Call)
    assert isinstance(result, Result)
    assert (call.name, call.arguments, call.id) == ("f", "{}", result.call_id)


def test_calls_without_ids_get_the_same_ones_each_time() -> None:
    calls = [{"function": {"name": "f", "arguments": {"a": 1}}}, {"function": {"name": "f"}}]
    first, again = (turns(USER, {"role": "assistant", "tool_calls": calls})[1].parts for _ in range(2))
    assert first == again
    assert isinstance(first[0], Call)
    assert isinstance(first[1], Call)
    assert first[0].id != first[1].id
    assert (first[0].arguments, first[1].arguments) == ('{"a":1}', "")


def test_an_assistant_may_say_nothing() -> None:
    assert turns(USER, {"role": "assistant", "content": None})[1] == Message("assistant", [])


def test_refusals_are_read_from_parts_and_from_their_field() -> None:
    said = turns(
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "name": "bot"},
        {"role": "assistant", "content": None, "refusal": "Never."},
    )
    assert said == [
        Message("assistant", [Refusal("No.")], "bot"),
        Message("assistant", [Refusal("Never.")]),
    ]


THOUGHTS: dict[str, tuple[dict[str, Any], list[Thinking]]] = {
    "reasoning_content": ({"reasoning_content": "Hm."}, [Thinking("Hm.")]),
    "reasoning": ({"reasoning": "Hm."}, [Thinking("Hm.")]),
    "two spellings of the same": ({"reasoning_content": "Hm.", "reasoning": "Hm."}, [Thinking("Hm.")]),
    "thinking_blocks": (
        {
            "reasoning_content": "Hm.",
            "thinking_blocks": [
                {"type": "thinking", "thinking": "Hm.", "signature": "S"},
                {"type": "redacted_thinking", "data": "R"},
            ],
        },
        [
            Thinking("Hm.", "S", "anthropic"),
            Thinking(seal="R", seal_kind="anthropic-redacted", redacted=True),
        ],
    ),
    "a wrapped seal": (
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "krs1.gemini.S"}]},
        [Thinking("Hm.", "S", "gemini")],
    ),
    "a list of thinking, as Mistral has it": (
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
        [Thinking("Hm.")],
    ),
}


@pytest.mark.parametrize(("fields", "expected"), THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_are_read_once_from_wherever_clients_keep_them(
    fields: dict[str, Any], expected: list[Thinking]
) -> None:
    (message,) = turns({"role": "assistant", "content": None, **fields})
    assert message.parts == expected


def details(*entries: dict[str, Any], **fields: Any) -> list[Any]:
    (message,) = turns({"role": "assistant", "content": None, "reasoning_details": list(entries), **fields})
    return message.parts


def test_reasoning_details_name_the_maker_of_their_seal() -> None:
    claude = {"type": "reasoning.text", "text": "Hm.", "signature": "S", "format": "anthropic-claude-v1"}
    hidden = {"type": "reasoning.encrypted", "data": "R", "format": "anthropic-claude-v1"}
    gemini = {"type": "reasoning.text", "signature": "G", "format": "google-gemini-v1"}
    openai = {"type": "reasoning.encrypted", "data": "E", "id": "rs_1", "format": "openai-responses-v1"}
    grok = {"type": "reasoning.encrypted", "data": "X", "format": "xai-responses-v1"}
    parts = details(claude, hidden, gemini, openai, grok, reasoning="Hm.")
    assert [(part.text, part.seal, part.seal_kind, part.redacted) for part in parts] == [
        ("Hm.", "S", "anthropic", False),
        ("", "R", "anthropic-redacted", True),
        ("", "G", "gemini", True),
        ("", "E", "openai", True),
        ("", '{"type":"reasoning.encrypted","data":"X","format":"xai-responses-v1"}', "openrouter", True),
    ]
    assert parts[3].id == "rs_1"
    assert [part.raw for part in parts] == [claude, hidden, gemini, openai, grok]


def test_pieces_of_details_that_a_client_never_joined_are_joined() -> None:
    parts = details(
        {"type": "reasoning.text", "text": "H", "index": 0},
        {"type": "reasoning.text", "text": "m.", "index": 0},
        {"type": "reasoning.text", "signature": "S", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "Next.", "index": 1},
        reasoning="Hm.Next.",
    )
    assert [(part.text, part.seal) for part in parts] == [("Hm.", "S"), ("Next.", None)]


def test_a_summary_beside_its_sealed_entry_is_one_thought() -> None:
    (part,) = details(
        {"type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1"}, reasoning="Short."
    )
    assert (part.text, part.seal, part.redacted) == ("Short.", "E", False)


def test_thought_signatures_of_gemini_are_found_on_calls_and_texts() -> None:
    google = {"extra_content": {"google": {"thought_signature": "G"}}}
    specific = {"provider_specific_fields": {"thought_signature": "G2"}}
    call = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
    (message,) = turns(
        {
            "role": "assistant",
            "content": "Hi",
            "tool_calls": [{**call, **google}, {**call, "id": "c2", **specific}],
            **google,
        }
    )
    assert message.parts == [
        Text("Hi", seal="G"),
        Call("c1", "f", "{}", seal="G"),
        Call("c2", "f", "{}", seal="G2"),
    ]


def test_images_that_an_assistant_drew_come_back() -> None:
    (message,) = turns(
        {
            "role": "assistant",
            "content": "",
            "images": [{"type": "image_url", "image_url": {"url": "https://x"}}],
        }
    )
    assert message.parts == [Image(url="https://x")]


def test_a_video_is_a_document_of_its_type() -> None:
    (message,) = turns(
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://x/a"}}]}
    )
    assert message.parts == [Document("video/mp4", url="https://x/a")]


def test_simple_parameters_are_carried() -> None:
    request = read(
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
        max_tokens=100.0,
        temperature=0.5,
        top_p=1,
        top_k=40,
        stop="END",
        presence_penalty=0.1,
        frequency_penalty=-0.1,
        seed=7,
        n=2,
        logprobs=True,
        top_logprobs=3,
        logit_bias={"5": 1},
        verbosity="low",
        user="u",
        safety_identifier="s",
        service_tier="flex",
        prompt_cache_key="k",
        metadata={"a": "b"},
        parallel_tool_calls=False,
        cache_control={"type": "ephemeral"},
    )
    assert request == Request(
        messages=[Message("user", [Text("Hi")])],
        stream=True,
        include_usage=True,
        max_tokens=100,
        temperature=0.5,
        top_p=1,
        top_k=40,
        stop=["END"],
        presence_penalty=0.1,
        frequency_penalty=-0.1,
        seed=7,
        n=2,
        logprobs=True,
        top_logprobs=3,
        logit_bias={"5": 1},
        verbosity="low",
        user="s",
        tier="flex",
        cache_key="k",
        metadata={"a": "b"},
        parallel=False,
        cache=Cache(),
    )


def test_what_says_nothing_is_nothing() -> None:
    plain = read()
    assert (
        read(n=1, logprobs=False, store=False, modalities=["text"], stop=[], metadata={}, seed=None) == plain
    )
    assert read(max_tokens=5, max_completion_tokens=None).max_tokens == 5
    assert read(max_tokens=5, max_completion_tokens=6).max_tokens == 6


def test_what_only_one_provider_knows_is_dropped_by_name() -> None:
    request = read(
        messages=[USER, {"role": "assistant", "audio": {"id": "a"}}],
        store=True,
        prediction={"type": "content", "content": "x"},
        prompt_cache_retention="24h",
        modalities=["text", "image"],
        provider={"order": ["x"]},
        min_p=0.1,
    )
    assert request.dropped == [
        "messages[1].audio",
        "store",
        "prediction",
        "prompt_cache_retention",
        "modalities",
        "provider",
        "min_p",
    ]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "sound": ({"modalities": ["text", "audio"]}, "modalities"),
    "web search": ({"web_search_options": {}}, "web_search_options"),
    "a hosted tool": ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    "a tool without a name": ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    "an unknown effort": ({"reasoning_effort": "enormous"}, "reasoning_effort"),
    "a schema that is none": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "response_format.json_schema.schema",
    ),
    "a grammar": ({"response_format": {"type": "grammar"}}, "response_format.type"),
    "a choice of nothing": ({"tool_choice": {"type": "function"}}, "tool_choice"),
    "an unknown choice": ({"tool_choice": "perhaps"}, "tool_choice"),
    "a result of no call": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    "a result with sound": (
        {
            "messages": [
                {
                    "role": "tool",
                    "tool_call_id": "c",
                    "content": [{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}],
                }
            ]
        },
        "messages[0].content[0]",
    ),
    "a call of no tool": (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}]},
        "messages[0].tool_calls[0].function.name",
    ),
    "text that is none": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
        "messages[0].content[0].text",
    ),
}


@pytest.mark.parametrize(("body", "param"), REFUSED.values(), ids=REFUSED)
def test_what_nobody_could_serve_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    assert refusal(**body).param == param


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"reasoning_effort": "high"}, Reasoning(effort="high")),
        ({"reasoning_effort": "none"}, Reasoning(enabled=False, effort="none")),
        ({"reasoning_effort": "default"}, None),
        ({"reasoning": {"effort": "low", "exclude": True}}, Reasoning(effort="low", show=False)),
        ({"reasoning": {"max_tokens": 2000}}, Reasoning(budget=2000)),
        ({"reasoning": {"enabled": True}}, Reasoning(enabled=True)),
        ({"reasoning": {}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, Reasoning(enabled=True, budget=1024)),
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False)),
        ({"include_reasoning": True}, Reasoning(show=True)),
        ({"reasoning_format": "hidden"}, Reasoning(show=False)),
    ],
)
def test_reasoning_is_asked_for_in_every_spelling(body: dict[str, Any], expected: Reasoning | None) -> None:
    assert read(**body).reasoning == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("auto", Choice("auto")),
        ("none", Choice("none")),
        ("required", Choice("required")),
        ("any", Choice("required")),
        ({"type": "function", "function": {"name": "f"}}, Choice("required", ("f",))),
        ({"type": "custom", "custom": {"name": "g"}}, Choice("required", ("g",))),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "custom", "custom": {"name": "g"}},
                    ],
                },
            },
            Choice("auto", ("f", "g")),
        ),
    ],
)
def test_the_choice_of_tools_is_read(value: object, expected: Choice) -> None:
    assert read(tool_choice=value).choice == expected


def test_tools_are_read_with_their_marks() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    custom = {"name": "g", "format": {"type": "grammar", "grammar": {}}}
    tools = [
        {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}},
        {"type": "custom", "custom": custom},
        {"type": "function", "function": {"name": "h"}},
    ]
    assert read(tools=tools).tools == [
        Tool("f", "d", {"type": "object"}, strict=True, cache=Cache()),
        Tool("g", custom=True, format={"type": "grammar", "grammar": {}}),
        Tool("h"),
    ]


def test_formats_are_read() -> None:
    assert read(response_format={"type": "text"}).format is None
    assert read(response_format={"type": "json_object"}).format == Format("json")
    schema = {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": True}
    assert read(response_format={"type": "json_schema", "json_schema": schema}).format == Format(
        "schema", {"type": "object"}, "n", "d", strict=True
    )
