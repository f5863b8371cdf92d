"""A whole answer, read into the canonical form."""

from __future__ import annotations

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.canonical import answer as canonical
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.parts import Call, Part, Text, Thinking
from keyrail.dialects.failures import garbage
from keyrail.dialects.gemini_generate import shapes
from keyrail.dialects.gemini_generate.errors import classify_error
from keyrail.dialects.gemini_generate.finish import finish_of, gave_up
from keyrail.dialects.gemini_generate.parts import (
    call_of,
    citations_of,
    foreign_of,
    image_of,
    logprobs_of,
)
from keyrail.dialects.gemini_generate.usage import usage_of


def parse_answer(body: bytes, provider: str) -> Answer | Failure:
    """Read a 200. An error inside it is classified; what is no answer is `garbage`.

    A blocked prompt is an answer without words that ended by `content_filter`. One that ended in an error
    (a malformed call, say) is a Failure when it holds nothing to show, else its finish is `error`.
    """
    chunk = shapes.read(body)
    if chunk is None:
        detail = "an empty body" if not body.strip() else "a body that is no JSON object"
        return garbage(provider, f"answered with {detail}")
    if chunk.error:
        return classify_error(provider, json_text.parse_or_none(body))
    if chunk.candidates:
        candidates = [_candidate(chunk, place) for place in range(len(chunk.candidates))]
        if all(candidate.finish == "error" and not _shows(candidate.parts) for candidate in candidates):
            first = chunk.candidates[0]
            return gave_up(provider, first.finish_reason, first.finish_message)
    elif chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
        candidates = [canonical.Candidate(parts=[], finish="content_filter")]
    else:
        return garbage(provider, "answered with JSON that holds no candidate")
    return Answer(
        id=chunk.response_id,
        model=chunk.model_version,
        candidates=candidates,
        usage=usage_of(chunk.usage()),
    )


def _candidate(chunk: shapes.Chunk, place: int) -> canonical.Candidate:
    assert chunk.candidates is not None
    candidate = chunk.candidates[place]
    read: list[Part] = []
    calls = 0
    for part in (candidate.content.parts if candidate.content else None) or ():
        if part.function_call is not None:
            read.append(call_of(part, answer=chunk.response_id, candidate=place, position=calls))
            calls += 1
        elif (found := _part(part)) is not None:
            read.append(found)
    if citations := citations_of(candidate):
        _cite(read, citations)
    return canonical.Candidate(
        parts=read,
        finish=finish_of(candidate.finish_reason, calls=calls > 0),
        logprobs=logprobs_of(candidate),
    )


def _part(part: shapes.Part) -> Part | None:
    text, seal = part.text, part.thought_signature
    if text is None:
        found = image_of(part) or foreign_of(part)
        if found is not None or not seal:
            return found
        text = ""
    if part.thought:
        return Thinking(text=text, seal=seal, seal_kind="gemini") if text or seal else None
    return Text(text=text, seal=seal) if text or seal else None


def _cite(parts: list[Part], citations: list[object]) -> None:
    """Sources belong to the whole answer; they stand at its last words."""
    for part in reversed(parts):
        if type(part) is Text and part.text:
            part.citations = citations
            return


def _shows(parts: list[Part]) -> bool:
    return any(type(part) is Call or (type(part) is Text and part.text) for part in parts)
