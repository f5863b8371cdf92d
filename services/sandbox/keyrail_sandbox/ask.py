"""A request as the sandbox understands it, whatever its dialect."""

from __future__ import annotations

from typing import Any

import msgspec


class Tool(msgspec.Struct, frozen=True):
    """A tool that the client offers; `schema` is the JSON schema of its arguments."""

    name: str
    schema: dict[str, Any]


class Ask(msgspec.Struct, frozen=True):
    """`text` is the last user message's, "" when there is none. `limit` is the most completion tokens.

    `tool` is the first one offered, None when the conversation already ends with a tool's result.
    `unknown` are the body's top-level keys that the dialect does not define, in the body's order.
    """

    model: str
    text: str
    prompt_tokens: int
    stream: bool = False
    include_usage: bool = False
    limit: int | None = None
    tool: Tool | None = None
    tier: str = "default"
    unknown: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True):
    """A request that can't be answered: the dialect turns it into its error object."""

    status: int
    code: str | None = None
    message: str | None = None
    param: str | None = None
    model: str | None = None
