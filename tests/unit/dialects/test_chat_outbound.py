"""Canonical requests written for providers that speak the chat dialect."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import (
    Audio,
    Cache,
    Call,
    Document,
    Foreign,
    Image,
    Part,
    Refusal,
    Result,
    Text,
    Thinking,
)
from keyrail.dialects.canonical.request import Choice, Format, Message, Reasoning, Request, Tool, Written
from keyrail.dialects.openai_chat import models
from keyrail.dialects.openai_chat.wire import prepare, write_request

ROUTER = Quirks(takes=("cache_control", "reasoning_details"), thoughts="reasoning")
GOOGLE = Quirks(takes=("extra_content",))
PLAIN = Quirks()
USER = Message("user", [Text("Hi")])


def write(request: Request, quirks: Quirks = PLAIN, model: str = "some-model") -> Written:
    written = write_request(request, model=model, quirks=quirks)
    assert isinstance(written, Written), written
    return written


def said(*messages: Message, quirks: Quirks = PLAIN) -> list[dict[str, Any]]:
    return write(Request(messages=list(messages)), quirks).body["messages"]


def spoken(*parts: Part, quirks: Quirks = PLAIN) -> dict[str, Any]:
    (message,) = said(Message("assistant", list(parts)), quirks=quirks)
    return message


def with_params(quirks: Quirks = PLAIN, model: str = "some-model", **fields: Any) -> Written:
    return write(Request(messages=[USER], **fields), quirks, model)


def test_plain_texts_are_strings_wherever_they_stand() -> None:
    assert said(
        Message("system", [Text("a")]),
        Message("user", [Text("b")], "Ann"),
        Message("assistant", [Text("c")], "Bot"),
        Message("system", [Text("d"), Text("e")]),
    ) == [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "b", "name": "Ann"},
        {"role": "assistant", "content": "c", "name": "Bot"},
        {"role": "system", "content": [{"type": "text", "text": "d"}, {"type": "text", "text": "e"}]},
    ]


def test_each_result_is_a_message_of_its_own_before_what_the_user_says() -> None:
    results: list[Part] = [
        Text("And now?"),
        Result("c1", [Text("one")], "f"),
        Result("c2", [Text("two"), Text("three")]),
        Result("c3", []),
    ]
    assert said(Message("user", results)) == [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {
            "role": "tool",
            "tool_call_id": "c2",
            "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}],
        },
        {"role": "tool", "tool_call_id": "c3", "content": ""},
        {"role": "user", "content": "And now?"},
    ]
    (first, second, *_) = said(Message("user", results), quirks=Quirks(text_results=True))
    assert (first["content"], second["content"]) == ("one", "two\nthree")


def test_images_of_results_follow_all_of_them_under_the_names_of_their_calls() -> None:
    image = Image("image/png", "aGk=")
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert said(
        Message(
            "user",
            [Result("c1", [image], "look"), Result("c2", [Text("t"), image]), Text("What is it?")],
            "Ann",
        )
    ) == [
        {"role": "tool", "tool_call_id": "c1", "content": "The result is in the next message."},
        {"role": "tool", "tool_call_id": "c2", "content": "t"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "The result of the tool call look:"},
                shown,
                {"type": "text", "text": "The result of the tool call c2:"},
                shown,
                {"type": "text", "text": "What is it?"},
            ],
            "name": "Ann",
        },
    ]


def test_a_failed_result_says_so() -> None:
    results: list[Part] = [
        Result("c1", [Text("no such file")], failed=True),
        Result("c2", [Text("error: no")], failed=True),
        Result("c3", [], failed=True),
    ]
    contents = [message["content"] for message in said(Message("user", results))]
    assert contents == ["Error: no such file", "error: no", "Error: "]


def test_calls_are_written_beside_the_words_and_without_words_beside_null() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{not json"}},
        {"id": "c3", "type": "custom", "custom": {"name": "g", "input": "free"}},
    ]
    made: list[Part] = [Call("c1", "f"), Call("c2", "f", "{not json"), Call("c3", "g", "free", custom=True)]
    assert spoken(*made) == {"role": "assistant", "content": None, "tool_calls": calls}
    assert spoken(Text("Wait."), *made)["content"] == "Wait."
    assert spoken() == {"role": "assistant", "content": ""}


def test_texts_that_touch_are_one_and_others_are_paragraphs() -> None:
    assert spoken(Text("a"), Text("b"))["content"] == "ab"
    assert spoken(Text("a"), Call("c", "f"), Text("b"))["content"] == "a\n\nb"
    assert spoken(Text("a"), Text(""), Refusal("No."))["content"] == "aNo."


def test_assistant_turns_in_a_row_become_one_where_no_border_of_texts_is_lost() -> None:
    answers: list[Message] = [
        Message("assistant", [Thinking("Hm.")]),
        Message("assistant", [Text("Wait.")]),
        Message("assistant", [Call("c1", "f")]),
        Message("assistant", [Call("c2", "f")]),
        Message("user", [Result("c1", [Text("1")]), Result("c2", [Text("2")])]),
        Message("assistant", [Text("a")]),
        Message("assistant", [Text("b")]),
    ]
    found = said(*answers)
    assert [message["role"] for message in found] == ["assistant", "tool", "tool", "assistant", "assistant"]
    assert found[0]["content"] == "Wait."
    assert [call["id"] for call in found[0]["tool_calls"]] == ["c1", "c2"]
    assert answers[1].parts == [Text("Wait.")]  # what was given is as it was


def test_thoughts_go_back_only_in_the_field_that_the_provider_takes_them_in() -> None:
    thought = Message("assistant", [Thinking("Hm."), Text("Hi")])
    assert write(Request(messages=[thought])).dropped == ("thinking",)
    assert said(thought) == [{"role": "assistant", "content": "Hi"}]
    (message,) = said(thought, quirks=Quirks(thoughts="reasoning_content"))
    assert message == {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}


def test_thinking_of_another_maker_is_never_shown_as_text() -> None:
    sealed = Message("assistant", [Thinking("Hm.", "S", "anthropic"), Text("Hi")])
    for quirks in (PLAIN, Quirks(thoughts="reasoning")):
        written = write(Request(messages=[sealed]), quirks)
        assert written.body["messages"] == [{"role": "assistant", "content": "Hi"}]
        assert written.dropped == ("thinking",)


def test_openrouter_gets_every_thought_back_as_an_entry() -> None:
    entry = {"type": "reasoning.encrypted", "data": "E", "format": "x", "index": 4}
    message = spoken(
        Thinking("Hm.", "S", "anthropic"),
        Thinking(seal="R", seal_kind="anthropic-redacted", redacted=True),
        Thinking("Short.", '{"type":"reasoning.encrypted","data":"E","format":"x","index":4}', "openrouter"),
        Thinking(seal="G", seal_kind="gemini", raw={"type": "reasoning.text", "signature": "G", "index": 0}),
        quirks=ROUTER,
    )
    assert message["reasoning_details"] == [
        {
            "type": "reasoning.text",
            "signature": "S",
            "format": "anthropic-claude-v1",
            "index": 0,
            "text": "Hm.",
        },
        {"type": "reasoning.encrypted", "data": "R", "format": "anthropic-claude-v1", "index": 1},
        {"type": "reasoning.summary", "summary": "Short.", "format": "x", "index": 4},
        entry,
        {"type": "reasoning.text", "signature": "G", "index": 0},
    ]
    assert message["reasoning"] == "Hm.Short."


def test_signatures_of_gemini_go_to_who_takes_them() -> None:
    parts: list[Part] = [Text("Hi", seal="T"), Call("c", "f", seal="G")]
    message = spoken(*parts, quirks=GOOGLE)
    assert message["extra_content"] == {"google": {"thought_signature": "T"}}
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "G"}}
    assert "extra_content" not in str(spoken(*parts))


def test_cache_marks_go_to_who_takes_them_and_are_named_once_otherwise() -> None:
    cache = Cache("1h")
    request = Request(
        messages=[
            Message("system", [Text("a", cache)]),
            Message("user", [Image(url="https://x", cache=cache), Result("c", [Text("r")], cache=cache)]),
            Message("assistant", [Text("b", cache), Text("c"), Call("c", "f", cache=cache)]),
        ],
        tools=[Tool("f", cache=cache)],
        cache=Cache(),
    )
    mark = {"type": "ephemeral", "ttl": "1h"}
    written = write(request, ROUTER)
    body = written.body
    assert written.dropped == ()
    assert body["messages"][0]["content"] == [{"type": "text", "text": "a", "cache_control": mark}]
    assert body["messages"][1]["content"] == [{"type": "text", "text": "r", "cache_control": mark}]
    assert body["messages"][2]["content"][0]["cache_control"] == mark
    assert body["messages"][3]["content"] == [
        {"type": "text", "text": "b", "cache_control": mark},
        {"type": "text", "text": "c"},
    ]
    assert body["messages"][3]["tool_calls"][0]["cache_control"] == mark
    assert body["tools"][0]["cache_control"] == mark
    assert body["cache_control"] == {"type": "ephemeral"}
    plain = write(request)
    assert plain.dropped == ("cache_control",)
    assert "cache_control" not in str(plain.body)


def test_the_limit_has_the_name_that_the_provider_has_for_it() -> None:
    assert with_params(max_tokens=5).body["max_completion_tokens"] == 5
    renamed = with_params(Quirks(rename={"max_completion_tokens": "max_tokens"}), max_tokens=5).body
    assert renamed["max_tokens"] == 5
    assert "max_completion_tokens" not in renamed


def test_parameters_are_written_and_the_rest_is_named() -> None:
    written = with_params(
        stream=True,
        stop=["a"],
        n=2,
        seed=1,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logit_bias={"1": 2},
        logprobs=True,
        top_logprobs=4,
        verbosity="low",
        user="u",
        cache_key="k",
        tier="standard_only",
        metadata={"a": "b"},
    )
    assert written.dropped == ("top_k", "metadata")
    assert written.body == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stop": ["a"],
        "n": 2,
        "seed": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logit_bias": {"1": 2},
        "logprobs": True,
        "top_logprobs": 4,
        "verbosity": "low",
        "user": "u",
        "service_tier": "default",
        "prompt_cache_key": "k",
        "stream_options": {"include_usage": True},
    }
    assert with_params(tier="ludicrous").dropped == ("service_tier",)


def test_an_end_user_with_a_long_name_stays_the_same_one() -> None:
    first, again, other = (with_params(user=user).body["user"] for user in ("a" * 65, "a" * 65, "b" * 65))
    assert first == again != other
    assert len(first) == 64


def test_tools_and_choices_are_written() -> None:
    tools = [
        Tool("f", "d", {"type": "object"}, strict=True),
        Tool("g", custom=True, format={"type": "text"}),
        Tool("h"),
    ]
    body = with_params(tools=tools, choice=Choice("auto"), parallel=False).body
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
        },
        {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}},
        {"type": "function", "function": {"name": "h", "parameters": {"type": "object", "properties": {}}}},
    ]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("auto", False)
    named = with_params(tools=tools, choice=Choice("required", ("f",))).body["tool_choice"]
    assert named == {"type": "function", "function": {"name": "f"}}
    custom = with_params(tools=tools, choice=Choice("required", ("g",))).body["tool_choice"]
    assert custom == {"type": "custom", "custom": {"name": "g"}}
    few = with_params(tools=tools, choice=Choice("required", ("f", "h"))).body
    assert few["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in few["tools"]] == ["f", "h"]
    none = with_params(choice=Choice("none"), parallel=True).body
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(none)


def test_formats_are_written() -> None:
    assert with_params(format=Format("json")).body["response_format"] == {"type": "json_object"}
    schema = with_params(format=Format("schema", {"type": "object"}, strict=True)).body["response_format"]
    assert schema == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
    }


@pytest.mark.parametrize(
    ("asked", "model", "expected"),
    [
        (Reasoning(effort="high"), "o3", "high"),
        (Reasoning(effort="max"), "gpt-5.6-sol", "xhigh"),
        (Reasoning(effort="minimal"), "gpt-5.6-sol", "low"),
        (Reasoning(effort="minimal"), "gpt-5-mini", "minimal"),
        (Reasoning(effort="low"), "gpt-5-pro", "high"),
        (Reasoning(enabled=False), "gpt-5.4", "none"),
        (Reasoning(enabled=False), "openai/gpt-5", "minimal"),
        (Reasoning(enabled=False), "openai/gpt-oss-120b", "low"),
        (Reasoning(enabled=False), "gpt-4o", None),
        (Reasoning(enabled=True), "o4-mini", "medium"),
        (Reasoning(enabled=True, budget=1024), "gpt-5.4", "low"),
        (Reasoning(budget=10_000), "some-model", "medium"),
        (Reasoning(budget=20_000), "some-model", "high"),
        (Reasoning(budget=32_000), "some-model", "xhigh"),
        (Reasoning(), "o3", None),
        (None, "o3", None),
    ],
)
def test_reasoning_is_asked_for_in_what_the_model_takes(
    asked: Reasoning | None, model: str, expected: str | None
) -> None:
    written = with_params(model=model, reasoning=asked)
    assert written.body.get("reasoning_effort") == expected
    assert written.dropped == ()


def test_a_model_that_can_not_think_is_not_asked_to() -> None:
    """Claude Code asks every model to think; gpt-4o answers that with a 400."""
    written = with_params(model="gpt-4o-mini", reasoning=Reasoning(enabled=True, budget=1024))
    assert written.dropped == ("reasoning_effort",)
    assert "reasoning_effort" not in written.body


def test_openrouter_is_asked_in_its_own_words() -> None:
    def asked(reasoning: Reasoning) -> object:
        return with_params(ROUTER, reasoning=reasoning).body.get("reasoning")

    assert asked(Reasoning(enabled=True, budget=1024, show=False)) == {"max_tokens": 1024, "exclude": True}
    assert asked(Reasoning(effort="max")) == {"effort": "xhigh"}
    assert asked(Reasoning(enabled=False, effort="none")) == {"enabled": False}
    assert asked(Reasoning(enabled=True, show=True)) == {"enabled": True, "exclude": False}
    assert asked(Reasoning()) is None


@pytest.mark.parametrize(
    ("model", "reasoning", "refuses"),
    [
        ("o3-mini", None, True),
        ("gpt-5", None, True),
        ("gpt-5.4", None, False),
        ("gpt-5.4", Reasoning(effort="low"), True),
        ("gpt-5.6-sol", None, True),
        ("gpt-5.6-sol", Reasoning(enabled=False), False),
        ("gpt-4.1", None, False),
        ("gpt-5-chat-latest", None, False),
        ("openai/gpt-oss-20b", Reasoning(effort="high"), False),
        ("llama-3", None, False),
    ],
)
def test_a_model_that_thinks_is_not_sent_sampling_that_it_refuses(
    model: str, reasoning: Reasoning | None, refuses: bool
) -> None:
    written = with_params(model=model, reasoning=reasoning, temperature=0.2, top_p=1, logprobs=True)
    assert written.dropped == (("temperature", "logprobs") if refuses else ())
    assert ("temperature" in written.body) != refuses
    assert ("top_p" in written.body) != refuses


def test_every_effort_has_a_nearest_one_in_each_model() -> None:
    for model in ("o1", "gpt-5-pro", "gpt-5.1", "gpt-5.2-chat", "gpt-6-astra", "gpt-6-luna"):
        known = models.known(model)
        assert known is not None
        assert all(models.nearest(effort, known.efforts) == effort for effort in known.efforts)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (Message("user", [Document(url="https://x/a.pdf")]), "document"),
        (Message("user", [Document(file_id="file_011")]), "file_id"),
        (Message("user", [Foreign("search_result")]), "search_result"),
        (Message("system", [Image(url="https://x")]), "system"),
        (Message("user", [Result("c", [Document(url="https://x/a.pdf")])]), "document"),
    ],
)
def test_what_can_not_be_written_is_refused(message: Message, param: str) -> None:
    failure = write_request(Request(messages=[message]), model="m", quirks=PLAIN)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status, failure.param) == ("bad_request", 400, param)


def test_parts_of_an_assistant_that_only_its_own_dialect_has_are_named() -> None:
    written = write(
        Request(messages=[Message("assistant", [Foreign("server_tool_use"), Image(url="x"), Text("a")])])
    )
    assert written.dropped == ("server_tool_use", "image")
    assert written.body["messages"] == [{"role": "assistant", "content": "a"}]


def test_sound_and_documents_are_written_for_a_user() -> None:
    parts: list[Part] = [Audio("aGk=", "wav"), Document(text="t", citations=True), Refusal("No.")]
    written = write(Request(messages=[Message("user", parts)]))
    assert written.dropped == ("citations",)
    assert written.body["messages"][0]["content"] == [
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "text", "text": "t"},
        {"type": "text", "text": "No."},
    ]


def test_what_a_provider_refuses_is_dropped_by_name() -> None:
    written = with_params(Quirks(drop=("seed",)), seed=5)
    assert written.dropped == ("seed",)
    assert "seed" not in written.body


def test_a_body_that_is_no_object_is_not_prepared() -> None:
    with pytest.raises(ValueError, match="not an object"):
        prepare(b"[]", model="m", quirks=PLAIN)
