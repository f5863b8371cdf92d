"""The request body: check and describe it at the edge, prepare it for a provider of this dialect."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.dialects import bounds, conversation, json_text
from keyrail.dialects.anthropic_messages import carried
from keyrail.dialects.anthropic_messages.checks import problem_of
from keyrail.dialects.anthropic_messages.errors import DIALECT
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Written

_PER_MESSAGE = 4  # tokens of framing around each message
_SUSPICIOUS = (b"krs1.", b'"signature":""', b'"signature": ""')


def check(body: dict[str, Any]) -> Failure | None:
    """What is wrong with the body, naming the parameter; None when a provider may be asked.

    Only wrong types and absurd ranges are refused: finer rules differ by model and are the provider's.
    """
    return problem_of(body)


def facts(body: dict[str, Any]) -> Facts:
    """What the router needs to know of a body that `check` has passed."""
    size = _Size()
    size.add(body.get("system"))
    for message in body["messages"]:
        size.add(message["content"])
    if tools := body.get("tools"):
        size.characters += len(json_text.dump(tools))
    form = (body.get("output_config") or {}).get("format") or body.get("output_format")
    json_schema = form is not None and form.get("type") == "json_schema"
    if json_schema:
        size.characters += len(json_text.dump(form))
    stream = body.get("stream") is True
    return Facts(
        dialect=DIALECT,
        model=body["model"],
        stream=stream,
        include_usage=stream,  # streams of this dialect always say it
        input_tokens_estimate=size.characters // 4 + _PER_MESSAGE * len(body["messages"]),
        max_output_tokens=body.get("max_tokens"),
        service_tier=bounds.tier_of(body),
        tools=bool(tools),
        images=size.images,
        json_schema=json_schema,
        json_mode=json_schema,
        conversation=conversation.of_messages(body.get("system"), body["messages"]),
    )


class _Size:
    """Characters of text, base64 media left out, and whether there are images."""

    def __init__(self) -> None:
        self.characters = 0
        self.images = False

    def add(self, content: str | list[dict[str, Any]] | None) -> None:
        """A string or a list of blocks, tool results included."""
        if isinstance(content, str):
            self.characters += len(content)
            return
        for block in content or ():
            kind = block["type"]
            text = block.get("thinking" if kind == "thinking" else "text")
            if type(text) is str:
                self.characters += len(text)
            elif kind == "tool_use":
                self.characters += len(json_text.dump(block.get("input")))
            elif kind == "tool_result":
                self.add(block.get("content"))
            elif kind == "image":
                self.images = True
            elif kind == "document" and block["source"].get("type") == "text":
                data = block["source"].get("data")
                self.characters += len(data) if type(data) is str else 0


def prepare(body: bytes, *, model: str, quirks: Quirks) -> Written:
    """The body of a client that speaks this dialect too: model and named quirks changed, nothing else.

    Thoughts that Anthropic did not seal (another provider answered earlier in the conversation) are left out:
    it refuses them. Raises ValueError for a body that is no JSON object.
    """
    value = json_text.parse(body)
    if type(value) is not dict:
        raise ValueError("it is not an object")
    request = cast("dict[str, Any]", value)
    request["model"] = model
    if any(mark in body for mark in _SUSPICIOUS):
        request["messages"] = _own(request["messages"])
    return quirky(request, quirks, [])


def quirky(request: dict[str, Any], quirks: Quirks, dropped: list[str]) -> Written:
    """The request with the provider's quirks applied; what they cost is named."""
    named = list(dropped)
    for name in quirks.drop:
        if request.pop(name, None) is not None:
            named.append(name)
    if quirks.rename:
        rename = quirks.rename
        request = {
            rename.get(name, name): value
            for name, value in request.items()
            if rename.get(name, name) == name or rename[name] not in request
        }
    return Written(request, tuple(dict.fromkeys(named)))


def _own(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for message in messages:
        content = message.get("content")
        if message.get("role") == "assistant" and type(content) is list:
            blocks = cast("list[dict[str, Any]]", content)
            own = [block for block in blocks if not carried.is_foreign(block)]
            if len(own) < len(blocks):
                if not own:
                    continue
                kept.append({**message, "content": own})
                continue
        kept.append(message)
    return kept
