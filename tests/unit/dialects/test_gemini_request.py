from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import (
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
from keyrail.dialects.canonical.request import (
    Choice,
    Effort,
    Format,
    Message,
    Reasoning,
    Request,
    Role,
    Tool,
    Written,
)
from keyrail.dialects.gemini_generate import wire
from keyrail.dialects.gemini_generate.outbound import write_request
from keyrail.dialects.gemini_generate.turns import FILLER
from keyrail.dialects.protocols import Outbound

NEW, OLD = "gemini-3-flash-preview", "gemini-2.5-flash"


def said(role: Role, *parts: Part | str) -> Message:
    return Message(role, [Text(part) if isinstance(part, str) else part for part in parts])


def write(*messages: Message, model: str = NEW, quirks: Quirks | None = None, **more: Any) -> Written:
    written = write_request(
        Request(messages=list(messages) or [said("user", "Hi")], **more),
        model=model,
        quirks=quirks or Quirks(),
    )
    assert isinstance(written, Written)
    return written


def refusal(*messages: Message, model: str = NEW, **more: Any) -> Failure:
    failure = write_request(
        Request(messages=list(messages) or [said("user", "Hi")], **more), model=model, quirks=Quirks()
    )
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status) == ("bad_request", 400)
    return failure


def contents(*messages: Message, model: str = NEW) -> list[dict[str, Any]]:
    return write(*messages, model=model).body["contents"]


def test_the_wire_is_what_translation_needs() -> None:
    half: Outbound = wire
    assert callable(half.write_request)


def test_the_smallest_request_has_nothing_invented() -> None:
    assert write().body == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert write().dropped == ()


def test_equal_roles_are_joined() -> None:
    turns = contents(
        said("user", "a"),
        said("user", "b"),
        said("assistant", "c"),
        said("assistant", "d"),
        said("user", "e"),
    )
    assert [(turn["role"], [part["text"] for part in turn["parts"]]) for turn in turns] == [
        ("user", ["a", "b"]),
        ("model", ["c", "d"]),
        ("user", ["e"]),
    ]


def test_a_conversation_that_the_model_opens_gets_a_user_turn_in_front() -> None:
    turns = contents(said("assistant", "Hello"), said("user", "Hi"))
    assert [turn["role"] for turn in turns] == ["user", "model", "user"]


def test_instructions_alone_are_what_the_user_says() -> None:
    body = write(said("system", "Write a poem.")).body
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Write a poem."}]}]}


def test_nothing_to_answer_is_refused() -> None:
    assert refusal(said("user", "")).param == "messages"


def test_empty_texts_go_missing_and_a_refusal_is_what_the_model_said() -> None:
    turns = contents(said("user", "", "Hi"), said("assistant", Refusal("No.")), said("user", "Why?"))
    assert [turn["parts"] for turn in turns] == [[{"text": "Hi"}], [{"text": "No."}], [{"text": "Why?"}]]


def test_pictures_in_instructions_are_refused() -> None:
    assert refusal(said("system", Image(data="x")), said("user", "Hi")).param == "messages[0].content"


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        ("", {}),
        (" ", {}),
        ('{"a": 1}', {"a": 1}),
        ('{"n": 12345678901234567890}', {"n": 12345678901234567890}),
        ('{"a": ', {"arguments": '{"a": '}),
        ("[1]", {"arguments": "[1]"}),
        ("hello", {"arguments": "hello"}),
    ],
)
def test_arguments_become_an_object_and_broken_ones_stay_readable(arguments: str, args: Any) -> None:
    turns = contents(
        said("user", "Hi"), said("assistant", Call("c", "f", arguments)), said("user", Result("c", []))
    )
    assert turns[1]["parts"][0]["functionCall"] == {"id": "c", "name": "f", "args": args}


@pytest.mark.parametrize(
    ("result", "response"),
    [
        (Result("c", [Text("sunny")]), {"result": "sunny"}),
        (Result("c", []), {"result": ""}),
        (Result("c", [Text('{"a": [1]}')]), {"a": [1]}),
        (Result("c", [Text("[1]")]), {"result": "[1]"}),
        (Result("c", [Text("a"), Text("b")]), {"result": "a\nb"}),
        (Result("c", [Text("no such city")], failed=True), {"error": "no such city"}),
        (Result("c", [Text('{"code": 4}')], failed=True), {"error": {"code": 4}}),
        (Result("c", [Text('{"broken')]), {"result": '{"broken'}),
    ],
)
def test_a_tools_result_is_an_object(result: Result, response: Any) -> None:
    turns = contents(said("user", "Hi"), said("assistant", Call("c", "f")), said("user", result))
    assert turns[2]["parts"] == [{"functionResponse": {"id": "c", "name": "f", "response": response}}]


