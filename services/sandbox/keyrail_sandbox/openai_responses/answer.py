"""A whole response, and what its events share with it."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail_sandbox import seals
from keyrail_sandbox.answer import Answer, Call
from keyrail_sandbox.ask import Ask
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.openai_logprobs import logprobs_of
from keyrail_sandbox.openai_responses.items import OWNER

_CREATED = 1_750_000_000  # any fixed instant: the same request gives the same bytes
_REASONS = {"length": "max_output_tokens", "filter": "content_filter"}
_NONSENSE = {"input_tokens": "many", "output_tokens": -1, "total_tokens": None, "input_tokens_details": []}

encode = msgspec.json.Encoder().encode


def envelope(ask: Ask, status: str) -> dict[str, Any]:
    """A response object without output or usage yet."""
    return {
        "id": f"resp_{ask.fingerprint}",
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": ask.limit,
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": ask.parallel,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": "auto" if ask.thoughts else None},
        "service_tier": ask.tier,
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
    }


def finished(ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, Any]:
    """The complete response object."""
    reason = _REASONS.get(answer.finish)
    response = envelope(ask, "incomplete" if reason else "completed")
    if reason:
        response["incomplete_details"] = {"reason": reason}
    response["output"] = (
        None if behaviour.fault == "null-choices" else _output(ask, answer, behaviour, bool(reason))
    )
    if behaviour.no_usage:
        del response["usage"]
    else:
        response["usage"] = _usage(answer, behaviour)
    if ask.unknown:
        response["sandbox"] = {"seen": ask.unknown}
    return response


def whole(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """A `response`, with `sandbox.seen` when the request had keys that OpenAI does not define."""
    return encode(finished(ask, answer, behaviour))


def _output(ask: Ask, answer: Answer, behaviour: Behaviour, cut: bool) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.reasoning:
        items.append(reasoning_item(ask, answer))
    status = "incomplete" if cut else "completed"
    if answer.calls:
        items.extend(call_item(ask, at, c, c.text, status) for at, c in enumerate(answer.calls))
    else:
        items.append(message_item(ask, [text_part(ask, answer, behaviour)], status))
    return items


def reasoning_item(ask: Ask, answer: Answer) -> dict[str, Any]:
    """The summary when it is wanted, and the encrypted content when it is."""
    own = f"rs_{ask.fingerprint}"
    item: dict[str, Any] = {"id": own, "type": "reasoning", "summary": []}
    if ask.thoughts:
        item["summary"] = [{"type": "summary_text", "text": answer.thoughts}]
    if ask.sealed:
        item["encrypted_content"] = seals.seal(OWNER, seals.digest(own))
    return item


def message_item(ask: Ask, parts: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """The assistant's message."""
    return {
        "id": f"msg_{ask.fingerprint}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": parts,
    }


def text_part(ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, Any]:
    """The message's one part: text or a refusal."""
    if answer.finish == "refusal":
        return {"type": "refusal", "refusal": answer.text}
    probable: list[Any] = logprobs_of(answer.pieces, ask.alternatives) if behaviour.logprobs else []
    return {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": probable}


def call_item(ask: Ask, position: int, call: Call, arguments: str, status: str) -> dict[str, Any]:
    """A function call with these arguments."""
    return {
        "id": f"fc_{ask.fingerprint}{position}",
        "type": "function_call",
        "status": status,
        "call_id": f"call_{ask.fingerprint}{position}",
        "name": call.name,
        "arguments": arguments,
    }


def _usage(answer: Answer, behaviour: Behaviour) -> dict[str, Any]:
    if behaviour.nonsense_usage:
        return _NONSENSE
    details: dict[str, Any] = {"cached_tokens": answer.cached_tokens}
    if behaviour.cached:
        long = answer.written_tokens // 2
        details["cache_write_tokens"] = answer.written_tokens
        details["cache_write_tokens_details"] = {
            "ttl_30m_tokens": answer.written_tokens - long,
            "ttl_12h_tokens": long,
        }
    return {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": details,
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": len(answer.reasoning)},
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
