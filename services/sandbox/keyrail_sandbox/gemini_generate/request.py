"""Requests to generate: what is asked, and what Google would not take."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from keyrail_sandbox.ask import NOWHERE, Ask, Came, Refusal, Tool, callable_tools, fingerprint, tokens
from keyrail_sandbox.behaviour import parse
from keyrail_sandbox.dialect import unknown_fields
from keyrail_sandbox.gemini_generate import contents as turns
from keyrail_sandbox.gemini_generate.contents import field

_Dict = dict[str, Any]
_FIELDS = """contents systemInstruction tools toolConfig safetySettings generationConfig cachedContent
    serviceTier store model labels system_instruction tool_config safety_settings generation_config
    cached_content service_tier"""
_KNOWN = frozenset(_FIELDS.split())
_decode = msgspec.json.Decoder(_Dict).decode


def decode(body: bytes) -> _Dict | Refusal:
    """The body, or a 400."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal(400, message=f"Invalid JSON payload received. {error}")


def read(body: bytes, came: Came = NOWHERE) -> Ask | Refusal:
    """The request, or a 400 (in strict models also for fields that Google does not define)."""
    request = decode(body)
    return request if isinstance(request, Refusal) else _ask(request, body, came)


def read_count(body: bytes, came: Came = NOWHERE) -> Ask | Refusal:
    """A request to count tokens: contents alone, or a whole request inside."""
    request = decode(body)
    if isinstance(request, Refusal):
        return request
    inner = field(request, "generateContentRequest")
    return _ask(cast("_Dict", inner) if isinstance(inner, dict) else request, body, came)


def _ask(request: _Dict, body: bytes, came: Came) -> Ask | Refusal:
    model = came.model or ""
    behaviour = parse(model)
    unknown = tuple(key for key in request if key not in _KNOWN)
    config = _object(request, "generationConfig")
    refusal = (
        unknown_fields(unknown, behaviour)
        or _shape_problem(request)
        or _tools_problem(_declarations(request))
        or _config_problem(config)
        or turns.problem(request["contents"], reasons=behaviour is not None and behaviour.reasoning)
    )
    if refusal is not None:
        return refusal
    contents = cast("list[_Dict]", request["contents"])
    system = turns.text_of(field(request, "systemInstruction"))
    texts = ([system] if system else []) + [turns.text_of(content) for content in contents]
    thinking = _object(config, "thinkingConfig")
    return Ask(
        model=model,
        text=turns.question(contents),
        prompt_tokens=sum(map(tokens, texts)),
        stream=came.stream,
        array=came.stream and not came.sse,
        limit=field(config, "maxOutputTokens"),
        tools=_tools(request),
        results=turns.results(contents),
        schema=field(config, "responseJsonSchema") or field(config, "responseSchema"),
        media=turns.media_of(contents),
        begun=texts[-1] if field(contents[-1], "role") == "model" else "",
        thinking=field(thinking, "thinkingBudget") != 0,
        thoughts=field(thinking, "includeThoughts") is True,
        alternatives=field(config, "logprobs") or 0,
        fingerprint=fingerprint(model.encode() + body),
        unknown=unknown,
    )


def _object(of: _Dict, name: str) -> _Dict:
    found = field(of, name)
    return cast("_Dict", found) if isinstance(found, dict) else {}


def _shape_problem(request: _Dict) -> Refusal | None:
    contents = request.get("contents")
    if not isinstance(contents, list) or not contents:
        return Refusal(400, message="* GenerateContentRequest.contents: contents is not specified")
    if not all(isinstance(content, dict) for content in cast("list[Any]", contents)):
        return Refusal(400, message="Invalid value at 'contents': each must be an object.")
    tools = request.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(t, dict) for t in cast("list[Any]", tools)):
        return Refusal(400, message="Invalid value at 'tools': each must be an object.")
    return None


def _declarations(request: _Dict) -> list[_Dict]:
    if not isinstance(request.get("tools"), list):
        return []
    tools = [cast("_Dict", tool) for tool in request["tools"] if isinstance(tool, dict)]
    return [cast("_Dict", declared) for t in tools for declared in field(t, "functionDeclarations") or []]


def _tools_problem(declarations: list[_Dict]) -> Refusal | None:
    for at, declared in enumerate(declarations):
        where = f"tools[0].function_declarations[{at}]"
        if not isinstance(declared.get("name"), str):
            return Refusal(400, message=f"{where}.name: must be given.")
        if (name := _foreign_keyword(declared.get("parameters"))) is not None:
            message = f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}.parameters'."
            return Refusal(400, message=message)
    return None


def _foreign_keyword(schema: Any) -> str | None:
    """`parameters` is Google's own kind of schema, which knows no `$schema`, `$ref` and the like."""
    if isinstance(schema, list):
        return next((found for item in cast("list[Any]", schema) if (found := _foreign_keyword(item))), None)
    if not isinstance(schema, dict):
        return None
    mine = cast("_Dict", schema)
    own = next((key for key in mine if key.startswith("$")), None)
    return own or _foreign_keyword(list(mine.values()))


def _config_problem(config: _Dict) -> Refusal | None:
    limit = field(config, "maxOutputTokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        return Refusal(400, message="max_output_tokens must be positive.")
    for name in ("responseSchema", "responseJsonSchema"):
        if field(config, name) is not None and field(config, "responseMimeType") != "application/json":
            return Refusal(400, message=f"{name} needs the response mime type application/json.")
        if not isinstance(field(config, name) or {}, dict):
            return Refusal(400, message=f"{name}: must be an object.")
    return None


def _tools(request: _Dict) -> tuple[Tool, ...]:
    offered = [
        Tool(
            declared["name"],
            cast("_Dict", field(declared, "parametersJsonSchema") or declared.get("parameters") or {}),
        )
        for declared in _declarations(request)
    ]
    calling = _object(_object(request, "toolConfig"), "functionCallingConfig")
    names = field(calling, "allowedFunctionNames") or [None]
    return callable_tools(offered, forbidden=calling.get("mode") == "NONE", named=names[0])