def test_the_name_of_a_results_tool_is_found_in_the_history() -> None:
    history = [said("user", "Hi"), said("assistant", Call("a", "first"), Call("b", "second"))]
    turns = contents(*history, said("user", Result("b", [])), said("user", Result("a", [], name="wrong")))
    names = [part["functionResponse"]["name"] for part in turns[2]["parts"]]
    assert names == ["second", "first"]
    lone = contents(said("user", "Hi"), said("user", Result("z", [], name="third")))
    assert lone[1]["parts"][0]["functionResponse"]["name"] == "third"
    failure = refusal(*history, said("user", Result("z", [])))
    assert failure.param == "messages[2].tool_call_id"


def test_results_stand_apart_from_the_users_words() -> None:
    turns = contents(
        said("user", "Hi"),
        said("assistant", Call("a", "f"), Call("b", "f")),
        said("user", "While you wait:", Result("a", [])),
        said("user", Result("b", [])),
    )
    assert [list(turn["parts"][0]) for turn in turns[2:]] == [
        ["functionResponse"],
        ["text"],
        ["functionResponse"],
    ]


def test_pictures_in_results_follow_where_the_model_takes_none_inside() -> None:
    history = [
        said("user", "Hi"),
        said("assistant", Call("c", "f")),
        said("user", Result("c", [Image(media_type="image/png", data="AA==")])),
    ]
    picture = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
    inside = contents(*history)[2]["parts"][0]["functionResponse"]
    assert (inside["parts"], inside["response"]) == ([picture], {"result": "attached"})
    apart = contents(*history, model=OLD)
    assert "parts" not in apart[2]["parts"][0]["functionResponse"]
    assert apart[3] == {"role": "user", "parts": [picture]}


def test_a_seal_goes_back_on_its_own_part() -> None:
    turns = contents(
        said("user", "Hi"),
        said(
            "assistant",
            Thinking("Hm.", seal="s0", seal_kind="gemini"),
            Text("Ah.", seal="s1"),
            Text("", seal="s2"),
            Call("a", "f", seal="s3"),
        ),
        said("user", Result("a", [])),
    )
    assert [part["thoughtSignature"] for part in turns[1]["parts"]] == ["s0", "s1", "s2", "s3"]
    assert turns[1]["parts"][2] == {"text": "", "thoughtSignature": "s2"}


def test_a_seal_that_travelled_apart_goes_on_the_part_after_it() -> None:
    alone = Thinking(seal="s", seal_kind="gemini", redacted=True)
    turns = contents(said("user", "Hi"), said("assistant", alone, Call("a", "f")), said("user", "?"))
    assert [part["thoughtSignature"] for part in turns[1]["parts"]] == ["s"]
    turns = contents(said("user", "Hi"), said("assistant", "Ah.", alone), said("user", "?"))
    assert turns[1]["parts"][1] == {"text": "", "thoughtSignature": "s"}


def test_the_first_call_of_each_step_is_signed_for_models_that_need_it() -> None:
    history = [
        said("user", "Hi"),
        said("assistant", Call("a", "f"), Call("b", "f")),
        said("user", Result("a", []), Result("b", [])),
        said("assistant", "Now:", Call("c", "f", seal="own")),
        said("user", Result("c", [])),
    ]
    turns = contents(*history)
    first, second = turns[1]["parts"]
    assert first["thoughtSignature"] == FILLER == "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
    assert "thoughtSignature" not in second
    assert [part.get("thoughtSignature") for part in turns[3]["parts"]] == [None, "own"]
    assert all("thoughtSignature" not in part for part in contents(*history, model=OLD)[1]["parts"])
    assert FILLER in str(contents(*history, model="gemini-flash-latest"))


def test_words_whose_seal_is_on_the_call_are_no_loss() -> None:
    written = write(
        said("user", "Hi"),
        said("assistant", Thinking("bare"), Call("1", "f", "{}", seal="s")),
        said("user", Result("1", [Text("42")])),
    )
    (part,) = written.body["contents"][1]["parts"]
    assert part["thoughtSignature"] == "s"
    assert written.dropped == ()


def test_thinking_of_another_maker_is_dropped_and_never_shown() -> None:
    written = write(
        said("user", "Hi"),
        said("assistant", Thinking("secret", seal="x", seal_kind="anthropic"), Thinking("bare"), "Ah."),
        said("user", "?"),
    )
    assert written.body["contents"][1]["parts"] == [{"text": "Ah."}]
    assert written.dropped == ("messages[1].thinking",)


