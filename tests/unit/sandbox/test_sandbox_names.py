"""Each name of a model in each dialect: what is said, how it ends, what it counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sandbox_faces import CHAT, FACES, GEMINI, MESSAGES, RESPONSES, TEXT, ask, said

from keyrail_sandbox.answer import HUGE_LINE_BYTES

THOUGHTS = "Reading the question. Answering it. "
ENDS = {  # name: how it ends in chat, responses, messages, gemini
    "echo": ("stop", "completed", "end_turn", "STOP"),
    "tools": ("tool_calls", "completed", "tool_use", "STOP"),
    "length": ("length", "max_output_tokens", "max_tokens", "MAX_TOKENS"),
    "filter": ("content_filter", "content_filter", "refusal", "SAFETY"),
    "refusal": ("stop", "completed", "refusal", "PROHIBITED_CONTENT"),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("model", ENDS)
async def test_each_end_has_the_dialects_word(face: str, model: str) -> None:
    assert said(face, (await ask(face, model)).json).finish == ENDS[model][FACES.index(face)]


@pytest.mark.parametrize("face", FACES)
async def test_echo_says_the_question(face: str) -> None:
    assert said(face, (await ask(face, "echo")).json).text == TEXT


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_request_gives_the_same_bytes(face: str, stream: bool) -> None:
    for model in ("echo", "reasoning-tools", "error-auth", "cached+logprobs"):
        first, again = [await ask(face, model, stream=stream) for _ in range(2)]
        assert first.body == again.body
    other = await ask(face, "echo", stream=stream, brand_new=1)
    assert other.body != (await ask(face, "echo", stream=stream)).body


@pytest.mark.parametrize("face", FACES)
async def test_tools_calls_the_tool_with_arguments_that_fit(face: str) -> None:
    ((name, arguments),) = said(face, (await ask(face, "tools")).json).calls
    given = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert (name, given) == ("weather", {"place": TEXT})


@pytest.mark.parametrize(("face", "arguments"), list(zip(FACES, ("", "", {}, None), strict=True)))
async def test_tool_noargs_has_none_in_the_dialects_way(face: str, arguments: Any) -> None:
    assert said(face, (await ask(face, "tool-noargs")).json).calls == [("weather", arguments)]


async def test_tool_badargs_can_not_be_parsed() -> None:
    for face in (CHAT, RESPONSES):
        ((_, arguments),) = said(face, (await ask(face, "tool-badargs")).json).calls
        with pytest.raises(json.JSONDecodeError):
            json.loads(arguments)
    ((_, given),) = said(MESSAGES, (await ask(MESSAGES, "tool-badargs")).json).calls
    assert set(given) == {"INVALID_JSON"}
    malformed = said(GEMINI, (await ask(GEMINI, "tool-badargs")).json)
    assert (malformed.calls, malformed.finish) == ([], "MALFORMED_FUNCTION_CALL")


@pytest.mark.parametrize("face", FACES)
async def test_tools_parallel_calls_twice(face: str) -> None:
    assert len(said(face, (await ask(face, "tools-parallel")).json).calls) == 2


async def test_a_client_that_wants_one_call_at_a_time_gets_one() -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        (CHAT, {"parallel_tool_calls": False}),
        (RESPONSES, {"parallel_tool_calls": False}),
        (MESSAGES, {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
    ]
    for face, more in asked:
        assert len(said(face, (await ask(face, "tools-parallel", **more)).json).calls) == 1


NONE = (
    {"tool_choice": "none"},
    {"tool_choice": "none"},
    {"tool_choice": {"type": "none"}},
    {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
)


@pytest.mark.parametrize(("face", "more"), list(zip(FACES, NONE, strict=True)))
async def test_forbidden_tools_are_not_called(face: str, more: dict[str, Any]) -> None:
    assert said(face, (await ask(face, "tools", **more)).json).text == TEXT


@pytest.mark.parametrize("face", FACES)
async def test_reasoning_shows_its_thoughts(face: str) -> None:
    answer = said(face, (await ask(face, "reasoning")).json)
    assert (answer.thoughts, answer.text) == (THOUGHTS, TEXT)


async def test_thoughts_that_nobody_wants_are_only_counted() -> None:
    quiet = (await ask(RESPONSES, "reasoning", reasoning={})).json
    assert quiet["output"][0]["summary"] == []
    assert quiet["usage"]["output_tokens_details"]["reasoning_tokens"] == 5
    assert "encrypted_content" not in (await ask(RESPONSES, "reasoning", include=[])).json["output"][0]
    hidden = (await ask(GEMINI, "reasoning", generationConfig={})).json
    assert said(GEMINI, hidden).thoughts == ""
    assert hidden["usageMetadata"]["thoughtsTokenCount"] == 5
    omitted = {"type": "adaptive", "display": "omitted"}
    block = (await ask(MESSAGES, "reasoning", thinking=omitted)).json["content"][0]
    assert block["thinking"] == ""
    assert block["signature"]


async def test_reasoning_can_be_switched_off() -> None:
    off = {"thinkingConfig": {"thinkingBudget": 0}}
    assert (
        "thoughtsTokenCount"
        not in (await ask(GEMINI, "reasoning", generationConfig=off)).json["usageMetadata"]
    )
    blocks = (await ask(MESSAGES, "reasoning", thinking={"type": "disabled"})).json["content"]
    assert [block["type"] for block in blocks] == ["text"]
    items = (await ask(RESPONSES, "reasoning", reasoning={"effort": "none"})).json["output"]
    assert [item["type"] for item in items] == ["message"]


DEEP = {"type": "object", "properties": {"n": {"type": "integer"}, "x": {}}, "required": ["n"]}
FORMATS = (
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": DEEP}}},
    {"text": {"format": {"type": "json_schema", "name": "a", "schema": DEEP}}},
    {"output_config": {"format": {"type": "json_schema", "schema": DEEP}}},
    {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": DEEP}},
)


@pytest.mark.parametrize(("face", "more"), list(zip(FACES, FORMATS, strict=True)))
async def test_json_obeys_the_schema(face: str, more: dict[str, Any]) -> None:
    assert json.loads(said(face, (await ask(face, "json", **more)).json).text) == {"n": 1}


PICTURE = "data:image/png;base64,AA=="
PICTURES = (
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}]},
    {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}]},
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
                    }
                ],
            }
        ]
    },
    {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}]},
)


@pytest.mark.parametrize(("face", "more"), list(zip(FACES, PICTURES, strict=True)))
async def test_image_names_the_types_it_saw(face: str, more: dict[str, Any]) -> None:
    assert said(face, (await ask(face, "image", **more)).json).text == "images: image/png"
    assert said(face, (await ask(face, "image")).json).text == "images: none"


def _usage(face: str, body: dict[str, Any]) -> dict[str, Any]:
    return body["usageMetadata" if face == GEMINI else "usage"]


async def test_each_dialect_counts_cached_tokens_its_own_way() -> None:
    got = {face: _usage(face, (await ask(face, "cached", **_long(face))).json) for face in FACES}
    # 80 characters: a prompt of 23 tokens, of which 11 are read from the cache and 5 written to it
    assert got[CHAT]["prompt_tokens"] == 23
    assert got[CHAT]["prompt_tokens_details"]["cached_tokens"] == 11
    assert got[CHAT]["prompt_tokens_details"]["cache_write_tokens"] == 5
    details = got[RESPONSES]["input_tokens_details"]
    assert (details["cached_tokens"], details["cache_write_tokens"]) == (11, 5)
    assert details["cache_write_tokens_details"] == {"ttl_30m_tokens": 3, "ttl_12h_tokens": 2}
    messages = got[MESSAGES]
    assert (messages["input_tokens"], messages["cache_read_input_tokens"]) == (7, 11)
    assert messages["cache_creation_input_tokens"] == 5
    split = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2}
    assert messages["cache_creation"] == split
    assert (got[GEMINI]["promptTokenCount"], got[GEMINI]["cachedContentTokenCount"]) == (23, 11)


def _long(face: str) -> dict[str, Any]:
    text = "a" * 80
    if face == RESPONSES:
        return {"input": text}
    if face == GEMINI:
        return {"contents": [{"parts": [{"text": text}]}]}
    return {"messages": [{"role": "user", "content": text}]}


async def test_each_dialect_counts_thoughts_its_own_way() -> None:
    got = {face: _usage(face, (await ask(face, "reasoning")).json) for face in FACES}
    assert got[CHAT]["completion_tokens"] == 8
    assert got[RESPONSES]["output_tokens"] == 8
    assert (got[MESSAGES]["output_tokens"], got[MESSAGES]["output_tokens_details"]) == (
        8,
        {"thinking_tokens": 5},
    )
    gemini = got[GEMINI]
    assert (gemini["candidatesTokenCount"], gemini["thoughtsTokenCount"], gemini["totalTokenCount"]) == (
        3,
        5,
        15,
    )


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("model", ["usage-none", "no-usage"])
async def test_usage_none_leaves_usage_out(face: str, model: str) -> None:
    for stream in (False, True):
        body = (await ask(face, model, stream=stream)).body
        assert b"tokens" not in body.lower().replace(b"max_output_tokens", b"")
        assert b"tokencount" not in body.lower()


@pytest.mark.parametrize("face", FACES)
async def test_usage_nonsense_has_the_wrong_types(face: str) -> None:
    assert "many" in _usage(face, (await ask(face, "usage-nonsense")).json).values()


@pytest.mark.parametrize(
    ("face", "key"), list(zip(FACES, ("choices", "output", "content", "candidates"), strict=True))
)
async def test_null_choices_are_null(face: str, key: str) -> None:
    assert (await ask(face, "null-choices")).json[key] is None
    got = await ask(face, "null-choices", stream=True)
    assert b'"%b":null' % key.encode() in got.body
    assert TEXT.split()[0].encode() not in got.body


async def test_logprobs_are_there_where_the_dialect_has_them() -> None:
    chat = (await ask(CHAT, "logprobs", top_logprobs=2)).json["choices"][0]["logprobs"]["content"]
    assert [(token["token"], len(token["top_logprobs"])) for token in chat] == [
        ("one", 2),
        (" two", 2),
        (" three", 2),
    ]
    response = (await ask(RESPONSES, "logprobs")).json["output"][0]["content"][0]["logprobs"]
    assert [token["token"] for token in response] == ["one", " two", " three"]
    config = {"responseLogprobs": True, "logprobs": 1}
    gemini = (await ask(GEMINI, "logprobs", generationConfig=config)).json["candidates"][0]["logprobsResult"]
    assert [token["token"] for token in gemini["chosenCandidates"]] == ["one", " two", " three"]
    assert said(MESSAGES, (await ask(MESSAGES, "logprobs")).json).text == TEXT


@pytest.mark.parametrize("face", FACES)
async def test_huge_line_is_one_line(face: str) -> None:
    lines = (await ask(face, "huge-line", stream=True)).body.split(b"\n")
    assert max(map(len, lines)) > HUGE_LINE_BYTES
    assert len(said(face, (await ask(face, "huge-line")).json).text) == HUGE_LINE_BYTES
