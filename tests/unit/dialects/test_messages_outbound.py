"""Canonical requests as bodies for Anthropic."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.dialects.anthropic_messages import wire
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import (
    Audio,
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
from keyrail.dialects.canonical.request import Choice, Format, Message, Request, Tool, Written

MODEL = "claude-sonnet-4-5"
MODERN = "claude-opus-5"
PNG = "iVBORw0KGgo="


def user(*parts: Any) -> Message:
    return Message("user", [Text(part) if isinstance(part, str) else part for part in parts])


def assistant(*parts: Any) -> Message:
    return Message("assistant", [Text(part) if isinstance(part, str) else part for part in parts])


def system(*parts: Any) -> Message:
    return Message("system", [Text(part) if isinstance(part, str) else part for part in parts])


def write(*messages: Message, model: str = MODEL, **fields: Any) -> Written:
    request = Request(messages=list(messages) or [user("hi")], **fields)
    written = wire.write_request(request, model=model, quirks=Quirks())
    assert isinstance(written, Written), written
    return written


def refuse(*messages: Message, model: str = MODEL, **fields: Any) -> Failure:
    request = Request(messages=list(messages) or [user("hi")], **fields)
    failure = wire.write_request(request, model=model, quirks=Quirks())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status) == ("bad_request", 400)
    return failure


def test_a_plain_request_is_written_in_the_short_form() -> None:
    written = write(system("Be brief."), user("hi"), max_tokens=9, stream=True)
    assert written == Written(
        {
            "model": MODEL,
            "max_tokens": 9,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
        }
    )


def test_leading_instructions_go_to_the_top_together() -> None:
    body = write(system("a"), system(Text("b", cache=Cache("1h"))), user("hi")).body
    assert body["system"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]


def test_instructions_in_mid_conversation_keep_their_place_where_the_model_takes_them() -> None:
    body = write(user("a"), system("From now on: French."), assistant("b"), user("c"), model=MODERN).body
    assert [message["role"] for message in body["messages"]] == ["user", "system", "assistant", "user"]


@pytest.mark.parametrize("model", [MODEL, "claude-sonnet-5"])
def test_other_models_read_them_as_marked_text(model: str) -> None:
    body = write(user("a"), system("French."), assistant("b"), user("c"), model=model).body
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "<system>\nFrench.\n</system>"},
    ]


def test_instructions_between_two_turns_of_the_user_are_marked_text_everywhere() -> None:
    body = write(user("a"), system("French."), user("b"), model=MODERN).body
    assert len(body["messages"]) == 1
    assert body["messages"][0]["content"][1]["text"] == "<system>\nFrench.\n</system>"


def test_neighbours_of_one_role_are_one_turn() -> None:
    body = write(user("a"), user("b"), assistant("c"), assistant("d"), user("e")).body
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block["text"] for block in body["messages"][0]["content"]] == ["a", "b"]


def test_empty_texts_and_turns_go_missing_and_their_breakpoint_moves_up() -> None:
    body = write(
        user("a", Text("", cache=Cache())), assistant("  \n"), user("b"), assistant(Text("")), user("c")
    ).body
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "b"},
                {"type": "text", "text": "c"},
            ],
        }
    ]


def test_nothing_to_answer_is_refused_here() -> None:
    assert refuse(user("")).param == "messages"
    assert refuse(system("only this")).param == "messages"


def test_results_come_first_and_all_in_one_turn() -> None:
    body = write(
        user("weather?"),
        assistant(Call("a", "w", '{"q":1}'), Call("b", "w", '{"q":2}')),
        user(Result("a", [Text("rain")])),
        user("by the way", Result("b", [Text("sun")], failed=True)),
    ).body
    assert body["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "rain"},
            {"type": "tool_result", "tool_use_id": "b", "content": "sun", "is_error": True},
            {"type": "text", "text": "by the way"},
        ],
    }


def test_a_result_with_an_image_keeps_it_and_an_empty_one_has_no_content() -> None:
    body = write(
        assistant(Call("a", "w"), Call("b", "w")),
        user(Result("a", [Text("see"), Image("image/png", PNG)]), Result("b", [Text("")])),
    ).body
    first, second = body["messages"][1]["content"]
    assert [block["type"] for block in first["content"]] == ["text", "image"]
    assert "content" not in second


def test_ids_that_anthropic_refuses_are_replaced_alike_in_call_and_result() -> None:
    body = write(assistant(Call("call|x.1", "w")), user(Result("call|x.1", [Text("r")]))).body
    call, result = body["messages"][0]["content"][0], body["messages"][1]["content"][0]
    assert call["id"] == result["tool_use_id"]
    assert call["id"].startswith("call_")


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('{"b":1,"a":{"z":[1,2.5]}}', {"b": 1, "a": {"z": [1, 2.5]}}),
        ('{"n":12345678901234567890123}', {"n": 12345678901234567890123}),
        ("", {}),
        ("  ", {}),
        ('{"half":', {"raw_arguments": '{"half":'}),
        ("[1]", {"raw_arguments": "[1]"}),
    ],
)
def test_arguments_become_an_object_and_are_never_lost(arguments: str, value: dict[str, Any]) -> None:
    body = write(assistant(Call("a", "w", arguments)), user(Result("a", []))).body
    assert body["messages"][0]["content"][0]["input"] == value
    assert list(body["messages"][0]["content"][0]["input"]) == list(value)


def test_free_text_for_a_custom_tool_of_the_history_is_its_input() -> None:
    body = write(assistant(Call("a", "sql", "SELECT 1", custom=True)), user(Result("a", []))).body
    assert body["messages"][0]["content"][0]["input"] == {"input": "SELECT 1"}


def test_breakpoints_are_kept_on_every_kind_of_part() -> None:
    cache = Cache("5m")
    body = write(
        system(Text("s", cache=cache)),
        user(Image("image/png", PNG, cache=cache), Document(text="d", cache=cache)),
        assistant(Call("a", "w", cache=cache)),
        user(Result("a", [Text("r", cache=cache)], cache=cache)),
        tools=[Tool("w", cache=cache)],
        cache=Cache(),
    ).body
    control = {"type": "ephemeral", "ttl": "5m"}
    result = body["messages"][2]["content"][0]
    blocks = [
        body["system"][0],
        *body["messages"][0]["content"],
        *body["messages"][1]["content"],
        result,
        result["content"][0],
        body["tools"][0],
    ]
    assert [block["cache_control"] for block in blocks] == [control] * 7
    assert body["cache_control"] == {"type": "ephemeral"}


def test_thoughts_of_anthropic_go_back_unchanged_and_in_their_place() -> None:
    body = write(
        user("q"),
        assistant(
            Thinking("hm", "sig", "anthropic", cache=Cache()),
            Call("a", "w", "{}"),
            Thinking("", "data", "anthropic-redacted", redacted=True),
            Text("so"),
        ),
        user(Result("a", [Text("r")])),
    ).body
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "tool_use", "id": "a", "name": "w", "input": {}},
        {"type": "redacted_thinking", "data": "data"},
        {"type": "text", "text": "so"},
    ]


@pytest.mark.parametrize("kind", ["openai", "gemini", "openrouter", None])
def test_thoughts_of_others_are_never_sent_and_never_text(kind: Any) -> None:
    body = write(user("q"), assistant(Thinking("secret", "seal", kind), Text("a")), user("r")).body
    assert body["messages"][1] == {"role": "assistant", "content": "a"}


def test_a_refusal_of_the_history_is_text() -> None:
    body = write(user("q"), assistant(Refusal("I can't.")), user("r")).body
    assert body["messages"][1]["content"] == "I can't."


def test_images_go_by_data_or_url_and_a_detail_is_named() -> None:
    written = write(user(Image("image/jpg", "/9j/", detail="high"), Image(url="https://x/y.png")))
    first, second = written.body["messages"][0]["content"]
    assert first["source"] == {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}
    assert second["source"] == {"type": "url", "url": "https://x/y.png"}
    assert written.dropped == ("messages[0].content[0].detail",)


def test_documents_go_in_each_form_but_not_from_another_store() -> None:
    body = write(
        user(
            Document("application/pdf", data="JVBE", name="a.pdf", citations=True),
            Document(url="https://x/b.pdf"),
            Document(text="plain"),
            Document("text/csv", data="YSxi"),
        )
    ).body
    sources = [block["source"] for block in body["messages"][0]["content"]]
    assert sources == [
        {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
        {"type": "url", "url": "https://x/b.pdf"},
        {"type": "text", "media_type": "text/plain", "data": "plain"},
        {"type": "text", "media_type": "text/plain", "data": "a,b"},
    ]
    assert body["messages"][0]["content"][0]["title"] == "a.pdf"
    assert body["messages"][0]["content"][0]["citations"] == {"enabled": True}
    assert "stored" in refuse(user(Document(file_id="file-1"))).message


@pytest.mark.parametrize(
    "part",
    [Audio("AAAA", "wav"), Image("image/tiff", "AAAA"), Document("video/mp4", data="AA"), Foreign("video")],
)
def test_parts_that_no_model_takes_are_refused_by_their_place(part: Any) -> None:
    assert refuse(user("look", part)).param == "messages[0].content[1]"


def test_tools_have_a_schema_of_an_object_always() -> None:
    body = write(
        tools=[
            Tool("now"),
            Tool("f", "does", {"properties": {"x": {}}}),
            Tool("g", schema={"type": "object", "required": ["y"]}),
        ]
    ).body
    assert body["tools"] == [
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
        {
            "name": "f",
            "description": "does",
            "input_schema": {"properties": {"x": {}}, "type": "object"},
        },
        {"name": "g", "input_schema": {"type": "object", "required": ["y"]}},
    ]


def test_a_strict_tool_is_closed_where_the_model_can_and_named_where_not() -> None:
    schema = {"type": "object", "properties": {"default": {"type": "object"}}, "default": {"type": "object"}}
    tool = write(tools=[Tool("f", schema=schema, strict=True)]).body["tools"][0]
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False
    assert tool["input_schema"]["properties"]["default"]["additionalProperties"] is False
    assert tool["input_schema"]["default"] == {"type": "object"}
    assert "additionalProperties" not in schema
    old = write(tools=[Tool("f", strict=True)], model="claude-sonnet-4-0")
    assert "strict" not in old.body["tools"][0]
    assert old.dropped == ("tools[0].strict",)


def test_a_tool_that_takes_free_text_is_refused() -> None:
    assert refuse(tools=[Tool("a"), Tool("sql", custom=True)]).param == "tools[1]"


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (Choice("auto"), None, {"type": "auto"}),
        (Choice("none"), False, {"type": "none"}),
        (Choice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (Choice("required", ("f",)), None, {"type": "tool", "name": "f"}),
        (Choice("required", ("f", "g")), None, {"type": "any"}),
        (Choice("auto", ("g",)), None, {"type": "auto"}),
    ],
)
def test_each_choice_has_its_form(choice: Any, parallel: Any, expected: Any) -> None:
    tools = [Tool("f"), Tool("g"), Tool("h")]
    body = write(tools=tools, choice=choice, parallel=parallel).body
    assert body.get("tool_choice") == expected
    offered = [tool["name"] for tool in body["tools"]]
    selected = choice.names if choice and (len(choice.names) > 1 or choice.mode == "auto") else ()
    assert offered == list(selected or ("f", "g", "h"))


def test_a_choice_without_tools_is_left_out() -> None:
    assert write(choice=Choice("auto")) == write()
    assert write(choice=Choice("required")).dropped == ("tool_choice",)


def test_a_forced_call_is_refused_for_models_that_refuse_it() -> None:
    for model in ("claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-2"):
        assert refuse(tools=[Tool("f")], choice=Choice("required"), model=model).param == "tool_choice"
    assert write(tools=[Tool("f")], choice=Choice("required"), model="claude-fable-5").dropped == ()


def test_a_prefill_goes_where_the_model_takes_one() -> None:
    body = write(user("q"), assistant("The answer is ")).body
    assert body["messages"][1] == {"role": "assistant", "content": "The answer is"}
    assert refuse(user("q"), assistant("The"), model="claude-sonnet-4-6").param == "messages"


def test_a_schema_is_structured_output_closed_on_every_level() -> None:
    schema = {
        "type": "object",
        "properties": {"list": {"type": "array", "items": {"type": "object"}}},
        "$defs": {"type": {"type": ["object", "null"], "additionalProperties": True}},
    }
    body = write(format=Format("schema", schema, name="n", description="what", strict=True)).body
    assert body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {
                "list": {"type": "array", "items": {"type": "object", "additionalProperties": False}}
            },
            "$defs": {"type": {"type": ["object", "null"], "additionalProperties": True}},
            "description": "what",
            "additionalProperties": False,
        },
    }


def test_old_models_give_the_schema_as_the_arguments_of_a_tool() -> None:
    form = Format("schema", {"type": "object", "properties": {"x": {}}})
    body = write(format=form, model="claude-sonnet-4-0").body
    assert body["tools"][0]["name"] == "keyrail_json_answer"
    assert body["tool_choice"] == {"type": "tool", "name": "keyrail_json_answer"}
    both = write(format=form, tools=[Tool("f")], model="claude-sonnet-4-0").body
    assert [tool["name"] for tool in both["tools"]] == ["f", "keyrail_json_answer"]
    assert both["tool_choice"] == {"type": "any"}
    none = write(format=form, tools=[Tool("f")], choice=Choice("none"), model="claude-sonnet-4-0").body
    assert none["tool_choice"] == {"type": "tool", "name": "keyrail_json_answer"}


def test_any_json_is_asked_for_in_words() -> None:
    body = write(system("s"), user("q"), format=Format("json")).body
    assert body["system"][0]["text"] == "s"
    assert "JSON object" in body["system"][1]["text"]


def test_sampling_parameters_are_clamped_or_left_out_by_model() -> None:
    written = write(temperature=1.5, top_k=5, model="claude-3-5-haiku-20241022")
    assert (written.body["temperature"], written.body["top_k"]) == (1, 5)
    assert written.dropped == ("temperature",)
    old = write(temperature=0.5, top_p=0.9, model="claude-3-5-haiku-20241022")
    assert (old.body["temperature"], old.body["top_p"]) == (0.5, 0.9)
    newer = write(temperature=0.5, top_p=0.9)
    assert "top_p" not in newer.body
    assert newer.dropped == ("top_p",)
    newest = write(temperature=0.5, top_p=0.9, top_k=3, model=MODERN)
    assert not {"temperature", "top_p", "top_k"} & newest.body.keys()
    assert newest.dropped == ("temperature", "top_p", "top_k")
    assert write(temperature=1.0, top_p=1.0, model=MODERN).dropped == ()


def test_max_tokens_has_a_default_for_each_model_and_stays_below_its_limit() -> None:
    defaults = {
        "claude-3-opus-latest": 4_096,
        "claude-3-5-sonnet-20241022": 8_192,
        "claude-opus-4-1-20250805": 8_192,
        "claude-haiku-4-5": 64_000,
        "claude-sonnet-4-6": 128_000,
        "claude-haiku-5-5": 128_000,
        "claude-something-9": 128_000,
        "deepseek-ai/DeepSeek-V4": 8_192,
    }
    assert {model: write(model=model).body["max_tokens"] for model in defaults} == defaults
    over = write(max_tokens=200_000)
    assert (over.body["max_tokens"], over.dropped) == (64_000, ("max_tokens",))


def test_what_anthropic_has_no_parameter_for_is_named() -> None:
    written = write(
        presence_penalty=1.0,
        frequency_penalty=0,
        seed=7,
        verbosity="low",
        cache_key="k",
        metadata={"a": "b"},
        user="u-1",
        tier="flex",
        stop=["END", "\n"],
        dropped=["store"],
    )
    assert written.dropped == (
        "store",
        "stop",
        "service_tier",
        "presence_penalty",
        "seed",
        "verbosity",
        "prompt_cache_key",
        "metadata",
    )
    assert written.body["metadata"] == {"user_id": "u-1"}
    assert written.body["stop_sequences"] == ["END"]


def test_a_tier_is_translated_and_not_copied() -> None:
    tiers = {tier: write(tier=tier).body.get("service_tier") for tier in ("auto", "default", "priority")}
    assert tiers == {"auto": "auto", "default": "standard_only", "priority": None}


@pytest.mark.parametrize(("field", "value"), [("n", 2), ("logprobs", True), ("logit_bias", {"50256": -100})])
def test_what_asks_for_another_answer_is_refused(field: str, value: Any) -> None:
    assert refuse(**{field: value}).param == field
    assert write(n=1, logprobs=False, logit_bias={}).dropped == ()


def test_quirks_of_a_provider_are_applied_and_named() -> None:
    request = Request(messages=[user("hi")], top_k=4, max_tokens=5)
    quirks = Quirks(drop=("top_k",), rename={"max_tokens": "max_output"})
    written = wire.write_request(request, model=MODEL, quirks=quirks)
    assert isinstance(written, Written)
    assert written.dropped == ("top_k",)
    assert written.body["max_output"] == 5


def test_the_request_that_is_written_is_not_changed() -> None:
    messages = [user("a"), user("b"), assistant(Call("x", "f")), user("t", Result("x", [Text("r")]))]
    request = Request(messages=messages, format=Format("schema", {"type": "object"}), tools=[Tool("f")])
    before = repr(request)
    for model in (MODEL, MODERN, "claude-sonnet-4-0"):
        wire.write_request(request, model=model, quirks=Quirks())
    assert repr(request) == before