def test_hosted_tools_of_others_are_dropped_from_answers_and_refused_from_users() -> None:
    written = write(said("user", "Hi"), said("assistant", Foreign("web_search"), "Ah."), said("user", "?"))
    assert written.dropped == ("messages[1].content[0]",)
    failure = refusal(said("user", Foreign("video_url")))
    assert failure.param == "messages[0].content[0]"
    assert "video_url" in failure.message


@pytest.mark.parametrize(
    "url",
    [
        "gs://bucket/a.png",
        "https://generativelanguage.googleapis.com/v1beta/files/abc",
        "https://youtu.be/lCdaVNyHtjU",
        "https://www.youtube.com/watch?v=lCdaVNyHtjU",
    ],
)
def test_googles_own_addresses_are_taken_by_every_model(url: str) -> None:
    (part,) = contents(said("user", Image(url=url)), model="gemini-2.0-flash")[0]["parts"]
    assert part["fileData"]["fileUri"] == url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://169.254.169.254/latest/meta-data",
        "https://generativelanguage.googleapis.com.evil.example/v1beta/files/abc",
        "https://evil.example/generativelanguage.googleapis.com/v1beta/files/a",
        "https://youtu.be.evil.example/x",
    ],
)
def test_other_addresses_are_refused_unless_the_model_fetches_them(url: str) -> None:
    failure = refusal(said("user", Image(url=url)), model="gemini-2.0-flash")
    assert failure.param == "messages[0].content[0]"
    (part,) = contents(said("user", Image(url=url)), model=OLD)[0]["parts"]
    assert part["fileData"]["fileUri"] == url


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/a", "http://[", "data:text/plain,hi", ""]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    refusal(said("user", Image(url=url)))


def test_media_come_in_the_form_they_have() -> None:
    (turn,) = contents(
        said(
            "user",
            Image(url="data:image/webp;base64,AAAA"),
            Document(data="JVBERi0="),
            Document(text="plain"),
            Document(file_id="https://generativelanguage.googleapis.com/v1beta/files/abc"),
            Image(url="https://example.com/a.JPG?x=1"),
        )
    )
    assert turn["parts"] == [
        {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"text": "plain"},
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.JPG?x=1"}},
    ]


