"""Requests for a message: what is asked, and what Anthropic would not take."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec

from keyrail_sandbox.anthropic_messages import blocks
from keyrail_sandbox.anthropic_messages.blocks import Message
from keyrail_sandbox.ask import NOWHERE, Ask, Came, Refusal, Tool, callable_tools, fingerprint, tokens
from keyrail_sandbox.behaviour import parse
from keyrail_sandbox.dialect import unknown_fields

# Beyond the fields of `_Body`: what Anthropic defines and the sandbox accepts without acting on it.
_IGNORED = """cache_control container context_management diagnostics inference_geo mcp_servers metadata
    service_tier speed stop_sequences top_k top_p user_profile_id workspace_id"""
_LEAST_BUDGET = 1024


class _Body(msgspec.Struct):
    model: str
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


_KNOWN = frozenset(_IGNORED.split()) | frozenset(_Body.__struct_fields__)
_decode = msgspec.json.Decoder(_Body).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read(body: bytes, came: Came = NOWHERE) -> Ask | Refusal:
    """The request, or a 400 (in strict models also for fields that Anthropic does not define)."""
    return _read(body, came, counted=False)


def read_count(body: bytes, came: Came = NOWHERE) -> Ask | Refusal:
    """The same for a request to count tokens, which needs no limit."""
    return _read(body, came, counted=True)


def _read(body: bytes, came: Came, *, counted: bool) -> Ask | Refusal:
    if came.version is None:
        return Refusal(400, message="anthropic-version: header is required")
    try:
        request = _decode(body)
        keys = _decode_keys(body).keys()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal(400, message=f"The body can't be read: {error}")
    if request.max_tokens is None and not counted:
        return Refusal(400, message="max_tokens: Field required")
    unknown = tuple(key for key in keys if key not in _KNOWN)
    behaviour = parse(request.model)
    thinking = (request.thinking or {}).get("type") != "disabled"
    refusal = (
        unknown_fields(unknown, behaviour)
        or _thinking_problem(request)
        or _tools_problem(request.tools or [])
        or blocks.problem(request.messages, thinks=thinking and behaviour is not None and behaviour.reasoning)
    )
    if refusal is not None:
        return refusal
    system = blocks.system_text(request.system)
    texts = ([system] if system else []) + [blocks.text_of(message) for message in request.messages]
    choice = request.tool_choice or {}
    return Ask(
        model=request.model,
        text=blocks.question(request.messages),
        prompt_tokens=sum(map(tokens, texts)),
        stream=bool(request.stream) and not counted,
        limit=request.max_tokens,
        tools=_tools(request.tools or [], choice),
        parallel=choice.get("disable_parallel_tool_use") is not True,
        results=blocks.results(request.messages),
        schema=_schema(request.output_config or {}),
        media=blocks.media_of(request.messages),
        begun=texts[-1] if request.messages[-1].role == "assistant" else "",
        thinking=thinking,
        thoughts=(request.thinking or {}).get("display") != "omitted",
        fingerprint=fingerprint(body),
        unknown=unknown,
    )


def _thinking_problem(request: _Body) -> Refusal | None:
    thinking = request.thinking or {}
    if thinking.get("type") != "enabled":
        return None
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < _LEAST_BUDGET:
        return Refusal(400, message=f"thinking.enabled.budget_tokens: at least {_LEAST_BUDGET} is required")
    if request.max_tokens is not None and request.max_tokens <= budget:
        return Refusal(400, message="`max_tokens` must be greater than `thinking.budget_tokens`.")
    if (request.tool_choice or {}).get("type") in ("any", "tool"):
        return Refusal(400, message="Thinking may not be enabled when tool_choice forces tool use.")
    return None


def _tools_problem(tools: list[dict[str, Any]]) -> Refusal | None:
    for at, tool in enumerate(tools):
        if tool.get("type", "custom") == "custom":
            if not blocks.NAME.fullmatch(str(tool.get("name", ""))):
                return Refusal(400, message=f"tools.{at}.custom.name: should match {blocks.NAME.pattern}")
            schema = tool.get("input_schema")
            if not isinstance(schema, dict):
                return Refusal(400, message=f"tools.{at}.custom.input_schema: Field required")
            if cast("dict[str, Any]", schema).get("type") != "object":
                return Refusal(400, message=f"tools.{at}.custom.input_schema.type: should be 'object'")
        elif tool["type"] == "function":
            return Refusal(400, message=f"tools.{at}: 'function' is none of the expected tags")
    return None


def _tools(tools: list[dict[str, Any]], choice: dict[str, Any]) -> tuple[Tool, ...]:
    offered = [Tool(t["name"], t["input_schema"]) for t in tools if t.get("type", "custom") == "custom"]
    return callable_tools(offered, forbidden=choice.get("type") == "none", named=choice.get("name"))


def _schema(config: dict[str, Any]) -> dict[str, Any] | None:
    format = config.get("format")
    schema = cast("dict[str, Any]", format).get("schema") if isinstance(format, dict) else None
    return cast("dict[str, Any]", schema) if isinstance(schema, dict) else None
