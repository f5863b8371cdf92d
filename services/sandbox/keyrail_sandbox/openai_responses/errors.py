"""Errors of Responses: OpenAI's, but that a missing model is a 400, and unknown fields have a code."""

from __future__ import annotations

import msgspec

from keyrail_sandbox import openai_errors
from keyrail_sandbox.ask import Refusal, Reply


def error(refusal: Refusal) -> Reply:
    """The answer to a refused request."""
    if refusal.extra is not None:
        refusal = Refusal(
            400,
            code="unknown_parameter",
            message=f"Unknown parameter: '{refusal.extra}'.",
            param=refusal.extra,
        )
    elif refusal.kind == "context":
        refusal = msgspec.structs.replace(refusal, param="input")
    reply = openai_errors.error(refusal)
    return msgspec.structs.replace(reply, status=400) if refusal.kind == "missing" else reply
