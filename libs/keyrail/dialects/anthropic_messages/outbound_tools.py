"""Tools, the choice among them, and the answer's form, which old models give as a tool's arguments."""

from __future__ import annotations

from typing import Any, cast

from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages.blocks import ANSWER_TOOL, control_of
from keyrail.dialects.anthropic_messages.models import Rules
from keyrail.dialects.anthropic_messages.outbound_messages import Unwritable
from keyrail.dialects.canonical.request import Choice, Format, Request, Tool, refused

_JSON = "Answer with one JSON object and nothing else: no words around it, no code fence."


class Tooling:
    """`fields` for the body; `instructions` to add to the system prompt; `forced`: a call is forced.

    Raises Unwritable.
    """

    def __init__(self, request: Request, rules: Rules) -> None:
        self.fields: dict[str, Any] = {}
        self.instructions: list[dict[str, Any]] = []
        self.dropped: list[str] = []
        self.forced = False
        self._rules = rules
        tools = self._tools(request)
        choice = _choice(request.choice)
        if request.format is not None:
            choice = self._form(request.format, tools, choice)
        if not tools:
            if request.choice is not None and request.choice.mode == "required":
                self.dropped.append("tool_choice")
            return
        if choice is None and request.parallel is False:
            choice = {"type": "auto"}
        self.fields["tools"] = tools
        if choice is not None:
            self._choose(choice, request.parallel)

    def _choose(self, choice: dict[str, Any], parallel: bool | None) -> None:
        self.forced = choice["type"] in ("any", "tool")
        if self.forced and not self._rules.forced:
            raise Unwritable(refused("tool_choice", "This model can't be made to call a tool."))
        if parallel is False and choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
        self.fields["tool_choice"] = choice

    def _tools(self, request: Request) -> list[dict[str, Any]]:
        wanted = request.choice.names if request.choice is not None else ()
        # One name that must be called is a choice of its own; any other selection is made by what is offered.
        narrowed = len(wanted) > 1 or (len(wanted) == 1 and _choice(request.choice) == {"type": "auto"})
        found: list[dict[str, Any]] = []
        for index, tool in enumerate(request.tools):
            if tool.custom:
                raise Unwritable(refused(f"tools[{index}]", "Anthropic has no tools that take free text."))
            if narrowed and tool.name not in wanted:
                continue
            found.append(self._tool(tool, index))
        return found

    def _tool(self, tool: Tool, index: int) -> dict[str, Any]:
        written: dict[str, Any] = {"name": tool.name}
        if tool.description:
            written["description"] = tool.description
        written["input_schema"] = _schema_of_object(tool.schema)
        if tool.strict:
            if self._rules.schema:
                written["strict"] = True
                written["input_schema"] = closed(written["input_schema"])
            else:
                self.dropped.append(f"tools[{index}].strict")
        if tool.cache is not None:
            written["cache_control"] = control_of(tool.cache)
        return written

    def _form(
        self, form: Format, tools: list[dict[str, Any]], choice: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """The answer's form; what it makes of the choice."""
        if form.kind == "json" or form.schema is None:
            self.instructions.append({"type": "text", "text": _JSON})
            return choice
        schema = form.schema
        if form.description and "description" not in schema:
            schema = {**schema, "description": form.description}
        if self._rules.schema:
            self.fields["output_config"] = {"format": {"type": "json_schema", "schema": closed(schema)}}
            return choice
        if schema.get("type") != "object" or not self._rules.forced:
            text = f"{_JSON} It must fit this JSON schema: {json_text.dump(schema).decode()}"
            self.instructions.append({"type": "text", "text": text})
            self.dropped.append("response_format.json_schema.strict")
            return choice
        if choice is not None and choice["type"] == "none":
            tools.clear()
        tools.append(
            {"name": ANSWER_TOOL, "description": "Give the answer to the user.", "input_schema": schema}
        )
        if len(tools) == 1:
            return {"type": "tool", "name": ANSWER_TOOL}
        if choice is not None and choice["type"] in ("any", "tool"):
            tools.pop()  # a call is wanted first; the answer's form matters in a later turn
            return choice
        return {"type": "any"}


def _choice(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.mode == "required":
        if len(choice.names) == 1:
            return {"type": "tool", "name": choice.names[0]}
        return {"type": "any"}
    return {"type": choice.mode}


def _schema_of_object(schema: dict[str, Any] | None) -> dict[str, Any]:
    if not schema:
        return {"type": "object", "properties": {}}
    return schema if schema.get("type") == "object" else {**schema, "type": "object"}


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every object closed against further properties, without which it is refused."""
    return cast("dict[str, Any]", _closed(schema))


_LITERAL = frozenset({"const", "enum", "default", "examples"})
_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def _closed(node: Any) -> Any:
    if type(node) is list:
        return [_closed(item) for item in cast("list[Any]", node)]
    if type(node) is not dict:
        return node
    schema = cast("dict[str, Any]", node)
    copy = {name: _closed_member(name, value) for name, value in schema.items()}
    kind = schema.get("type")
    is_object = kind == "object" or (type(kind) is list and "object" in kind)
    if is_object and "additionalProperties" not in schema:
        copy["additionalProperties"] = False
    return copy


def _closed_member(name: str, value: Any) -> Any:
    if name in _LITERAL:
        return value
    if name in _BY_NAME and type(value) is dict:
        return {key: _closed(inner) for key, inner in cast("dict[str, Any]", value).items()}
    return _closed(value)
