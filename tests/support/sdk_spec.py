"""An OpenAPI document written from the types of the official SDK: what its tests send and are answered.

The official document is in no package registry. The SDK is generated from it, so its types say the same of
every parameter, and are never older than the tests.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from openai.types import (
    CreateEmbeddingResponse,
    EmbeddingCreateParams,
    Model,
    ModelDeleted,
)
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionDeleted,
    ChatCompletionStoreMessage,
)
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.responses import (
    CompactedResponse,
    InputTokenCountResponse,
    Response,
    ResponseItem,
)
from openai.types.responses.input_token_count_params import InputTokenCountParams
from openai.types.responses.response_compact_params import ResponseCompactParams
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import TypeAdapter

REF = "#/components/schemas/{model}"


class Page(NamedTuple):
    """A list answer, with the type of its items."""

    item: Any


class Operation(NamedTuple):
    method: str
    path: str
    answer: Any
    """None for an answer without a body."""
    body: Any = None
    stream: Any = None
    """Server-sent events, as the mock writes them: it can't make up an order that has an end."""
    query: tuple[str, ...] = ()


RESPONSE_BODY = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "mock",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "mock"}
DONE = {"event": None, "id": None, "data": "[DONE]"}


def _chunk(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"event": None, "id": None, "data": CHUNK | {"choices": [choice]}}


def _event(number: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"event": kind, "id": None, "data": {"type": kind, "sequence_number": number} | more}


CHAT_STREAM = [
    _chunk({"role": "assistant", "content": ""}, None),
    _chunk({"content": "string"}, None),
    _chunk({}, "stop"),
    DONE,
]
PART = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
RESPONSE_STREAM = [
    _event(0, "response.created", response=RESPONSE_BODY | {"status": "in_progress"}),
    _event(1, "response.output_text.delta", delta="string", logprobs=[], **PART),
    _event(2, "response.completed", response=RESPONSE_BODY | {"status": "completed"}),
]

COMPLETION = "/chat/completions/{id}"
RESPONSE = "/responses/{id}"
QUERY = {
    "include": {"type": "array", "items": {"type": "string"}},
    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
}
LISTING = ("after", "limit", "order")
OPERATIONS = (
    Operation("post", "/chat/completions", ChatCompletion, CompletionCreateParams, CHAT_STREAM),
    Operation("get", "/chat/completions", Page(ChatCompletion), query=(*LISTING, "metadata", "model")),
    Operation("get", COMPLETION, ChatCompletion),
    Operation("post", COMPLETION, ChatCompletion, dict[str, dict[str, str] | None]),
    Operation("delete", COMPLETION, ChatCompletionDeleted),
    Operation("get", f"{COMPLETION}/messages", Page(ChatCompletionStoreMessage), query=LISTING),
    Operation("post", "/embeddings", CreateEmbeddingResponse, EmbeddingCreateParams),
    Operation("get", "/models", Page(Model)),
    Operation("get", "/models/{id}", Model),
    Operation("delete", "/models/{id}", ModelDeleted),
    Operation("post", "/responses", Response, ResponseCreateParams, RESPONSE_STREAM),
    Operation(
        "get",
        RESPONSE,
        Response,
        stream=RESPONSE_STREAM,
        query=("include", "include_obfuscation", "starting_after", "stream"),
    ),
    Operation("delete", RESPONSE, None),
    Operation("post", f"{RESPONSE}/cancel", Response),
    Operation("post", "/responses/compact", CompactedResponse, ResponseCompactParams),
    Operation("post", "/responses/input_tokens", InputTokenCountResponse, InputTokenCountParams),
    Operation("get", f"{RESPONSE}/input_items", Page(ResponseItem), query=(*LISTING, "include")),
)


def document() -> dict[str, Any]:
    """OpenAPI 3.1, for a server whose paths begin with /v1."""
    types = [t for o in OPERATIONS for t in (_item(o.answer), o.body) if t is not None]
    inputs = [(index, "validation", TypeAdapter[Any](t)) for index, t in enumerate(types)]
    by_index, shared = TypeAdapter.json_schemas(inputs, ref_template=REF)  # pyright: ignore[reportArgumentType]
    schemas = iter([by_index[index, "validation"] for index in range(len(types))])
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(f"/v1{operation.path}", {})[operation.method] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenAI, by the types of its SDK", "version": "1"},
        "paths": paths,
        "components": {"schemas": shared["$defs"]},
    }


def _item(answer: Any) -> Any:
    return answer.item if isinstance(answer, Page) else answer


def _operation(operation: Operation, schemas: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "The answer"}
    if operation.answer is not None:
        schema = next(schemas)
        if isinstance(operation.answer, Page):
            schema = _page(schema)
        answer["content"] = {"application/json": {"schema": schema}}
    written: dict[str, Any] = {"responses": {"200": answer}, "parameters": _parameters(operation)}
    if operation.body is not None:
        content = {"application/json": {"schema": next(schemas)}}
        written["requestBody"] = {"required": True, "content": content}
    if operation.stream is not None:
        answer["content"]["text/event-stream"] = {"schema": {"type": "object"}, "example": operation.stream}
    return written


def _page(item: dict[str, Any]) -> dict[str, Any]:
    properties = {
        "object": {"const": "list"},
        "data": {"type": "array", "items": item},
        "has_more": {"type": "boolean"},
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = [
        {"name": name, "in": "query", "schema": QUERY.get(name, {})} for name in operation.query
    ]
    if "{id}" in operation.path:
        written.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    return written
