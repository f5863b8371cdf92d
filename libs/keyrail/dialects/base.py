"""What a provider's flavour of a dialect may differ in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Quirks:
    """Changes to a request body before it goes to this provider, top-level fields only.

    `drop`: fields the provider refuses and nobody misses. `rename`: ours to the provider's; a field that the
    client already sent under the provider's name wins. `send_stream_options`: whether usage in a stream is
    asked for. `drop_message_nulls`: take null fields other than `content` out of messages.
    """

    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=_nothing)
    send_stream_options: bool = True
    drop_message_nulls: bool = False
