"""The request body: checked and described at the edge, prepared for a provider of this dialect."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.dialects import bounds, conversation, json_text
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.openai_responses import sealing
from keyrail.dialects.openai_responses.checks import problem_of

_PER_ITEM = 4  # tokens of framing around each item
_TEXTS = ("arguments", "input", "output", "encrypted_content")
_PARTS = ("content", "output", "summary")


def check(body: dict[str, Any]) -> Failure | None:
    """What is wrong with the body, naming the parameter; None when a provider may be asked.

    Only wrong types, absurd ranges, and what needs a memory are refused: finer rules are the providers'.
    """
    return problem_of(body)


def facts(body: dict[str, Any]) -> Facts:
    """What the router needs to know of a body that `check` has passed."""
    characters, images, items = _prompt(body["input"])
    characters += len(body.get("instructions") or "")
    tools: object = body.get("tools")
    if tools:
        characters += len(json_text.dump(tools))
    form = (body.get("text") or {}).get("format") or {}
    json_schema = form.get("type") == "json_schema"
    if json_schema:
        characters += len(json_text.dump(form))
    return Facts(
        dialect="openai-responses",
        model=body["model"],
        stream=body.get("stream") is True,
        include_usage=True,  # the last event always holds it
        input_tokens_estimate=characters // 4 + _PER_ITEM * items,
        max_output_tokens=body.get("max_output_tokens") or None,
        service_tier=bounds.tier_of(body),
        tools=bool(tools),
        images=images,
        json_schema=json_schema,
        json_mode=json_schema or form.get("type") == "json_object",
        conversation=_conversation(body),
    )


def _conversation(body: dict[str, Any]) -> str | None:
    said, instructions = body["input"], body.get("instructions")
    if isinstance(said, str):
        return conversation.of(conversation.text_of(instructions), said)
    return conversation.of_messages(instructions, said)


def _prompt(value: str | list[dict[str, Any]]) -> tuple[int, bool, int]:
    """Characters of text, media left out; whether there are images; how many items."""
    if isinstance(value, str):
        return len(value), False, 1
    characters = 0
    images = False
    for item in value:
        content = item.get("content")
        if type(content) is str:  # the usual message
            characters += len(content)
            continue
        for name in _TEXTS:
            text = item.get(name)
            if type(text) is str:
                characters += len(text)
        for name in _PARTS:
            parts = item.get(name)
            if type(parts) is not list:
                continue
            for part in cast("list[Any]", parts):
                if type(part) is dict:
                    found, image = _part(cast("dict[str, Any]", part))
                    characters += found
                    images = images or image
    return characters, images, len(value)


def _part(part: dict[str, Any]) -> tuple[int, bool]:
    text = part.get("text") or part.get("refusal")
    return len(text) if type(text) is str else 0, part.get("type") == "input_image"


def prepare(body: bytes, *, model: str, quirks: Quirks) -> Written:
    """The body for a provider of this dialect: its own name of the model, nothing stored, quirks applied.

    Fields that nothing is said about go through in their order. Reasoning that this provider could not read,
    sealed by another or stored nowhere, is left out. Raises ValueError for a body that is no JSON object.
    """
    value = json_text.parse(body)
    if type(value) is not dict:
        raise ValueError("it is not an object")
    return prepared(cast("dict[str, Any]", value), model=model, quirks=quirks)


def prepared(request: dict[str, Any], *, model: str, quirks: Quirks) -> Written:
    """The same for a body that was read already; changes it."""
    request["model"] = model
    request["store"] = False
    dropped: list[str] = []
    items: object = request.get("input")
    if type(items) is list:
        kept: list[dict[str, Any]] = []
        for index, item in enumerate(cast("list[dict[str, Any]]", items)):
            if sealing.is_foreign(item):
                dropped.append(f"input[{index}]")
            else:
                kept.append(item)
        if dropped:
            request["input"] = kept
    return with_quirks(request, dropped, quirks)


def with_quirks(request: dict[str, Any], dropped: list[str], quirks: Quirks) -> Written:
    """The body as this provider takes it."""
    for name in quirks.drop:
        if request.pop(name, None) is not None:
            dropped.append(name)
    if quirks.rename:
        renamed: dict[str, Any] = {}
        for name, value in request.items():
            target = quirks.rename.get(name, name)
            if target == name or target not in request:
                renamed[target] = value
        request = renamed
    return Written(body=request, dropped=tuple(dropped))
