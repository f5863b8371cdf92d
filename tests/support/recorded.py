"""Recorded exchanges with real providers, and what they say, read without any of the project's own code."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WIRE = Path(__file__).parents[2] / "../shared/data/wire"
PROVIDERS = ("openai", "anthropic", "gemini", "groq", "mistral", "openrouter", "cerebras")
HERE = all((WIRE / f"{name}.jsonl.gz").exists() for name in PROVIDERS)
MARK = "--"
"""Between a model's name and a case's id: the replaying server finds the case by it."""


@dataclass(frozen=True)
class Case:
    """One exchange. `wire` names the provider's dialect; `stream`: the answer is an event stream."""

    provider: str
    id: str
    wire: str
    path: str
    model: str
    request: dict[str, Any]
    status: int
    headers: dict[str, str]
    body: bytes
    stream: bool
    failed: bool  # an error, in a 200 too

    def __str__(self) -> str:
        return f"{self.provider}-{self.id}"

    @property
    def asked(self) -> str:
        """The model to ask Keyrail for."""
        return f"{self.provider}/{self.model}{MARK}{self.id}"


@dataclass
class Said:
    """What an answer says: words, calls, and tokens under the ledger's rules; None: not said."""

    text: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached: int | None = None


def load() -> list[Case]:
    """Every recorded POST that asks for an answer, empty where the recordings are not at hand."""
    return [case for name in PROVIDERS for row in _rows(name) if (case := _case(name, row)) is not None]


