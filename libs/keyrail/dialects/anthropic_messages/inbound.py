"""A client's request in the canonical form."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects.anthropic_messages.blocks import cache_of
from keyrail.dialects.anthropic_messages.inbound_blocks import Unreadable, parts_of
from keyrail.dialects.canonical.parts import Call, Part, Result
from keyrail.dialects.canonical.request import (
    Choice,
    Effort,
    Format,
    Message,
    Reasoning,
    Request,
    Tool,
    refused,
)

_KNOWN = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "system",
        "stream",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
        "stop_sequences",
        "metadata",
        "service_tier",
        "cache_control",
        "temperature",
        "top_p",
        "top_k",
    }
)
_USUAL: dict[str, Any] = {"speed": "standard", "inference_geo": "global"}
"""What these parameters mean anyway: saying so is no loss."""

_BINDING = {
    "inference_geo": "Only Anthropic can be told where to compute.",
    "mcp_servers": "Only Anthropic can call MCP servers itself.",
}
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_TOOL_FIELDS = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})


def read_request(body: dict[str, Any]) -> Request | Failure:
    """The canonical form of a body that `check` has passed.

    A Failure (400, naming the parameter) when it asks for what only Anthropic has: hosted tools, a region, a
    request that only warms the cache.
    """
    if body.get("max_tokens") == 0:
        return refused("max_tokens", "Only Anthropic can warm a cache without answering.")
    try:
        return _read(body)
    except Unreadable as error:
        return error.failure


def _read(body: dict[str, Any]) -> Request:
    dropped = _others(body)
    messages = _messages(body, dropped)
    choice, parallel = _choice(body.get("tool_choice"))
    config: dict[str, Any] = body.get("output_config") or {}
    dropped += [f"output_config.{name}" for name in config if name not in ("effort", "format")]
    return Request(
        messages=messages,
        stream=body.get("stream") is True,
        include_usage=body.get("stream") is True,
        tools=_tools(body.get("tools") or [], dropped),
        choice=choice,
        parallel=parallel,
        max_tokens=_whole(body.get("max_tokens")),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        top_k=_whole(body.get("top_k")),
        stop=body.get("stop_sequences") or [],
        reasoning=_reasoning(body.get("thinking"), config.get("effort")),
        format=_format(config.get("format") or body.get("output_format"), dropped),
        user=_user(body.get("metadata"), dropped),
        tier=body.get("service_tier"),
        cache=cache_of(body),
        dropped=dropped,
    )


def _others(body: dict[str, Any]) -> list[str]:
    """The parameters that have no place in the canonical form."""
    dropped: list[str] = []
    for name, value in body.items():
        if name in _KNOWN or value is None or value == [] or value == _USUAL.get(name, ...):
            continue
        if name in _BINDING:
            raise Unreadable(refused(name, _BINDING[name]))
        dropped.append(name)
    return dropped


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _messages(body: dict[str, Any], dropped: list[str]) -> list[Message]:
    messages: list[Message] = []
    if system := body.get("system"):
        messages.append(Message("system", parts_of(system, "system", dropped)))
    names: dict[str, str] = {}
    for index, message in enumerate(body["messages"]):
        parts = parts_of(message["content"], f"messages[{index}].content", dropped)
        _name_results(parts, names)
        messages.append(Message(message["role"], parts))
    return messages


def _name_results(parts: list[Part], names: dict[str, str]) -> None:
    """Results say which call they are for; some targets want the tool's name too."""
    for part in parts:
        if type(part) is Call:
            names[part.id] = part.name
        elif type(part) is Result:
            part.name = names.get(part.call_id)


def _tools(tools: list[dict[str, Any]], dropped: list[str]) -> list[Tool]:
    found: list[Tool] = []
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        kind = tool.get("type")
        name = tool.get("name")
        if kind not in (None, "custom"):
            raise Unreadable(refused(path, f"The tool '{kind}' exists at Anthropic only."))
        if type(name) is not str:
            raise Unreadable(refused(f"{path}.name", "A tool needs a name."))
        schema = tool.get("input_schema")
        strict = tool.get("strict")
        description = tool.get("description")
        dropped += [f"{path}.{field}" for field in tool if field not in _TOOL_FIELDS]
        found.append(
            Tool(
                name=name,
                description=description if type(description) is str else None,
                schema=cast("dict[str, Any]", schema) if type(schema) is dict else None,
                strict=strict if type(strict) is bool else None,
                cache=cache_of(tool),
            )
        )
    return found


def _choice(choice: dict[str, Any] | None) -> tuple[Choice | None, bool | None]:
    if choice is None:
        return None, None
    alone = choice.get("disable_parallel_tool_use")
    parallel = not alone if type(alone) is bool else None
    match choice["type"]:
        case "auto":
            return Choice("auto"), parallel
        case "any":
            return Choice("required"), parallel
        case "none":
            return Choice("none"), parallel
        case "tool" if type(choice.get("name")) is str:
            return Choice("required", (choice["name"],)), parallel
        case other:
            raise Unreadable(refused("tool_choice", f"The tool choice '{other}' is not known here."))


def _reasoning(thinking: dict[str, Any] | None, effort: object) -> Reasoning | None:
    level = cast("Effort", effort) if type(effort) is str and effort in _EFFORTS else None
    if thinking is None:
        return None if level is None else Reasoning(effort=level)
    kind = thinking["type"]
    if kind in ("disabled", "between_tools"):
        return Reasoning(enabled=False)
    budget = thinking.get("budget_tokens")
    show = {"summarized": True, "omitted": False}.get(str(thinking.get("display")))
    if show is None and kind == "enabled":
        show = True  # with a budget the thoughts were always in the answer, as they are nowhere else
    return Reasoning(
        enabled=True, effort=level, budget=budget if type(budget) is int and budget > 0 else None, show=show
    )


def _format(form: dict[str, Any] | None, dropped: list[str]) -> Format | None:
    if form is None:
        return None
    schema = form.get("schema")
    if form["type"] != "json_schema" or type(schema) is not dict:
        dropped.append("output_config.format")
        return None
    return Format("schema", schema=cast("dict[str, Any]", schema), strict=True)


def _user(metadata: dict[str, Any] | None, dropped: list[str]) -> str | None:
    if metadata is None:
        return None
    dropped += [f"metadata.{name}" for name in metadata if name != "user_id"]
    user = metadata.get("user_id")
    return user if type(user) is str else None
