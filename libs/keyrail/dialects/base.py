"""What a provider's flavour of a dialect may differ in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Extra = Literal["cache_control", "reasoning_details", "extra_content"]
Thoughts = Literal["reasoning_content", "reasoning"]


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Quirks:
    """Changes to a request body before it goes to this provider, top-level fields only.

    `drop`: fields the provider refuses and nobody misses. `rename`: ours to the provider's; a field that the
    client already sent under the provider's name wins. `send_stream_options`: whether usage in a stream is
    asked for. `drop_message_nulls`: take null fields other than `content` out of messages.

    For what is written out of another dialect: `thoughts`: the field in which an assistant's thoughts go
    back; None: they don't. `takes`: extras that it understands beyond OpenAI's own fields. `text_results`: a
    tool's result must be a string.
    """

    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=_nothing)
    send_stream_options: bool = True
    drop_message_nulls: bool = False
    thoughts: Thoughts | None = None
    takes: tuple[Extra, ...] = ()
    text_results: bool = False