def _rows(name: str) -> list[dict[str, Any]]:
    if not HERE:
        return []
    with gzip.open(WIRE / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def _wire(provider: str, path: str) -> str | None:
    if provider == "gemini":
        verb = path.rpartition(":")[2]
        return "gemini-generate" if verb in ("generateContent", "streamGenerateContent") else None
    ends = {
        "/chat/completions": "openai-chat",
        "/responses": "openai-responses",
        "/messages": "anthropic-messages",
    }
    return next((wire for end, wire in ends.items() if path.endswith(end)), None)


def _case(provider: str, row: dict[str, Any]) -> Case | None:
    wire = _wire(provider, row["path"])
    if row["method"] != "POST" or wire is None or type(row["request"]) is not dict:
        return None
    stream = bool(row.get("sse"))
    if not stream and row["response"].get("status") in ("queued", "in_progress"):
        return None  # no answer yet
    model = row["request"].get("model") or row["path"].rpartition("/")[2].partition(":")[0]
    return Case(
        provider=provider,
        id=row["id"],
        wire=wire,
        path=row["path"],
        model=model,
        request=row["request"],
        status=row["status"],
        headers={name: str(value) for name, value in row["response_headers"].items()},
        body=row["sse"].encode() if stream else json.dumps(row["response"]).encode(),
        stream=stream,
        failed="error" in row["tags"],
    )


def said(case: Case) -> Said:
    """What the recorded answer says."""
    return reader(case.wire)(_events(case.body) if case.stream else [json.loads(case.body)])


def reader(wire: str) -> Callable[[list[dict[str, Any]]], Said]:
    """What reads the events of a stream in this dialect, or the one answer, as plain objects."""
    return {
        "openai-chat": _chat,
        "openai-responses": _responses,
        "anthropic-messages": _messages,
        "gemini-generate": _gemini,
    }[wire]


def _events(body: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in body.decode().splitlines():
        if line.startswith("data:") and (data := line[5:].strip()) != "[DONE]":
            found.append(json.loads(data))
    return found


def _chat(events: list[dict[str, Any]]) -> Said:
    heard = Said()
    calls: dict[int, list[str]] = {}
    for event in events:
        for choice in (event.get("choices") or [])[:1]:
            piece = choice.get("delta") or choice.get("message") or {}
            heard.text += _text(piece.get("content"))
            for number, call in enumerate(piece.get("tool_calls") or []):
                known = calls.setdefault(call.get("index", number), ["", ""])
                function = call.get("function") or call.get("custom") or {}
                known[0] = known[0] or function.get("name") or ""
                known[1] += function.get("arguments") or function.get("input") or ""
        usage = event.get("usage") or (event.get("x_groq") or {}).get("usage")
        if usage:
            _chat_usage(heard, usage)
    heard.calls = [(name, arguments) for _, (name, arguments) in sorted(calls.items())]
    return heard


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    return content or ""


def _chat_usage(heard: Said, usage: dict[str, Any]) -> None:
    heard.input_tokens = usage["prompt_tokens"]
    heard.output_tokens = usage["completion_tokens"]
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    if usage.get("total_tokens") == usage["prompt_tokens"] + usage["completion_tokens"] + reasoning:
        heard.output_tokens = usage["completion_tokens"] + reasoning
    details = usage.get("prompt_tokens_details") or {}
    heard.cached = details.get("cached_tokens") or usage.get("num_cached_tokens")


def _responses(events: list[dict[str, Any]]) -> Said:
    heard = Said()
    last = events[-1]
    response = last.get("response", last)
    for item in response.get("output") or []:
        if item["type"] == "message":
            heard.text += "".join(part.get("text") or "" for part in item["content"])
        elif item["type"] == "function_call":
            heard.calls.append((item["name"], item["arguments"]))
        elif item["type"] == "custom_tool_call":
            heard.calls.append((item["name"], item["input"]))
    usage = response.get("usage")
    if usage:
        heard.input_tokens, heard.output_tokens = usage["input_tokens"], usage["output_tokens"]
        heard.cached = (usage.get("input_tokens_details") or {}).get("cached_tokens")
    return heard


def _messages(events: list[dict[str, Any]]) -> Said:
    if len(events) == 1 and "content" in events[0]:
        return _message(events[0])
    blocks: dict[int, dict[str, Any]] = {}
    usage: dict[str, Any] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                usage |= event["message"]["usage"]
            case "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "arguments": ""}
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                block["text"] = (block.get("text") or "") + (delta.get("text") or "")
                block["arguments"] += delta.get("partial_json") or ""
            case "message_delta":
                usage |= {name: value for name, value in event["usage"].items() if value is not None}
            case _:
                pass
    for block in blocks.values():
        if block["type"] == "tool_use" and block["arguments"]:
            block["input"] = json.loads(block["arguments"])
    return _message({"content": [*blocks.values()], "usage": usage})


def _message(message: dict[str, Any]) -> Said:
    heard = Said()
    for block in message["content"]:
        if block["type"] == "text":
            heard.text += block["text"]
        elif block["type"] == "tool_use":
            heard.calls.append((block["name"], json.dumps(block["input"])))
    usage = message["usage"]
    cached = usage.get("cache_read_input_tokens") or 0
    heard.input_tokens = usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0)
    heard.output_tokens = usage["output_tokens"]
    heard.cached = usage.get("cache_read_input_tokens")
    return heard


def _gemini(events: list[dict[str, Any]]) -> Said:
    heard = Said()
    for event in events:
        for candidate in (event.get("candidates") or [])[:1]:
            for part in (candidate.get("content") or {}).get("parts") or []:
                if "functionCall" in part:
                    call = part["functionCall"]
                    heard.calls.append((call["name"], json.dumps(call.get("args") or {})))
                elif not part.get("thought"):
                    heard.text += part.get("text") or ""
        usage = event.get("usageMetadata")
        if usage and "promptTokenCount" in usage:
            heard.input_tokens = usage["promptTokenCount"] + (usage.get("toolUsePromptTokenCount") or 0)
            heard.output_tokens = (usage.get("candidatesTokenCount") or 0) + (
                usage.get("thoughtsTokenCount") or 0
            )
            heard.cached = usage.get("cachedContentTokenCount")
    return heard
