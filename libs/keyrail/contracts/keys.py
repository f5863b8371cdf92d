"""Provider keys as everybody may see them: never their values."""

from __future__ import annotations

from typing import Literal

from keyrail.contracts.base import Contract

OutReason = Literal["rate", "quota", "money", "auth"]
LASTING: frozenset[OutReason] = frozenset({"money", "auth"})
"""Reasons that no waiting mends: the key stays out until it is tested or rotated."""


class KeyRecord(Contract, frozen=True, kw_only=True):
    """A provider key that control has stored. Whoever holds its value looks again when `version` changes."""

    tenant: str
    provider: str
    id: str
    weight: int = 1
    version: int = 1
    changed_ms: int


class KeyHealth(Contract, frozen=True, kw_only=True):
    """Why a key is out, or was. After `until_ms` it comes back slowly; None: when it is tested or rotated.

    `times`: how often it went out without a calm time between, which makes each time without a word of the
    provider's longer. `version`: the version of the key that this is about. `mark`: 16 bits of a hash of the
    value that it is about, by which a value that was changed without a word shows, and nothing else.
    """

    reason: OutReason
    since_ms: int
    until_ms: int | None = None
    times: int = 1
    version: int | None = None
    mark: str | None = None


def key_name(tenant: str, provider: str, id: str) -> str:
    """The entry's key in both buckets."""
    return f"{tenant}.{provider}.{id}"
