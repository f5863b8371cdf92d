"""Token counts as any provider reports them, and an estimate where none came."""

from __future__ import annotations

from typing import Any

from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text

_MOST = 2**53  # more tokens than that is nonsense
_RAW_BYTES = 16_384
_TIER_CHARS = 64


def count(value: object) -> int | None:
    """A number of tokens; None for anything else."""
    return value if type(value) is int and 0 <= value < _MOST else None


def tier(value: object) -> str | None:
    """The name of a service tier or a region; None for anything else."""
    return value if type(value) is str and 0 < len(value) <= _TIER_CHARS else None


def raw(usage: dict[str, Any]) -> dict[str, Any] | None:
    """The provider's own object, None when it is too large to keep."""
    return json_text.small_object(usage, _RAW_BYTES)


def written(total: object, *kept: object) -> int | None:
    """Tokens that were written to a cache; `kept`: the same by how long they are kept. None: not said.

    Providers have sent the total without its parts, and parts that make more than the total.
    """
    said = [number for number in (count(total), _sum(kept)) if number is not None]
    return max(said) if said else None


def _sum(parts: tuple[object, ...]) -> int | None:
    known = [number for part in parts if (number := count(part)) is not None]
    return sum(known) if known else None


def estimate_usage(input_tokens_estimate: int, output_chars: int, output_events: int) -> Usage:
    """Counts for an answer that was cancelled or broke off before its usage came.

    A token has about four characters; an event with content holds at least one token.
    """
    return Usage(
        input_tokens=input_tokens_estimate,
        output_tokens=max(-(-output_chars // 4), output_events),
        estimated=True,
    )
