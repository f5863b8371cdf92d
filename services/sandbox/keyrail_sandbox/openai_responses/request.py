"""Requests for a response: what is asked, and what OpenAI would not take."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec

from keyrail_sandbox.ask import NOWHERE, Ask, Came, Refusal, Tool, callable_tools, fingerprint, tokens
from keyrail_sandbox.behaviour import parse
from keyrail_sandbox.dialect import unknown_fields
from keyrail_sandbox.openai_responses import items

# Beyond the fields of `_Body`: what OpenAI defines and the sandbox accepts without acting on it.
_IGNORED = """context_management max_tool_calls metadata moderation prompt prompt_cache_key
    prompt_cache_options prompt_cache_retention safety_identifier store stream_options temperature top_p
    truncation user"""
_TIERS = frozenset({"default", "flex", "priority", "scale", "ultrafast"})


class _Text(msgspec.Struct):
    format: dict[str, Any] | None = None
    verbosity: str | None = None


class _Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class _Body(msgspec.Struct):
    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    include: list[str] | None = None
    service_tier: str | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    background: bool | None = None


_KNOWN = frozenset(_IGNORED.split()) | frozenset(_Body.__struct_fields__)
_decode = msgspec.json.Decoder(_Body).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read(body: bytes, came: Came = NOWHERE) -> Ask | Refusal:
    """The request, or a 400 (in strict models also for fields that OpenAI does not define)."""
    try:
        request = _decode(body)
        keys = _decode_keys(body).keys()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal(400, message=f"The body can't be read: {error}")
    unknown = tuple(key for key in keys if key not in _KNOWN)
    behaviour = parse(request.model)
    given = _items(request.input)
    refusal = (
        unknown_fields(unknown, behaviour)
        or _stateful(request)
        or _tools_problem(request.tools or [])
        or _format_problem(request.text)
        or items.problem(given, reasons=behaviour is not None and behaviour.reasoning)
    )
    if refusal is not None:
        return refusal
    texts = ([request.instructions] if request.instructions else []) + [items.text_of(i) for i in given]
    return Ask(
        model=request.model,
        text=items.question(given),
        prompt_tokens=sum(map(tokens, texts)),
        stream=bool(request.stream),
        limit=request.max_output_tokens,
        tools=_tools(request),
        parallel=request.parallel_tool_calls is not False,
        results=items.results(given),
        schema=_schema(request.text),
        media=items.media_of(given),
        thinking=request.reasoning is None or request.reasoning.effort != "none",
        thoughts=request.reasoning is not None and request.reasoning.summary is not None,
        sealed="reasoning.encrypted_content" in (request.include or ()),
        alternatives=request.top_logprobs or 0,
        tier=request.service_tier if request.service_tier in _TIERS else "default",
        fingerprint=fingerprint(body),
        unknown=unknown,
    )


def _items(given: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _stateful(request: _Body) -> Refusal | None:
    if request.previous_response_id is not None:
        return Refusal(
            400,
            code="previous_response_not_found",
            message=f"Previous response with id '{request.previous_response_id}' not found.",
            param="previous_response_id",
        )
    if request.conversation is not None:
        return Refusal(404, code="not_found", message="No such conversation.", param="conversation")
    if request.background:
        return Refusal(400, message="The sandbox has no background mode.", param="background")
    return None


def _tools_problem(tools: list[dict[str, Any]]) -> Refusal | None:
    for at, tool in enumerate(tools):
        if tool.get("type") in ("function", "custom") and not isinstance(tool.get("name"), str):
            param = f"tools[{at}].name"
            return Refusal(
                400,
                code="missing_required_parameter",
                message=f"Missing required parameter: '{param}'.",
                param=param,
            )
        if not isinstance(tool.get("type"), str):
            param = f"tools[{at}].type"
            return Refusal(400, message=f"Missing required parameter: '{param}'.", param=param)
    return None


def _format_problem(text: _Text | None) -> Refusal | None:
    format = text.format if text else None
    if format and format.get("type") == "json_schema":
        for field in ("name", "schema"):
            if field not in format:
                param = f"text.format.{field}"
                return Refusal(
                    400,
                    code="missing_required_parameter",
                    message=f"Missing required parameter: '{param}'.",
                    param=param,
                )
    return None


def _tools(request: _Body) -> tuple[Tool, ...]:
    offered = [
        Tool(tool["name"], tool.get("parameters") or {})
        for tool in request.tools or ()
        if tool["type"] == "function"
    ]
    choice = request.tool_choice
    named = choice.get("name") if isinstance(choice, dict) else None
    return callable_tools(offered, forbidden=choice == "none", named=named)


def _schema(text: _Text | None) -> dict[str, Any] | None:
    schema = text.format.get("schema") if text and text.format else None
    return cast("dict[str, Any]", schema) if isinstance(schema, dict) else None
