"""The fields of an answer, or of one event of a stream, that something is made of."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from keyrail.dialects import json_text

_ABSENT = msgspec.Raw(b"")


class Call(msgspec.Struct, gc=False):
    """A functionCall. Its `id` is missing in answers of older models."""

    name: str | None = None
    args: Any = None
    id: str | None = None


class Data(msgspec.Struct, gc=False, rename="camel"):
    """inlineData (base64) or fileData (an address)."""

    mime_type: str | None = None
    data: str | None = None
    file_uri: str | None = None


class Part(msgspec.Struct, gc=False, rename="camel"):
    """One of the forms a part has."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Call | None = None
    inline_data: Data | None = None
    file_data: Data | None = None
    executable_code: Any = None
    code_execution_result: Any = None
    tool_call: Any = None
    tool_response: Any = None


class Content(msgspec.Struct, gc=False):
    """A turn of the model."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct, gc=False, rename="camel"):
    """One of the answers."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    grounding_metadata: dict[str, Any] | None = None
    citation_metadata: dict[str, Any] | None = None
    logprobs_result: dict[str, Any] | None = None


class Feedback(msgspec.Struct, gc=False, rename="camel"):
    """What was thought of the prompt."""

    block_reason: str | None = None


class Chunk(msgspec.Struct, gc=False, rename="camel"):
    """A whole answer, or one event of a stream: both have this shape."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: msgspec.Raw = _ABSENT  # in each event of a stream, and only the last counts
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None

    def usage(self) -> object:
        """The usage, decoded."""
        return json_text.parse_or_none(bytes(self.usage_metadata))


decode = msgspec.json.Decoder(Chunk).decode
_Shape = TypeVar("_Shape", bound=msgspec.Struct)


def read(payload: bytes) -> Chunk | None:
    """The shape of a JSON object; a field of an unexpected type counts as absent. None for what is none."""
    try:
        return decode(payload)
    except (ValueError, RecursionError):
        return loosely(json_text.parse_or_none(payload))


def loosely(value: object) -> Chunk | None:
    """The same for a decoded body, field by field; None when it is no object."""
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    chunk = _plain(Chunk, fields)
    chunk.error = fields.get("error")
    chunk.usage_metadata = _raw(fields.get("usageMetadata"))
    chunk.prompt_feedback = _maybe(Feedback, fields.get("promptFeedback"))
    candidates = fields.get("candidates")
    if type(candidates) is list:
        chunk.candidates = [_candidate(item) for item in cast("list[Any]", candidates) if type(item) is dict]
    return chunk


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json_text.dump(value)) if type(value) is dict else _ABSENT


def _candidate(fields: dict[str, Any]) -> Candidate:
    candidate = _plain(Candidate, fields)
    content = fields.get("content")
    parts: object = cast("dict[str, Any]", content).get("parts") if type(content) is dict else None
    if type(parts) is list:
        items = cast("list[Any]", parts)
        candidate.content = Content(parts=[_part(item) for item in items if type(item) is dict])
    return candidate


def _part(fields: dict[str, Any]) -> Part:
    part = _plain(Part, fields)
    part.function_call = _maybe(Call, fields.get("functionCall"))
    part.inline_data = _maybe(Data, fields.get("inlineData"))
    part.file_data = _maybe(Data, fields.get("fileData"))
    return part


def _maybe(shape: type[_Shape], value: object) -> _Shape | None:
    return _plain(shape, cast("dict[str, Any]", value)) if type(value) is dict else None


def _plain(shape: type[_Shape], fields: dict[str, Any]) -> _Shape:
    """The shape with those fields of their own type that hold no other shape."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(shape):
        value = fields.get(field.encode_name)
        if value is None:
            continue
        try:
            found[field.name] = msgspec.convert(value, field.type)
        except (msgspec.ValidationError, RecursionError):
            continue
    return shape(**found)
