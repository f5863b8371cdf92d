"""A whole message, and what its events share with it."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail_sandbox import seals
from keyrail_sandbox.answer import Answer, Call
from keyrail_sandbox.anthropic_messages.blocks import OWNER
from keyrail_sandbox.ask import Ask
from keyrail_sandbox.behaviour import Behaviour

encode = msgspec.json.Encoder().encode
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "filter": "refusal",
    "refusal": "refusal",
}
_EXPLANATION = "The answer was stopped."
NONSENSE: dict[str, Any] = {"input_tokens": "many", "output_tokens": -1, "cache_read_input_tokens": []}


def whole(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """A message, with `sandbox.seen` when the request had keys that Anthropic does not define."""
    message = envelope(ask, None if behaviour.fault == "null-choices" else _content(ask, answer))
    message.update(stop_of(answer))
    if not behaviour.no_usage:
        message["usage"] = usage_of(answer, behaviour)
    if ask.unknown:
        message["sandbox"] = {"seen": ask.unknown}
    return encode(message)


def count(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """The number of the prompt's tokens."""
    return encode({"input_tokens": answer.prompt_tokens})


def envelope(ask: Ask, content: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A message that has not ended and says nothing of usage."""
    return {
        "id": f"msg_{ask.fingerprint}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def stop_of(answer: Answer) -> dict[str, Any]:
    """How the message ended; `stop_details` explain a refusal."""
    stop: dict[str, Any] = {"stop_reason": _STOP_REASONS[answer.finish], "stop_sequence": None}
    if answer.finish in ("filter", "refusal"):
        said = answer.text if answer.finish == "refusal" else _EXPLANATION
        stop["stop_details"] = {"type": "refusal", "category": "general_harms", "explanation": said}
    return stop


def usage_of(answer: Answer, behaviour: Behaviour, *, output: int | None = None) -> dict[str, Any]:
    """Usage; `input_tokens` are those that the cache had nothing to do with."""
    if behaviour.nonsense_usage:
        return NONSENSE
    read, written = answer.cached_tokens, answer.written_tokens
    usage: dict[str, Any] = {
        "input_tokens": answer.prompt_tokens - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written - written // 2,
            "ephemeral_1h_input_tokens": written // 2,
        },
        "output_tokens": answer.completion_tokens if output is None else output,
        "service_tier": "standard",
    }
    if answer.reasoning and output is None:
        usage["output_tokens_details"] = {"thinking_tokens": len(answer.reasoning)}
    return usage


def signature(shown: str) -> str:
    """The signature of a thinking block that shows this."""
    return seals.seal(OWNER, seals.digest(shown))


def call_block(ask: Ask, position: int, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """A tool use with this input."""
    return {
        "type": "tool_use",
        "id": f"toolu_{ask.fingerprint}{position}",
        "name": call.name,
        "input": given,
    }


def _content(ask: Ask, answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        shown = answer.thoughts if ask.thoughts else ""
        blocks.append({"type": "thinking", "thinking": shown, "signature": signature(shown)})
    if answer.pieces and answer.finish != "refusal":
        blocks.append({"type": "text", "text": answer.text})
    blocks.extend(call_block(ask, at, call, _input(call, answer)) for at, call in enumerate(answer.calls))
    return blocks


def _input(call: Call, answer: Answer) -> dict[str, Any]:
    """The arguments; what is no JSON is given as Anthropic wants it back, what was cut off is lost."""
    if not call.pieces:
        return {}
    try:
        return msgspec.json.decode(call.text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {} if answer.finish == "length" else {"INVALID_JSON": call.text}
