"""A client's request, read into the canonical form for a provider of another dialect."""

from __future__ import annotations

from typing import Any, cast, get_args

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import Text
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
from keyrail.dialects.openai_responses.answer import dicts
from keyrail.dialects.openai_responses.inbound_items import Turns

_EFFORTS: tuple[str, ...] = get_args(Effort)
_MODES = ("auto", "none", "required")
_READ = frozenset(
    {
        "model",
        "input",
        "instructions",
        "stream",
        "stream_options",
        "store",
        "background",
        "previous_response_id",
        "conversation",
        "prompt",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "reasoning",
        "text",
        "include",
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "safety_identifier",
        "user",
    }
)
"""Parameters with a place in the canonical form, or with none because nothing is stored."""

_DEFAULTS: dict[str, Any] = {"truncation": "disabled", "prompt_cache_options": {"mode": "implicit"}}
"""Values that ask for nothing."""

_FUNCTION = frozenset({"type", "name", "description", "parameters", "strict"})
_CUSTOM = frozenset({"type", "name", "description", "format"})


class _Refused(Exception):
    """Some part of the request can't be read for another dialect."""

    def __init__(self, param: str, message: str) -> None:
        self.failure = refused(param, message)


def read_request(body: dict[str, Any]) -> Request | Failure:
    """The canonical form of a body that `check` has passed.

    A Failure (400, naming the parameter) for what exists only at OpenAI and changes the answer: hosted tools,
    tool namespaces, items that stand for something stored. What can be done without is in `dropped`.
    """
    turns = Turns()
    instructions = body.get("instructions")
    if instructions:
        turns.messages.append(Message("system", [Text(instructions)]))
    given: str | list[dict[str, Any]] = body["input"]
    if isinstance(given, str):
        turns.messages.append(Message("user", [Text(given)]))
    else:
        turns.read(given)
    if turns.failure is not None:
        return turns.failure
    try:
        return _request(body, turns)
    except _Refused as error:
        return error.failure


def _request(body: dict[str, Any], turns: Turns) -> Request:
    dropped = turns.dropped
    for name, value in body.items():
        if name not in _READ and value is not None and value != _DEFAULTS.get(name):
            dropped.append(name)
    text: dict[str, Any] = body.get("text") or {}
    logprobs = _logprobs(body, dropped)
    limit = body.get("max_output_tokens")
    return Request(
        messages=turns.messages,
        stream=body.get("stream") is True,
        include_usage=True,
        tools=[_tool(f"tools[{index}]", tool, dropped) for index, tool in enumerate(body.get("tools") or ())],
        choice=_choice(body.get("tool_choice")),
        parallel=body.get("parallel_tool_calls"),
        max_tokens=None if limit is None else int(limit),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        logprobs=logprobs,
        top_logprobs=body.get("top_logprobs") if logprobs else None,
        reasoning=_reasoning(body.get("reasoning"), dropped),
        format=_format(text.get("format")),
        verbosity=_text(text.get("verbosity")),
        user=_text(body.get("safety_identifier")) or _text(body.get("user")),
        tier=_text(body.get("service_tier")),
        cache_key=_text(body.get("prompt_cache_key")),
        metadata=body.get("metadata") or None,
        dropped=dropped,
    )


def _text(value: object) -> str | None:
    return value if type(value) is str and value else None


def _logprobs(body: dict[str, Any], dropped: list[str]) -> bool | None:
    """Whether log probabilities are wanted. What else is included belongs to hosted tools."""
    wanted: bool | None = True if body.get("top_logprobs") else None
    for index, name in enumerate(body.get("include") or ()):
        if name == "message.output_text.logprobs":
            wanted = True
        elif name != "reasoning.encrypted_content":  # sealed thoughts are always in the answer
            dropped.append(f"include[{index}]")
    return wanted


def _tool(path: str, tool: dict[str, Any], dropped: list[str]) -> Tool:
    kind, name = tool.get("type"), tool.get("name")
    if kind not in ("function", "custom"):
        raise _Refused(path, f"The tool '{str(kind)[:64]}' is OpenAI's own: this provider has none like it.")
    if type(name) is not str or not name:
        raise _Refused(f"{path}.name", "A tool needs a name.")
    known = _FUNCTION if kind == "function" else _CUSTOM
    dropped += [
        f"{path}.{field}" for field, value in tool.items() if field not in known and value is not None
    ]
    description = _text(tool.get("description"))
    if kind == "custom":
        form = tool.get("format")
        grammar = cast("dict[str, Any]", form) if type(form) is dict else None
        return Tool(name, description=description, custom=True, format=_grammar(grammar))
    schema = tool.get("parameters")
    strict = tool.get("strict")
    return Tool(
        name,
        description=description,
        schema=cast("dict[str, Any]", schema) if type(schema) is dict else None,
        strict=strict if type(strict) is bool else None,
    )


def _grammar(form: dict[str, Any] | None) -> dict[str, Any] | None:
    """A custom tool's format as chat completions nest it, which is the canonical way. Free text is None."""
    if form is None or form.get("type") != "grammar":
        return None
    inner = {name: form.get(name) for name in ("syntax", "definition")}
    return {"type": "grammar", "grammar": inner}


def _choice(value: object) -> Choice | None:
    if value is None:
        return None
    if isinstance(value, str):
        return Choice(_mode("tool_choice", value))
    choice = cast("dict[str, Any]", value)
    kind, name = choice.get("type"), choice.get("name")
    if kind in ("function", "custom") and type(name) is str:
        return Choice("required", (name,))
    if kind == "allowed_tools":
        return Choice(_mode("tool_choice.mode", choice.get("mode") or "auto"), _allowed(choice.get("tools")))
    raise _Refused("tool_choice", f"The tool choice '{str(kind)[:64]}' is for tools of OpenAI's own.")


def _mode(path: str, value: object) -> Any:
    if value not in _MODES:
        raise _Refused(path, f"Expected one of {', '.join(_MODES)}.")
    return value


def _allowed(tools: object) -> tuple[str, ...]:
    names: list[str] = []
    for index, tool in enumerate(dicts(tools)):
        name = tool.get("name")
        if tool.get("type") not in ("function", "custom") or type(name) is not str:
            raise _Refused(f"tool_choice.tools[{index}]", "Only functions and custom tools can be allowed.")
        names.append(name)
    return tuple(names)


def _reasoning(value: dict[str, Any] | None, dropped: list[str]) -> Reasoning | None:
    if value is None:
        return None
    effort = value.get("effort")
    summary = value.get("summary") or value.get("generate_summary")
    known = ("effort", "summary", "generate_summary")
    dropped += [
        f"reasoning.{name}" for name, field in value.items() if field is not None and name not in known
    ]
    if effort is not None and effort not in _EFFORTS:
        dropped.append("reasoning.effort")
        effort = None
    return Reasoning(
        enabled=False if effort == "none" else None if effort is None else True,
        effort=effort,
        show=True if summary in ("auto", "concise", "detailed") else None,
    )


def _format(value: dict[str, Any] | None) -> Format | None:
    kind = None if value is None else value.get("type")
    if value is None or kind in (None, "text"):
        return None
    if kind == "json_object":
        return Format("json")
    schema = value.get("schema")
    if kind != "json_schema" or type(schema) is not dict:
        raise _Refused(
            "text.format", "Expected a format of type text, json_object, or json_schema with a 'schema'."
        )
    strict = value.get("strict")
    return Format(
        "schema",
        schema=cast("dict[str, Any]", schema),
        name=_text(value.get("name")),
        description=_text(value.get("description")),
        strict=strict if type(strict) is bool else None,
    )
