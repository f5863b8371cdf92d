"""The same small conversation in each dialect: a request, its whole answer, and its answer as a stream."""

from __future__ import annotations

import json
from typing import Any

from keyrail.contracts.slips import Dialect

EVENTS = 100
"""Events with words in a stream; what begins and ends it comes on top."""
ASKED = "house-model"
MODELS: dict[Dialect, str] = {
    "openai-chat": "gpt-4.1-mini",
    "openai-responses": "gpt-4.1-mini",
    "anthropic-messages": "claude-sonnet-4-5",
    "gemini-generate": "gemini-2.5-flash",
}
SYSTEM = (
    "You answer travellers at a small railway station. Be brief, name the platform, "
    "and look departures up before you promise any. Never guess a fare."
)
TURNS = (
    "When does the next train leave for the coast, and what does a ticket cost?",
    "The next one leaves at 14:05 from platform 3. Shall I look the fare up as well?",
    "Yes please, for two adults and a bicycle, coming back on Sunday evening.",
)
TOOLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "find_departures",
        "Departures from this station towards a place.",
        {
            "type": "object",
            "properties": {"to": {"type": "string"}, "after": {"type": "string"}},
            "required": ["to"],
        },
    ),
    (
        "price_of",
        "The fare for some travellers.",
        {
            "type": "object",
            "properties": {"to": {"type": "string"}, "adults": {"type": "integer", "minimum": 1}},
            "required": ["to", "adults"],
        },
    ),
)
ANSWER = "Two adults and a bicycle: 48.20 there and back. The last train on Sunday leaves the coast at 21:40."
_SOME = (
    *(
        "The",
        " last",
        " train",
        " for",
        ' "',
        "the",
        " coast",
        '"',
        " on",
        " Sunday",
        " leaves",
        " at",
        " 21",
        ":",
    ),
    *(
        "40",
        ".\n\n",
        "For",
        " two",
        " adults",
        " and",
        " a",
        " bicycle",
        " that",
        " is",
        " 48",
        ".",
        "20",
        " €",
        ".",
    ),
)
WORDS = tuple(_SOME[n % len(_SOME)] for n in range(EVENTS))


def _pack(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _chat_request(stream: bool) -> dict[str, Any]:
    tools = [
        {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}
        for name, about, schema in TOOLS
    ]
    roles = ("user", "assistant", "user")
    turns = [{"role": role, "content": text} for role, text in zip(roles, TURNS, strict=True)]
    body: dict[str, Any] = {
        "model": ASKED,
        "messages": [{"role": "system", "content": SYSTEM}, *turns],
        "tools": tools,
        "temperature": 0.2,
        "max_tokens": 400,
    }
    return body | {"stream": True, "stream_options": {"include_usage": True}} if stream else body


def _responses_request(stream: bool) -> dict[str, Any]:
    tools = [
        {"type": "function", "name": name, "description": about, "parameters": schema, "strict": False}
        for name, about, schema in TOOLS
    ]
    kinds = (("user", "input_text"), ("assistant", "output_text"), ("user", "input_text"))
    turns = [
        {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
        for (role, kind), text in zip(kinds, TURNS, strict=True)
    ]
    body: dict[str, Any] = {
        "model": ASKED,
        "instructions": SYSTEM,
        "input": turns,
        "tools": tools,
        "temperature": 0.2,
        "max_output_tokens": 400,
        "store": False,
    }
    return body | {"stream": True} if stream else body


def _messages_request(stream: bool) -> dict[str, Any]:
    tools = [{"name": name, "description": about, "input_schema": schema} for name, about, schema in TOOLS]
    roles = ("user", "assistant", "user")
    turns = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in zip(roles, TURNS, strict=True)
    ]
    body: dict[str, Any] = {
        "model": ASKED,
        "system": SYSTEM,
        "messages": turns,
        "tools": tools,
        "temperature": 0.2,
        "max_tokens": 400,
    }
    return body | {"stream": True} if stream else body


def request(face: Dialect, *, stream: bool = False) -> dict[str, Any]:
    """What a client of this dialect sends, about a kilobyte as JSON. KeyError where no client speaks it."""
    return _REQUESTS[face](stream)


def request_bytes(face: Dialect, *, stream: bool = False) -> bytes:
    """The same as bytes."""
    return _pack(request(face, stream=stream))


_REQUESTS = {
    "openai-chat": _chat_request,
    "openai-responses": _responses_request,
    "anthropic-messages": _messages_request,
}
_CHAT_USAGE: dict[str, Any] = {
    "prompt_tokens": 210,
    "completion_tokens": EVENTS,
    "total_tokens": 210 + EVENTS,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
_RESPONSES_USAGE: dict[str, Any] = {
    "input_tokens": 210,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": EVENTS,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 210 + EVENTS,
}
_MESSAGES_USAGE: dict[str, Any] = {
    "input_tokens": 210,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": EVENTS,
    "service_tier": "standard",
}


def _gemini_usage(words: int) -> dict[str, Any]:
    return {
        "promptTokenCount": 210,
        "candidatesTokenCount": words,
        "totalTokenCount": 210 + words,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 210}],
    }


