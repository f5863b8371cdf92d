"""A request as the sandbox understands it, whatever its dialect."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Literal

import msgspec

Kind = Literal[
    "auth",
    "money",
    "rate",
    "daily",
    "capacity",
    "server",
    "context",
    "missing",
    "bad-request",
    "policy",
    "too-large",
]
"""A class of provider errors; each dialect has a status and a body of its own for it."""


class Tool(msgspec.Struct, frozen=True):
    """A tool that the client offers; `schema` is the JSON schema of its arguments."""

    name: str
    schema: dict[str, Any]


class Came(msgspec.Struct, frozen=True):
    """What a request says outside its body. `model` and `stream` are in Gemini's path.

    `version` is Anthropic's version header. `sse`: the query asks for server-sent events.
    """

    model: str | None = None
    stream: bool = False
    sse: bool = False
    version: str | None = None


NOWHERE = Came()


class Ask(msgspec.Struct, frozen=True):
    """`text` is the last user text, "" when there is none. `limit` is the most completion tokens.

    `fingerprint` names the request: equal bodies have equal ones. `tools` are those that may be called: a
    named one alone, none when the client forbids calls. `results` are the texts of the tools' results that
    the conversation ends with, None when it ends otherwise. `schema` is what a JSON answer has to obey.
    `media` are the types of images and files seen, `url` for those that are elsewhere. `begun` is the text
    of the answer's beginning where the conversation ends with one.

    `thinking` is False when the client switches reasoning off; `thoughts` says whether it may be shown,
    `sealed` whether its encrypted form is wanted. `alternatives` are those wanted beside each token's
    probability. `array`: a stream is to be one JSON array. `inputs` are the texts to embed, `dimensions` and
    `base64` say how. `unknown` are the body's top-level keys that the dialect does not define, in the body's
    order.
    """

    model: str
    text: str
    prompt_tokens: int
    stream: bool = False
    include_usage: bool = False
    limit: int | None = None
    tools: tuple[Tool, ...] = ()
    parallel: bool = True
    results: tuple[str, ...] | None = None
    schema: dict[str, Any] | None = None
    media: tuple[str, ...] = ()
    begun: str = ""
    thinking: bool = True
    thoughts: bool = True
    sealed: bool = True
    alternatives: int = 0
    array: bool = False
    inputs: tuple[str, ...] = ()
    dimensions: int | None = None
    base64: bool = False
    tier: str = "default"
    fingerprint: str = "0" * 24
    unknown: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True):
    """A request that can't be answered: the dialect turns it into its error.

    With a `kind` the dialect chooses the status; `code` and `message` win over what the kind says.
    `extra`: the refused field, of a provider that takes only what it knows; `detailed`: it validates as
    Mistral does. Without `hint` nothing says how long to wait.
    """

    status: int = 400
    kind: Kind | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None
    model: str | None = None
    retry_after_s: int | None = None
    hint: bool = True
    extra: str | None = None
    detailed: bool = False


class Reply(msgspec.Struct, frozen=True):
    """An answer that is not streamed; `headers` beyond its type and length."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def fingerprint(body: bytes) -> str:
    """24 hexadecimal digits."""
    return blake2b(body, digest_size=12).hexdigest()


def tokens(text: str) -> int:
    """What a message of this text counts: a token for every four characters, rounded up, and three more."""
    return (len(text) + 3) // 4 + 3


def callable_tools(tools: list[Tool], *, forbidden: bool, named: str | None) -> tuple[Tool, ...]:
    """The tools that may be called, the named one alone when there is a choice by name."""
    if forbidden:
        return ()
    chosen = tuple(tool for tool in tools if tool.name == named) if named else tuple(tools)
    return chosen or tuple(tools)