def test_files_of_another_provider_and_empty_ones_are_refused() -> None:
    assert "file id" in refusal(said("user", Document(file_id="file-abc"))).message
    refusal(said("user", Document()))
    refusal(said("user", Image()))


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, None),
        (Choice("auto"), {"mode": "AUTO"}),
        (Choice("none"), {"mode": "NONE"}),
        (Choice("required"), {"mode": "ANY"}),
        (Choice("required", ("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (Choice("auto", ("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_which_tools_may_be_called(choice: Choice | None, config: Any) -> None:
    body = write(tools=[Tool("f"), Tool("g")], choice=choice).body
    assert body.get("toolConfig") == (None if config is None else {"functionCallingConfig": config})
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]


def test_strict_tools_are_validated_where_all_are_strict_and_named_where_not() -> None:
    strict, loose = Tool("f", strict=True), Tool("g")
    both = write(tools=[strict, loose])
    assert ("toolConfig" in both.body, both.dropped) == (False, ("tools[0].strict",))
    all_of_them = write(tools=[strict], choice=Choice("auto"))
    assert all_of_them.body["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert all_of_them.dropped == ()
    assert write(tools=[strict, loose], choice=Choice("required")).dropped == ()


def test_tools_that_can_not_be_are_refused() -> None:
    assert refusal(tools=[Tool("f"), Tool("g", custom=True)]).param == "tools[1]"
    assert refusal(choice=Choice("required")).param == "tool_choice"


@pytest.mark.parametrize(
    ("model", "effort", "config", "exact"),
    [
        (NEW, "none", {"thinkingLevel": "minimal"}, False),
        (NEW, "minimal", {"thinkingLevel": "minimal"}, True),
        (NEW, "medium", {"thinkingLevel": "medium"}, True),
        (NEW, "high", {"thinkingLevel": "high"}, True),
        (NEW, "max", {"thinkingLevel": "high"}, False),
        ("gemini-3-pro-preview", "minimal", {"thinkingLevel": "low"}, False),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high"}, False),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "medium"}, True),
        ("gemini-4-argon", "low", {"thinkingLevel": "low"}, True),
        (OLD, "none", {"thinkingBudget": 0}, True),
        (OLD, "minimal", {"thinkingBudget": 1024}, True),
        (OLD, "low", {"thinkingBudget": 2048}, True),
        (OLD, "medium", {"thinkingBudget": 10_000}, True),
        (OLD, "high", {"thinkingBudget": 16_384}, True),
        (OLD, "xhigh", {"thinkingBudget": 24_576}, True),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, False),
        ("gemini-2.5-pro", "xhigh", {"thinkingBudget": 32_768}, True),
        ("gemini-2.0-flash", "none", None, True),
        ("gemini-2.0-flash", "high", None, False),
        ("gemma-3-27b-it", "high", None, False),
    ],
)
def test_effort_in_the_words_of_the_model(model: str, effort: Effort, config: Any, exact: bool) -> None:
    written = write(model=model, reasoning=Reasoning(effort=effort))
    assert written.body.get("generationConfig", {}).get("thinkingConfig") == config
    assert written.dropped == (() if exact else ("reasoning_effort",))


@pytest.mark.parametrize(
    ("model", "reasoning", "config", "exact"),
    [
        (NEW, Reasoning(budget=500), {"thinkingLevel": "minimal"}, True),
        (NEW, Reasoning(budget=8_000, show=True), {"thinkingLevel": "medium", "includeThoughts": True}, True),
        (NEW, Reasoning(budget=31_999), {"thinkingLevel": "high"}, True),
        (NEW, Reasoning(show=True), {"includeThoughts": True}, True),
        (NEW, Reasoning(enabled=False, show=True), {"thinkingLevel": "minimal"}, False),
        (NEW, Reasoning(), None, True),
        (OLD, Reasoning(enabled=True), {"thinkingBudget": -1}, True),
        (OLD, Reasoning(budget=4_000), {"thinkingBudget": 4_000}, True),
        (OLD, Reasoning(budget=99_999), {"thinkingBudget": 24_576}, False),
        ("gemini-2.5-flash-lite", Reasoning(budget=100), {"thinkingBudget": 512}, False),
    ],
)
def test_budgets_and_switches(model: str, reasoning: Reasoning, config: Any, exact: bool) -> None:
    written = write(model=model, reasoning=reasoning)
    assert written.body.get("generationConfig", {}).get("thinkingConfig") == config
    assert written.dropped == (() if exact else ("reasoning_effort",))


def test_thoughts_leave_room_for_the_answer() -> None:
    body = write(model=OLD, reasoning=Reasoning(effort="high"), max_tokens=4_000).body
    assert body["generationConfig"] == {"maxOutputTokens": 4_000, "thinkingConfig": {"thinkingBudget": 2_000}}


def test_json_without_a_schema() -> None:
    config = write(format=Format("json")).body["generationConfig"]
    assert config == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(("seed", "theirs"), [(7, 7), (-1, -1), (2**31, 0), (2**63 - 1, 2**31 - 1)])
def test_a_seed_fits_and_stays_the_same_each_time(seed: int, theirs: int) -> None:
    assert write(seed=seed).body["generationConfig"]["seed"] == theirs


def test_what_changes_the_meaning_is_refused() -> None:
    assert refusal(stop=list("abcdef")).param == "stop"
    assert refusal(logit_bias={"50256": -100}).param == "logit_bias"
    assert write(stop=list("abcde"), logit_bias={}).dropped == ()


@pytest.mark.parametrize(
    ("tier", "theirs", "dropped"),
    [
        ("flex", "flex", ()),
        ("priority", "priority", ()),
        ("standard", "standard", ()),
        ("auto", None, ()),
        ("default", None, ()),
        ("scale", None, ("service_tier",)),
        ("standard_only", None, ("service_tier",)),
    ],
)
def test_a_tier_goes_through_only_where_the_names_agree(tier: str, theirs: Any, dropped: Any) -> None:
    written = write(tier=tier)
    assert (written.body.get("serviceTier"), written.dropped) == (theirs, dropped)


def test_pictures_of_different_detail_can_not_be_told_apart() -> None:
    mixed = said("user", Image(data="A", detail="low"), Image(data="B", detail="high"))
    assert write(mixed).dropped == ("messages[].content[].image_url.detail",)
    assert write(said("user", Image(data="A", detail="auto"))).dropped == ()


def test_a_provider_can_be_spared_a_field() -> None:
    written = write(seed=1, tier="flex", quirks=Quirks(drop=("seed", "serviceTier", "topK")))
    assert "serviceTier" not in written.body
    assert written.body["generationConfig"] == {}
    assert written.dropped == ("seed", "serviceTier")