def _chat_head(kind: str) -> dict[str, Any]:
    head = {"id": "chatcmpl-Cq7pZk2mT4vXw", "object": kind, "created": 1_760_000_000}
    return head | {"model": MODELS["openai-chat"], "service_tier": "default", "system_fingerprint": "fp_1"}


def _chat_answer() -> dict[str, Any]:
    message = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**_chat_head("chat.completion"), "choices": [choice], "usage": _CHAT_USAGE}


def _response(status: str, text: str | None) -> dict[str, Any]:
    return {
        "id": "resp_0b7c5d2e9f",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": MODELS["openai-responses"],
        "output": [] if text is None else [_message(text)],
        "parallel_tool_calls": True,
        "temperature": 0.2,
        "tool_choice": "auto",
        "usage": None if text is None else _RESPONSES_USAGE,
    }


def _message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": "msg_5c1f",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def _messages_answer() -> dict[str, Any]:
    return {
        "id": "msg_01Qk7",
        "type": "message",
        "role": "assistant",
        "model": MODELS["anthropic-messages"],
        "content": [{"type": "text", "text": ANSWER}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _MESSAGES_USAGE,
    }


def _gemini(text: str, finish: str | None, words: int = EVENTS) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": _gemini_usage(words),
        "modelVersion": MODELS["gemini-generate"],
        "responseId": "kD3xaN7fM",
    }


def answer(wire: Dialect) -> bytes:
    """A provider's whole answer."""
    answers = {
        "openai-chat": _chat_answer,
        "openai-responses": lambda: _response("completed", ANSWER),
        "anthropic-messages": _messages_answer,
        "gemini-generate": lambda: _gemini(ANSWER, "STOP"),
    }
    return _pack(answers[wire]())


def _chat_chunks() -> list[dict[str, Any]]:
    head = _chat_head("chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice], "usage": None, "obfuscation": "h2Q8x"}

    return [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": word}) for word in WORDS),
        chunk({}, "stop"),
        {**head, "choices": [], "usage": _CHAT_USAGE},
    ]


def _responses_events() -> list[dict[str, Any]]:
    place = {"item_id": "msg_5c1f", "output_index": 0, "content_index": 0}
    at = {"output_index": 0}
    text = "".join(WORDS)
    whole = _message(text)
    part, empty = whole["content"][0], {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    begun = {**whole, "status": "in_progress", "content": []}
    delta = {"type": "response.output_text.delta", **place, "logprobs": [], "obfuscation": "h2Q8x"}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response("in_progress", None)},
        {"type": "response.in_progress", "response": _response("in_progress", None)},
        {"type": "response.output_item.added", **at, "item": begun},
        {"type": "response.content_part.added", **place, "part": empty},
        *({**delta, "delta": word} for word in WORDS),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", **at, "item": whole},
        {"type": "response.completed", "response": _response("completed", text)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _messages_events() -> list[dict[str, Any]]:
    message = {**_messages_answer(), "content": [], "stop_reason": None}
    block = {"type": "content_block_delta", "index": 0}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({**block, "delta": {"type": "text_delta", "text": word}} for word in WORDS),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": EVENTS}},
        {"type": "message_stop"},
    ]


def stream(wire: Dialect) -> list[bytes]:
    """A provider's streamed answer, event by event: EVENTS of them have words."""
    if wire == "openai-chat":
        return [*(b"data: %b\n\n" % _pack(chunk) for chunk in _chat_chunks()), b"data: [DONE]\n\n"]
    if wire == "gemini-generate":
        last = EVENTS - 1
        chunks = (_gemini(word, "STOP" if n == last else None, n + 1) for n, word in enumerate(WORDS))
        return [b"data: %b\r\n\r\n" % _pack(chunk) for chunk in chunks]
    events = _responses_events() if wire == "openai-responses" else _messages_events()
    return [b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _pack(event)) for event in events]


def words(face: Dialect, streamed: bytes) -> str:
    """What a client of this dialect reads as the text of a stream."""
    found: list[str] = []
    for block in streamed.split(b"\n\n"):
        data = block[block.find(b"data: ") + 6 :] if b"data: " in block else b""
        if data[:1] != b"{":
            continue
        event: dict[str, Any] = json.loads(data)
        if face == "openai-chat":
            found += [choice["delta"].get("content") or "" for choice in event["choices"]]
        elif event["type"] == "response.output_text.delta":
            found.append(event["delta"])
        elif event["type"] == "content_block_delta":
            found.append(event["delta"]["text"])
    return "".join(found)


def text(face: Dialect, body: bytes) -> str:
    """What a client of this dialect reads as the text of a whole answer."""
    value: dict[str, Any] = json.loads(body)
    if face == "openai-chat":
        return value["choices"][0]["message"]["content"]
    if face == "openai-responses":
        return value["output"][0]["content"][0]["text"]
    return value["content"][0]["text"]
