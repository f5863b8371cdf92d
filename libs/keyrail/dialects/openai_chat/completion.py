"""A whole answer in the canonical form: read from any provider of this dialect, written for a client."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text, loose
from keyrail.dialects.canonical.answer import Answer, Candidate
from keyrail.dialects.canonical.parts import Call, Image, Part, Refusal, Text, Thinking
from keyrail.dialects.openai_chat import citations, finishes, media, speech, thoughts, tools
from keyrail.dialects.openai_chat.errors import classify_error, garbage
from keyrail.dialects.openai_chat.usage import object_of, shown_tier, usage_of


def parse_answer(body: bytes, provider: str) -> Answer | Failure:
    """Read a 200. An error inside it is classified; what is no chat completion is `garbage`."""
    try:
        value = json_text.parse(body)
    except ValueError:
        detail = "an empty body" if not body.strip() else "a body that is not JSON"
        return garbage(provider, f"answered with {detail}")
    answer = loose.fields(value)
    if answer.get("error"):
        return classify_error(provider, value)
    choices: object = answer.get("choices")
    if type(choices) is not list:
        return garbage(provider, "answered with JSON that is no chat completion")
    place = loose.text(answer.get("id")) or ""
    usage = answer.get("usage") or loose.fields(answer.get("x_groq")).get("usage")
    return Answer(
        id=place or None,
        model=loose.text(answer.get("model")),
        created=loose.integer(answer.get("created")),
        candidates=[
            _candidate(loose.fields(choice), f"{place} {index}")
            for index, choice in enumerate(cast("list[object]", choices))
        ]
        or [Candidate([])],
        usage=usage_of(usage, served_tier=answer.get("service_tier")),
    )


def _candidate(choice: dict[str, Any], place: str) -> Candidate:
    message = loose.fields(choice.get("message"))
    parts = speech.read(message, place=place, from_provider=True)
    if not any(isinstance(part, Text) for part in parts):
        transcript = loose.text(loose.fields(message.get("audio")).get("transcript"))
        parts += [Text(transcript)] if transcript is not None else []
    sources = loose.items(message.get("annotations"))
    last = next((part for part in reversed(parts) if isinstance(part, Text)), None)
    if sources and last is not None:
        last.citations = sources
    calls = any(isinstance(part, Call) for part in parts)
    return Candidate(
        parts,
        finish=finishes.read(choice.get("finish_reason"), calls=calls),
        logprobs=loose.items(loose.fields(choice.get("logprobs")).get("content")) or None,
    )


def render_answer(
    answer: Answer, *, model: str, request: dict[str, Any] | None = None, created: int | None = None
) -> bytes:
    """The answer as the client reads it. Parts that only their own dialect can show are left out."""
    body: dict[str, Any] = {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created or created or 0,
        "model": answer.model or model,
        "choices": [_choice(index, candidate) for index, candidate in enumerate(answer.candidates)],
    }
    if (usage := object_of(answer.usage)) is not None:
        body["usage"] = usage
    if (tier := shown_tier(answer.usage)) is not None:
        body["service_tier"] = tier
    if not body["id"]:
        body["id"] = invented_id(json_text.dump(body))
    return json_text.dump(body)


def invented_id(content: bytes) -> str:
    """An id for an answer that came without one."""
    return "chatcmpl-" + hashlib.blake2b(content, digest_size=12).hexdigest()


def _choice(index: int, candidate: Candidate) -> dict[str, Any]:
    calls = any(isinstance(part, Call) for part in candidate.parts)
    return {
        "index": index,
        "message": _message(candidate.parts),
        "logprobs": {"content": candidate.logprobs, "refusal": None} if candidate.logprobs else None,
        "finish_reason": finishes.write(candidate.finish, calls=calls),
    }


def _message(parts: list[Part]) -> dict[str, Any]:
    texts = [part for part in parts if isinstance(part, Text)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(part.text for part in texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    thinking = [part for part in parts if isinstance(part, Thinking)]
    if thinking:
        message |= _thoughts(thinking)
    calls = [part for part in parts if isinstance(part, Call)]
    if calls:
        message["tool_calls"] = [thoughts.with_signature(tools.write_call(call), call.seal) for call in calls]
    elif not texts and not refusals:
        message["content"] = ""
    images = [part for part in parts if isinstance(part, Image)]
    if images:
        message["images"] = [_image(index, image) for index, image in enumerate(images)]
    if annotations := _annotations(texts):
        message["annotations"] = annotations
    seal = next((part.seal for part in reversed(texts) if part.seal is not None), None)
    return thoughts.with_signature(message, seal)


def _image(index: int, image: Image) -> dict[str, Any]:
    return thoughts.with_signature({**media.write_image(image), "index": index}, image.seal)


def _thoughts(thinking: list[Thinking]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    text = "\n\n".join(part.text for part in thinking if part.text)
    if text:
        written["reasoning_content"] = written["reasoning"] = text
    details: list[dict[str, Any]] = []
    for part in thinking:
        details += thoughts.entries(part, len(details))
    if details:
        written["reasoning_details"] = details
    if blocks := thoughts.blocks(thinking):
        written["thinking_blocks"] = blocks
    return written


def _annotations(texts: list[Text]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start = 0
    for part in texts:
        end = start + len(part.text)
        for source in part.citations or ():
            annotation = citations.annotation(source, start=start, end=end)
            if annotation is not None:
                found.append(annotation)
        start = end
    return found
