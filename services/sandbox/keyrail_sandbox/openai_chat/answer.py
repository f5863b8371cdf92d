"""A whole chat completion, and what its chunks share with it."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail_sandbox.answer import Answer, Call
from keyrail_sandbox.ask import Ask
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.openai_logprobs import logprobs_of

CREATED = 1_750_000_000
"""Any fixed instant: the same request gives the same bytes."""

encode = msgspec.json.Encoder().encode
_FINISH = {"filter": b"content_filter", "refusal": b"stop"}
_NONSENSE = b'{"prompt_tokens":"many","completion_tokens":-1,"total_tokens":null,"prompt_tokens_details":[]}'


def head(kind: bytes, ask: Ask) -> bytes:
    """An answer's beginning, as far as its choices."""
    return (
        b'{"id":"chatcmpl-%b","object":"%b","created":%d,"model":%b,"service_tier":"%b",'
        b'"system_fingerprint":"fp_sandbox","choices":'
        % (ask.fingerprint.encode(), kind, CREATED, encode(ask.model), ask.tier.encode())
    )


def finish_of(answer: Answer) -> bytes:
    """OpenAI's finish reason."""
    return _FINISH.get(answer.finish) or answer.finish.encode()


def usage_of(answer: Answer, behaviour: Behaviour) -> bytes:
    """The usage object; details are parts of the totals."""
    if behaviour.nonsense_usage:
        return _NONSENSE
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    written = b',"cache_write_tokens":%d' % answer.written_tokens if behaviour.cached else b""
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d%b,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
        % (prompt, completion, prompt + completion, answer.cached_tokens, written, len(answer.reasoning))
    )


def call_object(ask: Ask, position: int, call: Call, arguments: str) -> dict[str, Any]:
    """A tool call with these arguments."""
    function = {"name": call.name, "arguments": arguments}
    return {"id": f"call_{ask.fingerprint}{position}", "type": "function", "function": function}


def whole(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """A `chat.completion`, with `sandbox.seen` when the request had keys that OpenAI does not define."""
    return b"".join(
        (
            head(b"chat.completion", ask),
            b"null" if behaviour.fault == "null-choices" else _choices(ask, answer, behaviour),
            b"" if behaviour.no_usage else b',"usage":' + usage_of(answer, behaviour),
            b',"sandbox":' + encode({"seen": ask.unknown}) if ask.unknown else b"",
            b"}",
        )
    )


def _choices(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    text = encode(answer.text)
    content, refused, more, probabilities = text, b"null", b"", b"null"
    if answer.finish == "refusal":
        content, refused = b"null", text
    if answer.reasoning:
        more = b',"reasoning_content":' + encode(answer.thoughts)
    if answer.calls:
        calls = [call_object(ask, at, call, call.text) for at, call in enumerate(answer.calls)]
        content, more = b"null", more + b',"tool_calls":' + encode(calls)
    elif behaviour.logprobs:
        found = logprobs_of(answer.pieces, ask.alternatives)
        probabilities = encode({"content": found, "refusal": None})
    return (
        b'[{"index":0,"message":{"role":"assistant","content":%b,"refusal":%b,"annotations":[]%b},'
        b'"logprobs":%b,"finish_reason":"%b"}]' % (content, refused, more, probabilities, finish_of(answer))
    )
