"""A whole answer of generateContent, and what its stream shares with it."""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail_sandbox import seals
from keyrail_sandbox.answer import Answer, Call
from keyrail_sandbox.ask import Ask
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.gemini_generate.contents import OWNER

encode = msgspec.json.Encoder().encode
_FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}
_NONSENSE: dict[str, Any] = {"promptTokenCount": "many", "candidatesTokenCount": -1, "totalTokenCount": None}


def whole(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """An answer, with `sandbox.seen` when the request had keys that Google does not define."""
    body = body_of(ask)
    body.update(_candidates(ask, answer, behaviour))
    if not behaviour.no_usage:
        body["usageMetadata"] = usage_of(answer, behaviour)
    if ask.unknown:
        body["sandbox"] = {"seen": ask.unknown}
    return encode(body)


def count(ask: Ask, answer: Answer, behaviour: Behaviour) -> bytes:
    """The number of the prompt's tokens."""
    return encode({"totalTokens": answer.prompt_tokens, "promptTokensDetails": _text(answer.prompt_tokens)})


def body_of(ask: Ask) -> dict[str, Any]:
    """What every answer and every piece of one says."""
    return {"modelVersion": ask.model, "responseId": ask.fingerprint}


def _candidates(ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, Any]:
    if behaviour.fault == "null-choices":
        return {"candidates": None}
    if answer.finish == "refusal":
        return blocked()
    parts = [thought_part(answer.thoughts)] if answer.reasoning and ask.thoughts else []
    if answer.pieces:
        signed = {"thoughtSignature": text_signature()} if answer.reasoning else {}
        parts.append({"text": answer.text, **signed})
    if not malformed(answer):
        parts.extend(call_part(call, answer, first=at == 0) for at, call in enumerate(answer.calls))
    probable = logprobs_of(answer.pieces, ask) if behaviour.logprobs else {}
    return {"candidates": [candidate(parts, {**end_of(answer), **probable})]}


def candidate(parts: list[dict[str, Any]], more: dict[str, Any]) -> dict[str, Any]:
    """The one candidate; a content without parts has only its role."""
    content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    return {"content": content, **more, "index": 0}


def blocked() -> dict[str, Any]:
    """What is there in place of candidates when the prompt is refused."""
    return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}


def malformed(answer: Answer) -> bool:
    """Whether the calls can't be written down: arguments are an object here, never text."""
    return any(_arguments(call) is None for call in answer.calls)


def end_of(answer: Answer) -> dict[str, Any]:
    """How the candidate ended."""
    if malformed(answer) and answer.finish != "length":
        said = f"Malformed function call: {answer.calls[0].text}"
        return {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": said}
    end: dict[str, Any] = {"finishReason": _FINISH[answer.finish]}
    if answer.finish == "filter":
        rating = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}
        end["safetyRatings"] = [rating]
    return end


def thought_part(text: str) -> dict[str, Any]:
    """Some of the thoughts."""
    return {"text": text, "thought": True}


def text_signature() -> str:
    """The signature on a part of text: it does not depend on how the text is cut into parts."""
    return seals.seal(OWNER, seals.digest(""))


def call_part(call: Call, answer: Answer, *, first: bool) -> dict[str, Any]:
    """A whole function call; only the first has a signature, and only after thoughts."""
    given = _arguments(call) or {}
    function: dict[str, Any] = {"name": call.name}
    if call.pieces:
        function["args"] = given
    part: dict[str, Any] = {"functionCall": function}
    if first and answer.reasoning:
        part["thoughtSignature"] = seals.seal(OWNER, seals.call_digest(call.name, given))
    return part


def _arguments(call: Call) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(call.text, type=dict[str, Any]) if call.pieces else {}
    except msgspec.DecodeError:
        return None


def logprobs_of(pieces: Any, ask: Ask) -> dict[str, Any]:
    """Made-up probabilities of tokens, the chosen one first among the alternatives."""
    chosen = [_probable(piece, 0) for piece in pieces]
    others = [
        {"candidates": [_probable(piece + "?" * rank, rank) for rank in range(ask.alternatives)]}
        for piece in pieces
    ]
    return {"avgLogprobs": -0.25, "logprobsResult": {"chosenCandidates": chosen, "topCandidates": others}}


def _probable(token: str, rank: int) -> dict[str, Any]:
    return {"token": token, "tokenId": rank, "logProbability": -0.25 * (rank + 1)}


def usage_of(
    answer: Answer, behaviour: Behaviour, *, candidates: int | None = None, thoughts: int | None = None
) -> dict[str, Any]:
    """Usage so far; the candidates' tokens exclude thoughts, the prompt's include cached ones."""
    if behaviour.nonsense_usage:
        return _NONSENSE
    said = answer.content_tokens if candidates is None else candidates
    thought = len(answer.reasoning) if thoughts is None else thoughts
    if answer.finish == "refusal":
        said = thought = 0  # a blocked prompt was never answered
    usage: dict[str, Any] = {
        "promptTokenCount": answer.prompt_tokens,
        "candidatesTokenCount": said,
        "totalTokenCount": answer.prompt_tokens + said + thought,
        "promptTokensDetails": _text(answer.prompt_tokens),
    }
    if behaviour.cached:
        usage["cachedContentTokenCount"] = answer.cached_tokens
        usage["cacheTokensDetails"] = _text(answer.cached_tokens)
    if thought:
        usage["thoughtsTokenCount"] = thought
    return usage


def _text(number: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": number}]
