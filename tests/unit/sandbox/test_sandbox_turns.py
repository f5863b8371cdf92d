"""Second turns: what comes back from a client, as it was or changed on the way."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from sandbox_faces import CHAT, FACES, GEMINI, MESSAGES, RESPONSES, TEXT, ask, question, said

USER = {"role": "user", "content": TEXT}


async def _history(face: str, model: str) -> list[dict[str, Any]]:
    """The question, the answer with its call, and the tool's result `sunny`."""
    body = (await ask(face, model)).json
    if face == CHAT:
        message = body["choices"][0]["message"]
        calls = message.get("tool_calls", [])
        results = [{"role": "tool", "tool_call_id": c["id"], "content": "sunny"} for c in calls]
        return [USER, message, *results]
    if face == RESPONSES:
        calls = [item for item in body["output"] if item["type"] == "function_call"]
        results = [
            {"type": "function_call_output", "call_id": c["call_id"], "output": "sunny"} for c in calls
        ]
        return [USER, *body["output"], *results]
    if face == MESSAGES:
        blocks = body["content"]
        results = [
            {"type": "tool_result", "tool_use_id": b["id"], "content": "sunny"}
            for b in blocks
            if b["type"] == "tool_use"
        ]
        return [USER, {"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    content = body["candidates"][0]["content"]
    results = [
        {"functionResponse": {"name": p["functionCall"]["name"], "response": {"result": "sunny"}}}
        for p in content["parts"]
        if "functionCall" in p
    ]
    return [question(GEMINI)["contents"][0], content, {"role": "user", "parts": results}]


KEY = {CHAT: "messages", RESPONSES: "input", MESSAGES: "messages", GEMINI: "contents"}


async def _again(face: str, model: str, history: list[dict[str, Any]]) -> tuple[int, str]:
    more: dict[str, Any] = {KEY[face]: history}
    got = await ask(face, model, **more)
    if got.status != 200:
        return got.status, got.json["error"]["message"]
    return 200, said(face, got.json).text


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("model", ["tools", "tools-parallel", "tool-noargs", "reasoning-tools"])
async def test_after_a_tools_result_the_answer_is_what_the_tool_said(face: str, model: str) -> None:
    status, text = await _again(face, model, await _history(face, model))
    assert (status, text.split()[0]) == (200, "sunny")


@pytest.mark.parametrize("face", FACES)
async def test_a_call_must_be_answered(face: str) -> None:
    history = await _history(face, "tools")
    assert (await _again(face, "echo", history[:2]))[0] == 400
    assert (await _again(face, "echo", [*history[:2], history[0]]))[0] == 400


@pytest.mark.parametrize("face", FACES)
async def test_an_answer_must_have_its_call(face: str) -> None:
    history = await _history(face, "tools")
    assert (await _again(face, "echo", [history[0], history[2]]))[0] == 400


async def test_a_name_that_was_not_called_is_refused_by_google() -> None:
    history = await _history(GEMINI, "tools")
    history[2]["parts"][0]["functionResponse"]["name"] = "other"
    assert (await _again(GEMINI, "tools", history))[0] == 400


async def test_tool_results_come_first_in_anthropics_messages() -> None:
    history = await _history(MESSAGES, "tools")
    text = {"type": "text", "text": "and now?"}
    history[2]["content"].append(text)
    assert (await _again(MESSAGES, "tools", history))[0] == 200
    history[2]["content"].reverse()
    status, message = await _again(MESSAGES, "tools", history)
    assert (status, "must come first" in message) == (400, True)


async def test_neighbours_of_the_same_role_are_one_turn_for_anthropic() -> None:
    history = await _history(MESSAGES, "tools-parallel")
    one, two = history[2]["content"]
    split = [*history[:2], {"role": "user", "content": [one]}, {"role": "user", "content": [two]}]
    assert (await _again(MESSAGES, "tools-parallel", split))[0] == 200


def _thinking(history: list[dict[str, Any]]) -> dict[str, Any]:
    return history[1]["content"][0]


async def test_anthropics_thoughts_must_come_back_as_they_were() -> None:
    history = await _history(MESSAGES, "reasoning-tools")
    for field in ("thinking", "signature"):
        changed = deepcopy(history)
        _thinking(changed)[field] += "AAAA"
        status, message = await _again(MESSAGES, "reasoning-tools", changed)
        assert (status, "Invalid `signature`" in message) == (400, True)
    del history[1]["content"][0]
    status, message = await _again(MESSAGES, "reasoning-tools", history)
    assert (status, "Expected `thinking`" in message) == (400, True)
    assert (await _again(MESSAGES, "tools", history))[0] == 200
    assert (
        await _again(MESSAGES, "reasoning-tools", [*history, {"role": "assistant", "content": "ok"}, USER])
    )[0] == 200


async def test_hidden_thoughts_of_anthropics_can_come_back_too() -> None:
    omitted = {"type": "adaptive", "display": "omitted"}
    blocks = (await ask(MESSAGES, "reasoning", thinking=omitted)).json["content"]
    history = [USER, {"role": "assistant", "content": blocks}, USER]
    assert (await _again(MESSAGES, "reasoning", history))[0] == 200


async def test_encrypted_content_must_come_back_as_it_was() -> None:
    history = await _history(RESPONSES, "reasoning-tools")
    changed = deepcopy(history)
    changed[1]["encrypted_content"] = "AAAA" + changed[1]["encrypted_content"][4:]
    got = await ask(RESPONSES, "reasoning-tools", input=changed)
    assert (got.status, got.json["error"]["code"]) == (400, "invalid_encrypted_content")
    other = deepcopy(history)
    other[1]["id"] = "rs_of_another"
    assert (await _again(RESPONSES, "reasoning-tools", other))[0] == 400


async def test_a_reasoning_item_without_its_content_is_not_found() -> None:
    history = await _history(RESPONSES, "reasoning-tools")
    del history[1]["encrypted_content"]
    assert (await _again(RESPONSES, "reasoning-tools", history))[0] == 404


async def test_a_call_with_its_id_needs_its_reasoning_item() -> None:
    history = await _history(RESPONSES, "reasoning-tools")
    del history[1]
    status, message = await _again(RESPONSES, "reasoning-tools", history)
    assert (status, "required 'reasoning' item" in message) == (400, True)
    del history[1]["id"]
    assert (await _again(RESPONSES, "reasoning-tools", history))[0] == 200


async def test_a_reasoning_item_needs_what_follows_it() -> None:
    history = await _history(RESPONSES, "reasoning-tools")
    assert (await _again(RESPONSES, "reasoning-tools", history[:2]))[0] == 400
    assert (await _again(RESPONSES, "reasoning-tools", [*history[:2], USER]))[0] == 400


async def test_googles_call_must_have_its_signature() -> None:
    history = await _history(GEMINI, "reasoning-tools")
    call = history[1]["parts"][-1]
    signature = call.pop("thoughtSignature")
    status, message = await _again(GEMINI, "reasoning-tools", history)
    assert (status, "missing a thought_signature" in message) == (400, True)
    assert (await _again(GEMINI, "tools", history))[0] == 200
    call["thoughtSignature"] = "skip_thought_signature_validator"
    assert (await _again(GEMINI, "reasoning-tools", history))[0] == 200
    call["thoughtSignature"] = signature
    call["functionCall"]["args"]["place"] = "elsewhere"
    assert (await _again(GEMINI, "reasoning-tools", history))[0] == 400
    call["thoughtSignature"] = "krs1.openai.gAAA"
    assert (await _again(GEMINI, "tools", history))[0] == 400


async def test_only_the_current_turn_of_googles_needs_signatures() -> None:
    history = await _history(GEMINI, "reasoning-tools")
    del history[1]["parts"][-1]["thoughtSignature"]
    later = [*history, {"role": "model", "parts": [{"text": "ok"}]}, history[0]]
    assert (await _again(GEMINI, "reasoning", later))[0] == 200


async def test_googles_text_may_come_back_in_other_pieces() -> None:
    events = (await ask(GEMINI, "reasoning", stream=True)).events
    signature = events[-1]["candidates"][0]["content"]["parts"][0]["thoughtSignature"]
    mine = {"role": "model", "parts": [{"text": TEXT, "thoughtSignature": signature}]}
    asked = question(GEMINI)["contents"][0]
    assert (await _again(GEMINI, "reasoning", [asked, mine, asked]))[0] == 200
