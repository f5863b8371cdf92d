"""A request in the canonical form."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import Cache, Part

Role = Literal["system", "user", "assistant"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Message(msgspec.Struct, gc=False):
    """One turn. Tool results are parts of a user turn, calls and thinking parts of an assistant's.

    Instructions (system, developer) stay where they were: those before the first other turn are the usual
    place.
    """

    role: Role
    parts: list[Part]
    name: str | None = None


class Tool(msgspec.Struct, gc=False):
    """A function the model may call. `schema` None: it takes no arguments. `custom`: it takes free text."""

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    format: dict[str, Any] | None = None  # a custom tool's grammar
    cache: Cache | None = None


class Choice(msgspec.Struct, gc=False):
    """Which tools may or must be called. `names`: the only ones that count; empty: all."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()


class Reasoning(msgspec.Struct, gc=False):
    """How much to think. All None: the client said something, and none of this.

    `enabled` False switches it off. `budget` is in tokens. `show`: whether the thoughts, or a summary of
    them,
    are wanted in the answer; None: the provider's default.
    """

    enabled: bool | None = None
    effort: Effort | None = None
    budget: int | None = None
    show: bool | None = None


class Format(msgspec.Struct, gc=False):
    """The answer's form: any JSON, or what `schema` says."""

    kind: Literal["json", "schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Request(msgspec.Struct, gc=False, kw_only=True):
    """What the client asks. None everywhere: it did not say.

    `user` identifies the end user. `tier` is the client's own word. `cache_key` steers prompt caching.
    `cache` is
    a breakpoint for the whole prompt. `dropped` names the parameters that the reader already had to leave
    out.
    `media_low`: images are wanted cheap.
    """

    messages: list[Message]
    stream: bool = False
    include_usage: bool = False
    tools: list[Tool] = []
    choice: Choice | None = None
    parallel: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: list[str] = []
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, Any] | None = None
    reasoning: Reasoning | None = None
    format: Format | None = None
    verbosity: str | None = None
    user: str | None = None
    tier: str | None = None
    cache_key: str | None = None
    cache: Cache | None = None
    metadata: dict[str, Any] | None = None
    dropped: list[str] = []


class Written(msgspec.Struct, gc=False):
    """A body for a provider, and the parameters of the client that it could not take (`tools[0].strict`)."""

    body: dict[str, Any]
    dropped: tuple[str, ...] = ()


def refused(param: str, message: str) -> Failure:
    """The client asks for something that the target can't do and that can't be left out."""
    return Failure(kind="bad_request", message=message, status=400, code="unsupported_parameter", param=param)
