"""Chat requests: what is asked, and what OpenAI would not take."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec

from keyrail_sandbox import media
from keyrail_sandbox.ask import NOWHERE, Ask, Came, Refusal, Tool, callable_tools, fingerprint, tokens
from keyrail_sandbox.behaviour import parse
from keyrail_sandbox.dialect import unknown_fields

# Beyond the fields of `_Body`: what OpenAI defines and the sandbox accepts without acting on it.
_IGNORED = """audio frequency_penalty function_call functions logit_bias logprobs metadata modalities
    moderation prediction presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention
    reasoning_effort safety_identifier seed stop store temperature top_p user verbosity web_search_options"""

_TIERS = frozenset({"default", "flex", "priority", "scale"})
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_PARTS = frozenset({"text", "image_url", "input_audio", "file", "refusal"})


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    image_url: dict[str, Any] | None = None
    input_audio: dict[str, Any] | None = None
    file: dict[str, Any] | None = None


class _Called(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Called] | None = None
    tool_call_id: str | None = None
    function_call: dict[str, Any] | None = None
    refusal: str | None = None
    audio: dict[str, Any] | None = None


class _Function(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Tool(msgspec.Struct):
    function: _Function | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


_Positive = Annotated[int, msgspec.Meta(ge=1)]


class _Body(msgspec.Struct):
    model: str
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: _Positive | None = None
    max_completion_tokens: _Positive | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    service_tier: str | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None


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
    unknown = () if keys <= _KNOWN else tuple(key for key in keys if key not in _KNOWN)
    if (refusal := unknown_fields(unknown, parse(request.model)) or _problem(request.messages)) is not None:
        return refusal
    options, messages = request.stream_options, request.messages
    texts = [_text(message) for message in messages]
    return Ask(
        model=request.model,
        text=next((texts[at] for at in reversed(range(len(texts))) if messages[at].role == "user"), ""),
        prompt_tokens=sum(map(tokens, texts)),
        stream=bool(request.stream),
        include_usage=options is not None and bool(options.include_usage),
        limit=request.max_completion_tokens or request.max_tokens,
        tools=_tools(request) if request.tools else (),
        parallel=request.parallel_tool_calls is not False,
        results=_results(messages, texts),
        schema=_schema(request.response_format) if request.response_format else None,
        media=_media(messages),
        begun=texts[-1] if messages[-1].role == "assistant" else "",
        alternatives=request.top_logprobs or 0,
        tier=request.service_tier if request.service_tier in _TIERS else "default",
        fingerprint=fingerprint(body),
        unknown=unknown,
    )


def _text(message: _Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text or "" for part in message.content or ())


def _problem(messages: list[_Message]) -> Refusal | None:
    """Roles and parts that do not exist, calls without answers, answers without calls."""
    open_calls: list[str] = []
    for at, message in enumerate(messages):
        where = f"messages[{at}]"
        if message.role not in _ROLES:
            return _bad(f"{where}.role", f"'{message.role}' is no role.")
        if isinstance(message.content, list):
            wrong = next((part.type for part in message.content if part.type not in _PARTS), None)
            if wrong is not None:
                return _bad(f"{where}.content", f"'{wrong}' is no type of content part.")
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                return _bad(
                    f"{where}.role", "A tool message must answer a call of the assistant message before it."
                )
            open_calls.remove(message.tool_call_id)
            continue
        if open_calls:
            return _unanswered(open_calls)
        if message.role == "assistant":
            open_calls = [call.id for call in message.tool_calls or ()]
            if not _says_something(message):
                return _bad(f"{where}.content", "An assistant message needs content or tool_calls, not null.")
        elif message.content is None:
            return _bad(f"{where}.content", "Content must be a string or a list, not null.")
    return _unanswered(open_calls) if open_calls else None


def _says_something(message: _Message) -> bool:
    return bool(
        message.content is not None
        or message.tool_calls
        or message.function_call
        or message.refusal is not None
        or message.audio
    )


def _bad(param: str, message: str) -> Refusal:
    return Refusal(400, message=f"{param}: {message}", param=param)


def _unanswered(calls: list[str]) -> Refusal:
    return _bad("messages", f"These tool_call_ids have no tool message that answers them: {', '.join(calls)}")


def _tools(request: _Body) -> tuple[Tool, ...]:
    offered = [Tool(f.name, f.parameters) for tool in request.tools or () if (f := tool.function)]
    choice, named = request.tool_choice, None
    if isinstance(choice, dict) and isinstance(function := choice.get("function"), dict):
        named = cast("dict[str, Any]", function).get("name")
    return callable_tools(offered, forbidden=choice == "none", named=named)


def _results(messages: list[_Message], texts: list[str]) -> tuple[str, ...] | None:
    if messages[-1].role != "tool":
        return None
    found: list[str] = []
    for message, text in zip(reversed(messages), reversed(texts), strict=True):
        if message.role != "tool":
            break
        found.append(text)
    return tuple(reversed(found))


def _schema(format: dict[str, Any]) -> dict[str, Any] | None:
    inner = cast("dict[str, Any]", format.get("json_schema") or {})
    schema = inner.get("schema")
    return cast("dict[str, Any]", schema) if isinstance(schema, dict) else None


def _media(messages: list[_Message]) -> tuple[str, ...]:
    found: list[str] = []
    for part in [part for m in messages if isinstance(m.content, list) for part in m.content]:
        if part.image_url is not None:
            found.append(media.of_url(part.image_url.get("url")))
        elif part.input_audio is not None:
            found.append(f"audio/{part.input_audio.get('format')}")
        elif part.file is not None:
            found.append(media.of_url(part.file.get("file_data")))
    return tuple(found)
