"""What the parts of an answer are in the canonical form, whether it came whole or in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2s
from typing import Any, cast

from keyrail.dialects import json_text
from keyrail.dialects.canonical.parts import Call, Foreign, Image
from keyrail.dialects.gemini_generate import shapes

_FOREIGN = {
    "executable_code": "executableCode",
    "code_execution_result": "codeExecutionResult",
    "tool_call": "toolCall",
    "tool_response": "toolResponse",
}


def call_of(part: shapes.Part, *, answer: str | None, candidate: int, position: int) -> Call:
    """The call of a part that has one. A missing id is made of `answer` (its id), place and content."""
    call = part.function_call
    assert call is not None
    arguments = "{}" if call.args is None else _json(call.args)
    name = call.name or ""
    identity = call.id
    if not identity:
        content = f"{answer}\n{candidate}\n{position}\n{name}\n{arguments}"
        identity = "call_" + blake2s(content.encode(errors="surrogatepass"), digest_size=12).hexdigest()
    return Call(id=identity, name=name, arguments=arguments, seal=part.thought_signature)


def _json(value: object) -> str:
    try:
        return json_text.dump(value).decode()
    except RecursionError:  # no reader downstream could follow it either
        return ""


def image_of(part: shapes.Part) -> Image | None:
    """The picture of a part; None where it holds none."""
    inline, file = part.inline_data, part.file_data
    if inline is not None and inline.data:
        return Image(media_type=inline.mime_type, data=inline.data, seal=part.thought_signature)
    if file is not None and file.file_uri:
        return Image(media_type=file.mime_type, url=file.file_uri, seal=part.thought_signature)
    return None


def foreign_of(part: shapes.Part) -> Foreign | None:
    """A hosted tool's part; None where it is none."""
    for field, name in _FOREIGN.items():
        if (value := getattr(part, field)) is not None:
            return Foreign(what=name, value=value)
    return None


def citations_of(candidate: shapes.Candidate) -> list[Any]:
    """The sources of a candidate: groundingChunks and citationSources, as they came."""
    found: list[Any] = []
    for holder, name in (
        (candidate.grounding_metadata, "groundingChunks"),
        (candidate.citation_metadata, "citationSources"),
    ):
        sources = None if holder is None else holder.get(name)
        if type(sources) is list:
            found += [source for source in cast("list[Any]", sources) if type(source) is dict]
    return found


def logprobs_of(candidate: shapes.Candidate) -> list[Any] | None:
    """Log probabilities as OpenAI's list of tokens; None where there are none."""
    result = candidate.logprobs_result
    if not result:
        return None
    chosen = list(_objects(result.get("chosenCandidates")))
    tops = list(_objects(result.get("topCandidates")))
    found: list[Any] = []
    for place, token in enumerate(chosen):
        others = _objects(tops[place].get("candidates")) if place < len(tops) else ()
        found.append({**_token(token), "top_logprobs": [_token(other) for other in others]})
    return found or None


def _token(fields: dict[str, Any]) -> dict[str, Any]:
    text = fields.get("token")
    text = text if type(text) is str else ""
    return {
        "token": text,
        "logprob": fields.get("logProbability"),
        "bytes": list(text.encode(errors="replace")),
    }


def _objects(value: object) -> Iterator[dict[str, Any]]:
    for item in cast("list[object]", value) if type(value) is list else ():
        if type(item) is dict:
            yield cast("dict[str, Any]", item)
