"""The request body as the edge sees it: read, checked, described."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.dialects import bounds, conversation, json_text
from keyrail.dialects.openai_chat.checks import problem_of

_PER_MESSAGE = 4  # tokens of framing around each message
_IMAGE_PARTS = frozenset({"image_url", "image", "input_image"})


def read(body: bytes) -> dict[str, Any] | Failure:
    """The client's body as plain objects; integers keep their value, the last duplicate key counts."""
    try:
        value = json_text.parse(body)
    except ValueError as error:
        return _unreadable(f"The request body could not be read as JSON: {error}.")
    if type(value) is not dict:
        return _unreadable("The request body must be a JSON object.")
    return cast("dict[str, Any]", value)


def _unreadable(message: str) -> Failure:
    return Failure(kind="bad_request", message=message, status=400, code="invalid_json")


def check(body: dict[str, Any]) -> Failure | None:
    """What is wrong with the body, naming the parameter; None when a provider may be asked.

    Only wrong types and absurd ranges are refused: finer rules differ by provider and are theirs.
    """
    return problem_of(body)


def facts(body: dict[str, Any]) -> Facts:
    """What the router needs to know of a body that `check` has passed."""
    characters, images = _prompt(body["messages"])
    tools: object = body.get("tools") or body.get("functions")
    if tools:
        characters += len(json_text.dump(tools))
    json_schema = json_mode = False
    if form := body.get("response_format"):
        json_schema = form.get("type") == "json_schema"
        json_mode = json_schema or form.get("type") == "json_object"
        if json_schema:
            characters += len(json_text.dump(form))
    stream = body.get("stream") is True
    options = body.get("stream_options") if stream else None
    return Facts(
        model=body["model"],
        stream=stream,
        include_usage=bool(options and options.get("include_usage") is True),
        input_tokens_estimate=characters // 4 + _PER_MESSAGE * len(body["messages"]),
        max_output_tokens=_most_output(body),
        choices=body.get("n") or 1,
        service_tier=bounds.tier_of(body),
        tools=bool(tools),
        images=images,
        json_schema=json_schema,
        json_mode=json_mode,
        conversation=conversation.of_messages(None, body["messages"]),
    )


def _most_output(body: dict[str, Any]) -> int | None:
    """The larger where both names are used; 0 is not said to be a limit anywhere."""
    named = (body.get("max_completion_tokens"), body.get("max_tokens"))
    return max((tokens for tokens in named if tokens), default=None)


def _prompt(messages: list[dict[str, Any]]) -> tuple[int, bool]:
    """Characters of text, base64 media left out, and whether there are images."""
    characters = 0
    images = False
    for message in messages:
        content = message.get("content")
        if type(content) is str:
            characters += len(content)
        elif content:
            for part in content:
                text = part.get("text") or part.get("refusal")
                if type(text) is str:
                    characters += len(text)
                elif part["type"] in _IMAGE_PARTS:
                    images = True
        for call in message.get("tool_calls") or ():
            function = call.get("function")
            if type(function) is dict:
                arguments = cast("dict[str, Any]", function).get("arguments")
                characters += len(arguments) if type(arguments) is str else 0
    return characters, images


def dump(body: dict[str, Any]) -> bytes:
    """The body as bytes that mean the same to every reader: no duplicate keys, valid UTF-8, plain numbers."""
    return json_text.dump(body)
