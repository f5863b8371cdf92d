"""countTokens: how many tokens a request would have."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import counts, json_text
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Request, Written
from keyrail.dialects.failures import garbage
from keyrail.dialects.gemini_generate.errors import classify_error
from keyrail.dialects.gemini_generate.outbound import write_request as write_generate


def write_request(request: Request, *, model: str, quirks: Quirks) -> Written | Failure:
    """The body: the whole request is counted, with instructions and tools."""
    written = write_generate(request, model=model, quirks=quirks)
    if isinstance(written, Failure):
        return written
    name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    return Written({"generateContentRequest": {"model": name, **written.body}}, written.dropped)


def parse_answer(body: bytes, provider: str) -> int | Failure:
    """A 200's body."""
    value = json_text.parse_or_none(body)
    answer = cast("dict[str, Any]", value) if type(value) is dict else {}
    if answer.get("error"):
        return classify_error(provider, answer)
    number = counts.count(answer.get("totalTokens"))
    return garbage(provider, "answered with no number of tokens") if number is None else number
