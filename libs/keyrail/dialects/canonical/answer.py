"""A whole answer in the canonical form."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.parts import Part

Finish = Literal[
    "stop",
    "stop_sequence",  # one of the client's own
    "length",
    "context",  # the model's window is full
    "tool_calls",
    "content_filter",  # refused or blocked
    "pause",  # a long turn of hosted tools, to be continued
    "error",  # the provider gave up within a 200
]


class Candidate(msgspec.Struct, gc=False):
    """One of the answers; most requests ask for one. `logprobs` is OpenAI's `content` list."""

    parts: list[Part]
    finish: Finish | None = None
    stop_sequence: str | None = None
    logprobs: list[Any] | None = None


class Answer(msgspec.Struct, gc=False, kw_only=True):
    """`id` and `model` as the provider gave them; `created` in seconds since 1970."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    candidates: list[Candidate]
    usage: Usage
