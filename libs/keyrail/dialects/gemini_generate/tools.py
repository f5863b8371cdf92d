"""Tools and which of them may or must be called."""

from __future__ import annotations

from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.request import Choice, Request, Tool, refused


def write_tools(request: Request, body: dict[str, Any], dropped: dict[str, None]) -> Failure | None:
    """Put tools and toolConfig into `body`.

    In the modes ANY and VALIDATED calls keep to their schema, which is what `strict` asks for.
    """
    if not request.tools:
        if request.choice is not None and request.choice.mode == "required":
            return refused("tool_choice", "A tool must be called, but there are none.")
        return None
    declarations: list[dict[str, Any]] = []
    for index, tool in enumerate(request.tools):
        if tool.custom:
            return refused(f"tools[{index}]", "This model takes no tools with free text as their input.")
        declarations.append(_declaration(tool))
        if tool.cache is not None:
            dropped["cache_control"] = None
    body["tools"] = [{"functionDeclarations": declarations}]
    mode = _mode(request.choice, strict=all(tool.strict for tool in request.tools))
    if mode != "NONE":
        kept = mode in ("ANY", "VALIDATED")
        for index, tool in enumerate(request.tools):
            if tool.strict and not kept:
                dropped[f"tools[{index}].strict"] = None
    if mode is not None:
        calling: dict[str, Any] = {"mode": mode}
        if request.choice is not None and request.choice.names and mode != "NONE":
            calling["allowedFunctionNames"] = list(request.choice.names)
        body["toolConfig"] = {"functionCallingConfig": calling}
    if request.parallel is False:
        dropped["parallel_tool_calls"] = None
    return None


def _mode(choice: Choice | None, *, strict: bool) -> str | None:
    if choice is None:
        return "VALIDATED" if strict else None
    if choice.mode == "none":
        return "NONE"
    if choice.mode == "required":
        return "ANY"
    return "VALIDATED" if strict or choice.names else "AUTO"


def _declaration(tool: Tool) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    if tool.schema:
        declaration["parametersJsonSchema"] = tool.schema
    return declaration
