"""OpenAI's chat completions: requests in, answers, chunks and errors out. Pure but for the clock."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec

from keyrail_sandbox.answer import Answer
from keyrail_sandbox.ask import Ask, Refusal, Tool

# Beyond the fields of `_Body`: what OpenAI defines and the sandbox accepts without acting on it.
_IGNORED = """audio frequency_penalty function_call functions logit_bias logprobs metadata modalities
    parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options
    prompt_cache_retention reasoning_effort response_format safety_identifier seed stop store temperature
    tool_choice top_logprobs top_p user verbosity web_search_options"""

_TIERS = frozenset({"default", "flex", "priority", "scale"})


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


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
    service_tier: str | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None


_KNOWN = frozenset(_IGNORED.split()) | frozenset(_Body.__struct_fields__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Body).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read(body: bytes) -> Ask | Refusal:
    """The request, or a 400."""
    try:
        request = _decode(body)
        keys = _decode_keys(body).keys()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal(400, message=f"The body can't be read: {error}")
    question, tokens = "", 0
    for message in request.messages:
        text = message.content if isinstance(message.content, str) else _joined(message.content)
        tokens += (len(text) + 3) // 4 + 3
        if message.role == "user":
            question = text
    options = request.stream_options
    return Ask(
        model=request.model,
        text=question,
        prompt_tokens=tokens,
        stream=bool(request.stream),
        include_usage=options is not None and bool(options.include_usage),
        limit=request.max_completion_tokens or request.max_tokens,
        tool=_tool(request) if request.tools else None,
        tier=request.service_tier if request.service_tier in _TIERS else "default",
        unknown=() if keys <= _KNOWN else tuple(key for key in keys if key not in _KNOWN),
    )


def _joined(parts: list[_Part] | None) -> str:
    return "".join(part.text or "" for part in parts or ())


def _tool(request: _Body) -> Tool | None:
    if request.messages[-1].role == "tool":
        return None
    offered = (tool.function for tool in request.tools or ())
    return next((Tool(function.name, function.parameters) for function in offered if function), None)


# status: (type, code, message)
_ERRORS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", "invalid_value", "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "The API key is not correct."),
    403: ("request_forbidden", "forbidden", "This key may not do that."),
    404: ("invalid_request_error", "model_not_found", "There is no such model."),
    429: ("requests", "rate_limit_exceeded", "The rate limit is reached."),
    500: ("server_error", None, "The sandbox failed, as it was asked to."),
    502: ("server_error", None, "Bad gateway."),
    503: ("server_error", "server_is_overloaded", "The sandbox is overloaded, as it was asked to be."),
    529: ("overloaded_error", "server_is_overloaded", "Overloaded."),
}
_ERRORS_BY_CODE: dict[str, tuple[str, str, str | None]] = {
    "insufficient_quota": ("insufficient_quota", "No credit is left on this account.", None),
    "context_length_exceeded": (
        "invalid_request_error",
        "The messages are longer than the model's context.",
        "messages",
    ),
}


def error(refusal: Refusal) -> bytes:
    """OpenAI's error object."""
    fallback = ("invalid_request_error" if refusal.status < 500 else "server_error", None, "Refused.")
    kind, code, message = _ERRORS.get(refusal.status, fallback)
    param = refusal.param
    if refusal.code in _ERRORS_BY_CODE:
        kind, message, param = _ERRORS_BY_CODE[refusal.code]
    return _encode(
        {
            "error": {
                "message": refusal.message or message,
                "type": kind,
                "param": param,
                "code": refusal.code or code,
            }
        }
    )


def error_event(refusal: Refusal) -> bytes:
    """An event whose data is the error object."""
    return b"data: " + error(refusal) + b"\n\n"


def _usage(answer: Answer) -> bytes:
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
        % (prompt, completion, prompt + completion, answer.cached_tokens, len(answer.reasoning))
    )


def _head(kind: bytes, ask: Ask, request_id: str) -> bytes:
    return (
        b'{"id":"chatcmpl-%b","object":"%b","created":%d,"model":%b,"service_tier":"%b",'
        b'"system_fingerprint":"fp_sandbox","choices":['
        % (request_id[4:].encode(), kind, int(time.time()), _encode(ask.model), ask.tier.encode())
    )


def whole(ask: Ask, answer: Answer, request_id: str, *, usage: bool) -> bytes:
    """A `chat.completion`, with `sandbox.seen` when the request had keys that OpenAI does not define."""
    text = "".join(answer.pieces)
    reasoning = b',"reasoning_content":' + _encode("".join(answer.reasoning)) if answer.reasoning else b""
    if answer.tool is None:
        content, calls = _encode(text), b""
    else:
        function = {"name": answer.tool, "arguments": text}
        call = {"id": _tool_call_id(request_id), "type": "function", "function": function}
        content, calls = b"null", b',"tool_calls":' + _encode([call])
    return b"".join(
        (
            _head(b"chat.completion", ask, request_id),
            b'{"index":0,"message":{"role":"assistant","content":',
            content,
            b',"refusal":null,"annotations":[]',
            reasoning,
            calls,
            b'},"logprobs":null,"finish_reason":"%b"}]' % answer.finish.encode(),
            b',"usage":' + _usage(answer) if usage else b"",
            b',"sandbox":' + _encode({"seen": ask.unknown}) if ask.unknown else b"",
            b"}",
        )
    )


def _tool_call_id(request_id: str) -> str:
    return "call_" + request_id[4:]


class ChunkEvents:
    """The events of one stream. All but the text of a chunk is rendered once."""

    def __init__(self, ask: Ask, answer: Answer, request_id: str, *, usage: bool) -> None:
        self._answer = answer
        self._with_usage = usage and ask.include_usage
        self._head = b"data: " + _head(b"chat.completion.chunk", ask, request_id)
        self._tail = b',"usage":null}\n\n' if self._with_usage else b"}\n\n"
        self._after = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        delta = self._head + b'{"index":0,"delta":{'
        self._before_reasoning = delta + b'"reasoning_content":'
        if answer.tool is None:
            self.opening = delta + b'"role":"assistant","content":"","refusal":null' + self._after
            self._before_content, self._after_content = delta + b'"content":', self._after
        else:
            call = {
                "index": 0,
                "id": _tool_call_id(request_id),
                "type": "function",
                "function": {"name": answer.tool, "arguments": ""},
            }
            opening = b'"role":"assistant","content":null,"tool_calls":[' + _encode(call) + b"]"
            self.opening = delta + opening + self._after
            self._before_content = delta + b'"tool_calls":[{"index":0,"function":{"arguments":'
            self._after_content = b"}}]" + self._after

    def reasoning(self, piece: str) -> bytes:
        """A delta of `reasoning_content`."""
        return self._before_reasoning + _encode(piece) + self._after

    def content(self, piece: str) -> bytes:
        """A delta of `content`, or of the tool call's arguments."""
        return self._before_content + _encode(piece) + self._after_content

    def closing(self, *, done: bool) -> bytes:
        """The chunk with the finish reason, the usage chunk when it was asked for, `[DONE]`."""
        finish = (
            b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}]' % self._answer.finish.encode()
        )
        usage = b'],"usage":%b}\n\n' % _usage(self._answer)
        return b"".join(
            (
                self._head + finish + self._tail,
                self._head + usage if self._with_usage else b"",
                b"data: [DONE]\n\n" if done else b"",
            )
        )


def events(ask: Ask, answer: Answer, request_id: str, *, usage: bool) -> ChunkEvents:
    """The chunks of a streamed answer."""
    return ChunkEvents(ask, answer, request_id, usage=usage)
