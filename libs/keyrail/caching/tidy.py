"""A body without what does not change what it asks for: the same for all spellings of one request.

Each rewriting here keeps the meaning in its own dialect, whoever the provider is. What is not known to be
without a meaning stays: a difference too many costs a hit, one too few gives somebody a wrong answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from keyrail.contracts.slips import Dialect
from keyrail.dialects import loose

ENCRYPTED = "reasoning.encrypted_content"

_EVERYWHERE = frozenset(
    {
        "model",  # the resolved one is in the key
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "prompt_cache_key",  # these steer the provider's own cache: the price, not the answer
        "prompt_cache_retention",
        "prompt_cache_options",
        "cache_control",
    }
)
"""Parameters that say who asks, how the answer is to travel, or what the provider may keep of the prompt."""

_DEFAULTS: dict[Dialect, dict[str, Any]] = {
    "openai-chat": {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "response_format": {"type": "text"},
        "tool_choice": "auto",
        "service_tier": "auto",
        "store": False,
        "tools": [],
        "stop": [],
        "logit_bias": {},
    },
    "openai-responses": {
        "background": False,
        "truncation": "disabled",
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "service_tier": "auto",
        "top_logprobs": 0,
        "tools": [],
        "include": [],
        "text": {},
    },
    "anthropic-messages": {
        "tool_choice": {"type": "auto"},
        "service_tier": "auto",
        "tools": [],
        "stop_sequences": [],
        "system": [],
        "output_config": {},
    },
    "openai-embeddings": {"encoding_format": "float"},
}
"""What a parameter means when it is missing, at every provider of the dialect and for all its models."""

_DATA = frozenset({"parameters", "schema", "input_schema", "input", "arguments", "logit_bias"})
"""Objects below these names are the client's own: a null in them says something."""


def tidied(body: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """A copy of a body that its dialect has checked. Numbers are as `number` has them; order is kept."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name not in _EVERYWHERE and value is not None:
            found[name] = _copied(value, data=name in _DATA and type(value) is dict)
    rewrite = _REWRITES.get(dialect)
    if rewrite is not None:
        rewrite(found)
    for name, usual in _DEFAULTS.get(dialect, {}).items():
        if name in found and _same(found[name], usual):
            del found[name]
    return found


def number(value: float) -> float | int:
    """1.0 as 1, as far as a float is exact."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _same(value: object, usual: object) -> bool:
    return type(value) is type(usual) and value == usual


def _copied(value: Any, *, data: bool) -> Any:
    if type(value) is dict:
        fields = cast("dict[str, Any]", value)
        return {
            name: _copied(each, data=data or (name in _DATA and type(each) is dict))
            for name, each in fields.items()
            if data or (each is not None and name != "cache_control")
        }
    if type(value) is list:
        return [_copied(each, data=data) for each in cast("list[Any]", value)]
    return number(value) if type(value) is float else value


def _drop(fields: dict[str, Any], name: str, *usual: Any) -> None:
    if name in fields and any(_same(fields[name], each) for each in usual):
        del fields[name]


def _plain(holder: dict[str, Any], name: str, kinds: tuple[str, ...]) -> None:
    """One part that is text and nothing else, as that text."""
    parts = holder.get(name)
    if type(parts) is list and len(cast("list[Any]", parts)) == 1:
        part = loose.fields(parts[0])
        if set(part) == {"type", "text"} and part["type"] in kinds and type(part["text"]) is str:
            holder[name] = part["text"]


def _chat(body: dict[str, Any]) -> None:
    if "max_completion_tokens" not in body and "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")
    if type(body.get("stop")) is str:
        body["stop"] = [body["stop"]]
    for message in loose.items(body.get("messages")):
        _plain(message, "content", ("text",))
        for name in ("tool_calls", "annotations"):
            _drop(message, name, [])
        for part in loose.items(message.get("content")):
            _drop(loose.fields(loose.fields(part).get("image_url")), "detail", "auto")
    for tool in loose.items(body.get("tools")):
        _drop(loose.fields(loose.fields(tool).get("function")), "strict", False)
    _drop(loose.fields(loose.fields(body.get("response_format")).get("json_schema")), "strict", False)


def _responses(body: dict[str, Any]) -> None:
    body.pop("store", None)  # counts as false here, whatever it says
    items = body.get("input")
    turns: list[Any] = [{"role": "user", "content": items}] if type(items) is str else loose.items(items)
    if instructions := body.pop("instructions", None):
        turns.insert(0, {"role": "system", "content": instructions})
    for item in turns:
        fields = loose.fields(item)
        _drop(fields, "type", "message")
        _plain(fields, "content", ("input_text", "output_text"))
        _plain(fields, "output", ("input_text",))
        for part in loose.items(fields.get("content")):
            _drop(loose.fields(part), "detail", "auto")
    body["input"] = turns
    form = loose.fields(body.get("text"))
    _drop(form, "format", {"type": "text"})
    _drop(loose.fields(form.get("format")), "strict", False)
    if ENCRYPTED in loose.items(body.get("include")):
        body["include"] = [each for each in body["include"] if each != ENCRYPTED]


def _messages(body: dict[str, Any]) -> None:
    _plain(body, "system", ("text",))
    for message in loose.items(body.get("messages")):
        _plain(message, "content", ("text",))
        for part in loose.items(message.get("content")):
            block = loose.fields(part)
            if block.get("type") == "tool_result":
                _drop(block, "is_error", False)
                _plain(block, "content", ("text",))
    for tool in loose.items(body.get("tools")):
        _drop(loose.fields(tool), "type", "custom")
        _drop(loose.fields(tool), "strict", False)


def _embeddings(body: dict[str, Any]) -> None:
    if type(body.get("input")) is str:
        body["input"] = [body["input"]]


_REWRITES: dict[Dialect, Callable[[dict[str, Any]], None]] = {
    "openai-chat": _chat,
    "openai-responses": _responses,
    "anthropic-messages": _messages,
    "openai-embeddings": _embeddings,
}
