"""What a provider's flavour of a dialect differs in: data, so that a provider can be declared without
code."""

from __future__ import annotations

from typing import Literal

from keyrail.contracts.base import Contract

Extra = Literal["cache_control", "reasoning_details", "extra_content"]
Thoughts = Literal["reasoning_content", "reasoning"]


class Quirks(Contract, frozen=True, kw_only=True):
    """Changes to a request body before it goes to this provider.

    For every dialect, top-level fields only: `allow`: the only fields that it takes (None: any); `drop`:
    fields
    that it refuses and nobody misses; `rename`: ours to the provider's; a field that the client already sent
    under the provider's name wins.

    For the chat dialect: `send_stream_options`: whether usage in a stream is asked for. In messages,
    `drop_message_nulls` takes null fields other than `content` out, `drop_in_messages` these fields, and
    `roles`
    renames. `thoughts`: the field in which an assistant's thoughts go back; None: they don't. `takes`: extras
    that it understands beyond OpenAI's own fields. `text_results`: a tool's result must be a string.
    `short_call_ids`: ids of calls are nine letters and digits.
    """

    allow: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    send_stream_options: bool = True
    drop_message_nulls: bool = False
    drop_in_messages: tuple[str, ...] = ()
    roles: dict[str, str] = {}
    thoughts: Thoughts | None = None
    takes: tuple[Extra, ...] = ()
    text_results: bool = False
    short_call_ids: bool = False
