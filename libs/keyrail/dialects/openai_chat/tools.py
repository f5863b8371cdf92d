"""Tools, which of them may be called, and the calls themselves."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text, loose
from keyrail.dialects.canonical.parts import Cache, Call
from keyrail.dialects.canonical.request import Choice, Tool, refused
from keyrail.dialects.openai_chat import thoughts

_MODES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


def read_tools(body: dict[str, Any]) -> list[Tool] | Failure:
    """`tools`, and `functions` as they were called before."""
    found: list[Tool] = []
    for index, value in enumerate(loose.items(body.get("tools"))):
        tool = _tool(f"tools[{index}]", loose.fields(value))
        if isinstance(tool, Failure):
            return tool
        found.append(tool)
    if found:
        return found
    for index, value in enumerate(loose.items(body.get("functions"))):
        tool = _function(f"functions[{index}]", loose.fields(value))
        if isinstance(tool, Failure):
            return tool
        found.append(tool)
    return found


def _tool(param: str, tool: dict[str, Any]) -> Tool | Failure:
    kind = tool.get("type", "function")
    if kind == "function":
        found = _function(f"{param}.function", loose.fields(tool.get("function")))
    elif kind == "custom":
        found = _custom(f"{param}.custom", loose.fields(tool.get("custom")))
    else:
        return refused(f"{param}.type", f"Tools of the type {kind!r} can't be used with this model.")
    if isinstance(found, Tool):
        found.cache = read_cache(tool)
    return found


def _function(param: str, function: dict[str, Any]) -> Tool | Failure:
    name = loose.text(function.get("name"))
    if name is None:
        return refused(f"{param}.name", f"Missing required parameter: '{param}.name'.")
    return Tool(
        name=name,
        description=loose.text(function.get("description")),
        schema=loose.fields(function.get("parameters")) or None,
        strict=loose.flag(function.get("strict")),
    )


def _custom(param: str, custom: dict[str, Any]) -> Tool | Failure:
    found = _function(param, custom)
    if isinstance(found, Tool):
        found.custom, found.schema, found.strict = True, None, None
        found.format = loose.fields(custom.get("format")) or None
    return found


def read_cache(holder: dict[str, Any]) -> Cache | None:
    """A breakpoint of the prompt cache: Anthropic's `cache_control`, or OpenAI's own, whose usual 30 minutes
    have no name elsewhere."""
    control = holder.get("cache_control")
    if type(control) is dict:
        return Cache(loose.text(loose.fields(control).get("ttl")))
    return Cache() if type(holder.get("prompt_cache_breakpoint")) is dict else None


def cache_control(cache: Cache) -> dict[str, Any]:
    """The breakpoint as providers take it."""
    control = {"type": "ephemeral"}
    return {**control, "ttl": cache.ttl} if cache.ttl is not None else control


def read_choice(body: dict[str, Any]) -> Choice | Failure | None:
    """`tool_choice`, and `function_call` as it was called before."""
    for param in ("tool_choice", "function_call"):
        value = body.get(param)
        if value is None:
            continue
        if type(value) is str:
            if value not in _MODES:
                return _no_choice(param)
            return Choice(cast("Any", _MODES[value]))
        return _choice(param, loose.fields(value))
    return None


def _choice(param: str, value: dict[str, Any]) -> Choice | Failure:
    if value.get("type") == "allowed_tools":
        allowed = loose.fields(value.get("allowed_tools")) or value
        names = tuple(_name(loose.fields(tool)) for tool in loose.items(allowed.get("tools")))
        mode = allowed.get("mode", "auto")
        if mode not in ("auto", "required") or not names or "" in names:
            return _no_choice(param)
        return Choice(cast("Any", mode), names)
    name = _name(value)
    return Choice("required", (name,)) if name else _no_choice(param)


def _name(value: dict[str, Any]) -> str:
    for holder in (loose.fields(value.get("function")), loose.fields(value.get("custom")), value):
        if (name := loose.text(holder.get("name"))) is not None:
            return name
    return ""


def _no_choice(param: str) -> Failure:
    message = f"Invalid value for '{param}': expected auto, none, required or the name of a tool."
    return refused(param, message).replace(code="invalid_value")


def write_tools(tools: list[Tool], choice: Choice | None, *, caches: bool) -> dict[str, Any]:
    """The fields of a request that tools need. A choice among a few of them leaves only these."""
    if not tools:
        return {}
    names = choice.names if choice is not None else ()
    only = names[0] if len(names) == 1 and choice is not None and choice.mode == "required" else None
    if names and only is None:
        tools = [tool for tool in tools if tool.name in names]
    written: dict[str, Any] = {"tools": [_write_tool(tool, caches) for tool in tools]}
    if only is not None:
        kind = "custom" if any(tool.custom and tool.name == only for tool in tools) else "function"
        written["tool_choice"] = {"type": kind, kind: {"name": only}}
    elif choice is not None:
        written["tool_choice"] = choice.mode
    return written


def _write_tool(tool: Tool, caches: bool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    kind = "custom" if tool.custom else "function"
    if tool.custom:
        function |= {"format": tool.format} if tool.format is not None else {}
    else:
        function["parameters"] = tool.schema if tool.schema is not None else _NO_ARGUMENTS
        function |= {"strict": tool.strict} if tool.strict is not None else {}
    written: dict[str, Any] = {"type": kind, kind: function}
    if caches and tool.cache is not None:
        written["cache_control"] = cache_control(tool.cache)
    return written


def read_call(value: dict[str, Any], *, place: str) -> Call | None:
    """One of `tool_calls`, None when it names no tool. `place` tells it from other calls without an id."""
    custom = loose.fields(value.get("custom"))
    holder = custom or loose.fields(value.get("function"))
    name = loose.text(holder.get("name"))
    if name is None:
        return None
    return Call(
        id=loose.text(value.get("id")) or invented_id(place, name),
        name=name,
        arguments=arguments_of(holder.get("input" if custom else "arguments")),
        custom=bool(custom),
        seal=thoughts.signature_of(value) or thoughts.signature_of(holder),
        cache=read_cache(value),
    )


def arguments_of(value: object) -> str:
    """Arguments as the model wrote them; some providers send the object itself."""
    if type(value) is str:
        return value
    return json_text.dump(value).decode() if type(value) is dict and value else ""


def invented_id(place: str, name: str) -> str:
    """An id for a call that came without one: the same for the same call."""
    return "call_" + hashlib.blake2b(f"{place} {name}".encode(), digest_size=12).hexdigest()


def write_call(call: Call) -> dict[str, Any]:
    """The entry of `tool_calls`, without a seal."""
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}
